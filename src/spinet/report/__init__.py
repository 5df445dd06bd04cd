"""Tells what a search found."""
