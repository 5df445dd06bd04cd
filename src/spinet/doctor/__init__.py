"""Judges datasets before they are trained on."""
