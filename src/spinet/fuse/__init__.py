"""Rewrites trained networks for fast inference."""
