"""Finds genotypes: neural architecture search."""
