"""Batches: data sets, transforms and loaders."""
