"""Finds genotypes: spaces, strategies, proxy tasks, and the engine that runs trials."""
