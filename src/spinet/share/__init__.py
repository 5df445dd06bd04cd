"""Handing on a trained model: packed as one file, or in a repository of the Hugging Face Hub."""
