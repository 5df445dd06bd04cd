"""Boxes, masks and names drawn on a photo."""

import colorsys

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from spinet.data.masks import Rle, decode_columns
from spinet.engine.evaluate import ImageDetections

# How much of a mask's colour lies over the photo, of 255.
FILL = 100
# With more objects than these, names would hide them.
CROWD = 25


def draw_detections(image: Image.Image, detections: ImageDetections, class_names: tuple[str, ...]) -> Image.Image:
    """Return a copy of an RGB `image` with masks, boxes, class names and scores; the surest on top.

    Masks are translucent with an outline, below all boxes. In a crowd, objects smaller than their names have none,
    but the surest of each class; the colour tells the class of the others.

    Args:
        image: the photo.
        detections: boxes XYXY in its pixels, masks of its size if there are any, best first.
        class_names: name of each label.
    """
    picture = image.copy()
    pen = ImageDraw.Draw(picture)
    # Lines and letters grow with the photo, so that they read the same when it is shown at one size.
    line = max(1, round(max(image.size) / 320))
    for mask, label in reversed(list(zip(detections.get("masks", ()), detections["labels"].tolist(), strict=False))):
        _draw_mask(picture, mask, class_colour(label), line)
    font = ImageFont.load_default(size=max(10, max(image.size) / 45))
    found = zip(
        detections["boxes"].tolist(),
        detections["scores"].tolist(),
        detections["labels"].tolist(),
        strict=True,
    )
    crowded = len(detections["scores"]) > CROWD
    labels = detections["labels"].tolist()
    for place, (box, score, label) in reversed(list(enumerate(found))):
        colour = class_colour(label)
        pen.rectangle(box, outline=colour, width=line)
        text = f"{class_names[label]} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        if crowded and label in labels[:place] and width * height > (box[2] - box[0]) * (box[3] - box[1]):
            continue
        # Above the box where there is room, else inside it; never beyond the right edge.
        x = max(0, min(box[0], image.width - width))
        y = box[1] - height if box[1] >= height else box[1]
        pen.rectangle((x, y, x + width, y + height), fill=colour)
        pen.text((x + line - left, y + line - top), text, fill="white", font=font)
    return picture


def _draw_mask(picture: Image.Image, mask: Rle, colour: tuple[int, int, int], line: int) -> None:
    height, width = mask["size"]
    whole = Image.fromarray(decode_columns(mask["counts"], height, width, 0, width).T * 255)
    place = whole.getbbox()
    if place is None:
        return
    # One pixel of nothing around it, so that the object's edge at the photo's border is an edge too.
    inside = Image.new("L", (place[2] - place[0] + 2, place[3] - place[1] + 2))
    inside.paste(whole.crop(place), (1, 1))
    for _ in range(line):
        inside = inside.filter(ImageFilter.MinFilter(3))
    body = inside.crop((1, 1, inside.width - 1, inside.height - 1))
    edge = ImageChops.subtract(whole.crop(place), body)
    opacity = ImageChops.lighter(edge, body.point(lambda value: min(value, FILL)))
    picture.paste(colour, place[:2], opacity)


def class_colour(label: int) -> tuple[int, int, int]:
    """A colour for a class, dark enough for white letters; neighbouring labels are far apart on the wheel."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.61803398875 % 1.0, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
