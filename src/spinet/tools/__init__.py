"""Show and ship: predictions, pictures, files for elsewhere."""
