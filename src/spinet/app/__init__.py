"""A web page to try models on."""
