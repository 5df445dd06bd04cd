"""Converts weights published by others."""
