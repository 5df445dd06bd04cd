"""Boxes, masks and class names drawn on an image."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from spinet.data.masks import Rle, decode_columns
from spinet.draw.colours import CROWD, FILL, class_colour


def draw_detections(
    image: Image.Image,
    boxes: NDArray[Any],
    scores: NDArray[Any] | None,
    labels: NDArray[Any],
    class_names: Sequence[str],
    rles: Sequence[Rle] = (),
    mask_opacity: float = FILL,
) -> Image.Image:
    """Return a copy of an RGB image with masks, boxes, class names and scores; the highest scores are drawn last.

    Masks are translucent with an outline, below all boxes. In a crowd, objects smaller than their names have none,
    except the highest-scoring of each class; the colour tells the class of the others.

    Args:
        image: the image.
        boxes: `(N, 4)` XYXY in its pixels, highest score first.
        scores: `(N,)`; None for annotations, which have none.
        labels: `(N,)`, which choose the colours.
        class_names: the name of each object's class.
        rles: the mask of each object, of the image's size; none if there are only boxes.
        mask_opacity: of masks inside their outline, from 0 to 1.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    # Lines and letters grow with the image, so that they look the same when it is shown at one size.
    line = max(1, round(max(image.size) / 320))
    colours = [class_colour(label) for label in labels.tolist()]
    for rle, colour in reversed(list(zip(rles, colours, strict=False))):
        _draw_mask(drawn, rle, colour, line, round(255 * mask_opacity))
    font = ImageFont.load_default(size=max(10, max(image.size) / 45))
    for index, (left, top, right, bottom) in reversed(list(enumerate(boxes.tolist()))):
        pen.rectangle((left, top, right, bottom), outline=colours[index], width=line)
        text = class_names[index] if scores is None else f"{class_names[index]} {scores[index]:.2f}"
        text_left, text_top, text_right, text_bottom = pen.textbbox((0, 0), text, font=font)
        width, height = text_right - text_left + 2 * line, text_bottom - text_top + 2 * line
        first_of_class = class_names[index] not in class_names[:index]
        if len(labels) > CROWD and not first_of_class and width * height > (right - left) * (bottom - top):
            continue
        # Above the box where there is room, else inside it; never beyond the right edge.
        x, y = max(0, min(left, image.width - width)), top - height if top >= height else top
        pen.rectangle((x, y, x + width, y + height), fill=colours[index])
        pen.text((x + line - text_left, y + line - text_top), text, fill="white", font=font)
    return drawn


def _draw_mask(image: Image.Image, mask: Rle, colour: tuple[int, int, int], line: int, fill: int) -> None:
    height, width = mask["size"]
    whole = Image.fromarray(decode_columns(mask["counts"], height, width, 0, width).T * 255)
    box = whole.getbbox()
    if box is None:
        return
    # A border of one empty pixel, so that an object cut off by the image has an outline there too.
    inside = Image.new("L", (box[2] - box[0] + 2, box[3] - box[1] + 2))
    inside.paste(whole.crop(box), (1, 1))
    for _ in range(line):
        inside = inside.filter(ImageFilter.MinFilter(3))
    body = inside.crop((1, 1, inside.width - 1, inside.height - 1))
    edge = ImageChops.subtract(whole.crop(box), body)
    opacity = ImageChops.lighter(edge, body.point(lambda value: min(value, fill)))
    image.paste(colour, box[:2], opacity)
