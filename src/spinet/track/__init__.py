"""Copies of metrics and results for experiment trackers: MLflow, Weights & Biases, CSV."""
