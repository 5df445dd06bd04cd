"""Boxes and names drawn on a photo."""

import colorsys

from PIL import Image, ImageDraw, ImageFont

from spinet.models.detections import Detections


def draw_detections(image: Image.Image, detections: Detections, class_names: tuple[str, ...]) -> Image.Image:
    """Return a copy of an RGB `image` with boxes, class names and scores; the surest on top.

    Args:
        image: the photo.
        detections: boxes XYXY in its pixels, best first.
        class_names: name of each label.
    """
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    # Lines and letters grow with the photo, so that they read the same when it is shown at one size.
    line = max(1, round(max(image.size) / 320))
    font = ImageFont.load_default(size=max(10, max(image.size) / 45))
    found = zip(
        detections["boxes"].tolist(),
        detections["scores"].tolist(),
        detections["labels"].tolist(),
        strict=True,
    )
    for box, score, label in reversed(list(found)):
        colour = class_colour(label)
        pen.rectangle(box, outline=colour, width=line)
        text = f"{class_names[label]} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        # Above the box where there is room, else inside it; never beyond the right edge.
        x = max(0, min(box[0], image.width - width))
        y = box[1] - height if box[1] >= height else box[1]
        pen.rectangle((x, y, x + width, y + height), fill=colour)
        pen.text((x + line - left, y + line - top), text, fill="white", font=font)
    return picture


def class_colour(label: int) -> tuple[int, int, int]:
    """A colour for a class, dark enough for white letters; neighbouring labels are far apart on the wheel."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.61803398875 % 1.0, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
