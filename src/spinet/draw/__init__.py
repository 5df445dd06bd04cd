"""Shows architectures: SVG, HTML, PNG."""
