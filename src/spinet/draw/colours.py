"""How objects look in pictures: the colours of classes, and what all who draw objects share."""

import colorsys

# Opacity of a mask inside its outline, from 0 to 1.
FILL = 0.4
# With more objects than these, names would hide them.
CROWD = 25


def class_colour(label: int) -> tuple[int, int, int]:
    """Return a colour dark enough for white letters; neighbouring labels are far apart on the colour wheel."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.61803398875 % 1.0, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
