"""Rewriting trained networks for fast inference."""
