"""Published weights by name or address, fetched once into a cache."""
