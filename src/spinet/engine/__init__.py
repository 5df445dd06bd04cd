"""Runs a model over data: training, evaluation, checkpoints."""
