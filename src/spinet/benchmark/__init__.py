"""Measures the speed of networks beside each other and the machine's limits."""
