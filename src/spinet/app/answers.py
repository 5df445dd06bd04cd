"""A photo as the page keeps it, what models say about it, and both as pictures; nothing here knows the page."""

import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.app.models import AppModel
from spinet.data.images import image_size, read_image
from spinet.data.masks import Rle, decode_columns, encode_columns
from spinet.engine.evaluate import ImageDetections
from spinet.errors import SpinetError
from spinet.models.classifier import ClassPredictions
from spinet.predict.pictures import draw_detections

# The long side of a picture on the page, pixels.
SHOWN_SIDE = 1280
# Larger photos are shrunk before a model sees them, which bounds the masks; no network takes nearly as many pixels.
ASKED_PIXELS = 16_000_000
MOST_PIXELS = 200_000_000


@dataclass(frozen=True)
class Photo:
    """A photo of which only a small picture is kept.

    Attributes:
        path: the file.
        width: of the photo, pixels.
        height: of the photo, pixels.
        picture: JPEG with a long side of at most `SHOWN_SIDE`.
    """

    path: Path
    width: int
    height: int
    picture: bytes

    @property
    def image(self) -> Image.Image:
        """The small picture."""
        return Image.open(io.BytesIO(self.picture)).convert("RGB")


@dataclass(frozen=True)
class Answer:
    """What one model says about one photo.

    Attributes:
        seconds: how long it took, without reading the file.
        class_names: name of each label.
        boxes: `(D, 4)` XYXY in pixels of the photo; None for classifiers.
        shown: boxes and masks in pixels of the small picture; None for classifiers.
        guesses: of a classifier; None for detectors.
    """

    seconds: float
    class_names: tuple[str, ...]
    boxes: Tensor | None = None
    shown: ImageDetections | None = None
    guesses: ClassPredictions | None = None


def open_photo(path: Path) -> tuple[Photo, Tensor]:
    """Read a photo; return what the page keeps, and what models are asked about, uint8 RGB `(3, H, W)`.

    Raises:
        SpinetError: the file is missing, broken, no image, or above 200 megapixels; it is named without its folder.
    """
    try:
        width, height = image_size(path)
        if width * height > MOST_PIXELS:
            raise SpinetError(f"{path} has {width} x {height} pixels; allowed are {MOST_PIXELS:,} on this page")
        image = read_image(path)
    except SpinetError as error:
        raise SpinetError(str(error).replace(str(path), path.name)) from None
    image = _shrink(image, min((ASKED_PIXELS / (width * height)) ** 0.5, 1.0))
    buffer = io.BytesIO()
    small = _shrink(image, min(SHOWN_SIDE / max(image.shape[-2:]), 1.0))
    functional.to_pil_image(small).save(buffer, "JPEG", quality=90)
    return Photo(path, width, height, buffer.getvalue()), image


def ask(model: AppModel, photo: Photo, image: Tensor) -> Answer:
    """Let a model look at a photo, once; `image` is what `open_photo` gave with it."""
    start = time.perf_counter()
    if model.is_classifier:
        guesses = model.guess(image)
        return Answer(time.perf_counter() - start, model.info.class_names, guesses=guesses)
    found = model.find(image)
    seconds = time.perf_counter() - start
    small = photo.image
    return Answer(
        seconds,
        model.info.class_names,
        boxes=_scaled(found["boxes"], image, photo.width, photo.height),
        shown=_shown(found, image, small.width, small.height),
    )


def above(answer: Answer, threshold: float) -> Tensor:
    """Whether each detection is sure enough, bool `(D,)`."""
    assert answer.shown is not None
    return answer.shown["scores"] >= threshold


def draw_answer(photo: Photo, answer: Answer, threshold: float) -> Image.Image:
    """Draw what is at least as sure as the threshold on the small picture; no model is asked."""
    if answer.shown is None:
        return photo.image
    return draw_detections(photo.image, _kept(answer.shown, above(answer, threshold)), answer.class_names)


def _kept(found: ImageDetections, keep: Tensor) -> ImageDetections:
    kept = ImageDetections(boxes=found["boxes"][keep], scores=found["scores"][keep], labels=found["labels"][keep])
    if "masks" in found:
        kept["masks"] = [found["masks"][place] for place in keep.nonzero().flatten().tolist()]
    return kept


def _shrink(image: Tensor, factor: float) -> Tensor:
    if factor >= 1:
        return image
    size = [max(round(side * factor), 1) for side in image.shape[-2:]]
    small: Tensor = functional.resize(image, size, antialias=True)
    return small


def _scaled(boxes: Tensor, image: Tensor, width: int, height: int) -> Tensor:
    """Boxes in pixels of `image` as boxes in a picture of another size."""
    return boxes * torch.tensor([width / image.shape[-1], height / image.shape[-2]]).repeat(2)


def _shown(found: ImageDetections, image: Tensor, width: int, height: int) -> ImageDetections:
    shown = ImageDetections(
        boxes=_scaled(found["boxes"], image, width, height), scores=found["scores"], labels=found["labels"]
    )
    if "masks" in found:
        boxes = shown["boxes"].tolist()
        shown["masks"] = [_small_mask(*pair, width, height) for pair in zip(found["masks"], boxes, strict=True)]
    return shown


def _small_mask(mask: Rle, box: list[float], width: int, height: int) -> Rle:
    """Take from a mask the pixel in the middle of each pixel of a picture of another size, inside the box."""
    whole_height, whole_width = mask["size"]
    left, top = max(int(box[0]), 0), max(int(box[1]), 0)
    right, bottom = min(int(box[2]) + 1, width), min(int(box[3]) + 1, height)
    columns = ((np.arange(left, right) + 0.5) * whole_width / width).astype(int)
    rows = ((np.arange(top, bottom) + 0.5) * whole_height / height).astype(int)
    if not len(columns) or not len(rows):
        return encode_columns(np.zeros((0, 0), dtype=bool), 0, 0, height, width)
    part = decode_columns(mask["counts"], whole_height, whole_width, int(columns[0]), int(columns[-1]) + 1)
    inside = part[columns - columns[0]][:, rows] > 0
    return encode_columns(inside, left, top, height, width)
