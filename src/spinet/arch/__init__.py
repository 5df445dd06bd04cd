"""What a network is: architectures as plain data, with only the standard library."""
