"""Runs jobs in this process, in others, or on Ray; knows nothing of searches."""
