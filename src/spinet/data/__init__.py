"""Batches: datasets, transforms and loaders."""
