"""Compares the speed of models with each other and with the hardware's peak."""
