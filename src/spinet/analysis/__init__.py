"""What a model gets right and wrong on a dataset: NumPy alone, on what `records` holds."""
