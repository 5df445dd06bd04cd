"""Reads weights that others published."""
