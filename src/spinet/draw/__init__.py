"""Drawings of architectures: SVG, HTML, PNG."""
