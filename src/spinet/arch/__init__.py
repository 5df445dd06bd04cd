"""What a network is: architectures as plain data, with nothing but the standard library."""
