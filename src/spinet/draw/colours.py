"""The colours of classes in pictures."""

import colorsys


def class_colour(label: int) -> tuple[int, int, int]:
    """Return a colour dark enough for white letters; neighbouring labels are far apart on the colour wheel."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.61803398875 % 1.0, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
