"""Datasets as tools write them: finding and reading the files of foreign formats."""
