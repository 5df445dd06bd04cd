"""An image as the page keeps it, and what models predict for it; nothing here knows the page."""

import io
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from spinet.app.choices import Choices
from spinet.app.models import AppModel
from spinet.data.masks import Rle, decode_columns, encode_columns
from spinet.errors import SpinetError
from spinet.formats.images import image_size, read_image
from spinet.predict.results import ClassResult, DetectionResult, Result
from spinet.predict.visualize import draw_detections

# The long side of an image on the page in pixels. Small images are enlarged, or their labels would cover them.
SHOWN_SIDE, LEAST_SIDE = 1280, 640
MOST_ENLARGED = 4
# Larger images are shrunk before a model sees them, which bounds the masks; no network takes nearly as many pixels.
MODEL_PIXELS = 16_000_000
MOST_PIXELS = 200_000_000


@dataclass(frozen=True)
class PageImage:
    """An image of which only a copy is kept, with a long side of at most `SHOWN_SIDE`."""

    path: Path
    width: int  # of the file, in pixels
    height: int
    jpeg: bytes

    @property
    def thumbnail(self) -> Image.Image:
        """The copy."""
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")


@dataclass(frozen=True)
class Answer:
    """What one model predicts for one image, and the time it took without reading the file."""

    seconds: float
    result: Result  # classes, or objects in pixels of the small copy, without the image
    boxes: NDArray[np.float32] | None = None  # of objects, `(N, 4)` XYXY in pixels of the whole image

    def shown(self, choices: Choices) -> DetectionResult:
        """Return the objects that are shown."""
        assert isinstance(self.result, DetectionResult)
        return self.result[choices.rows(self.result)]

    def best_hidden(self, choices: Choices) -> DetectionResult:
        """Return the object of the highest score among those of a chosen class, whatever the threshold."""
        assert isinstance(self.result, DetectionResult)
        return self.result[choices.of_classes(self.result.class_names)][:1]


def open_image(path: Path) -> tuple[PageImage, Tensor]:
    """Read an image; return what the page keeps, and what models see, uint8 RGB `(3, H, W)`.

    Raises:
        SpinetError: the file is missing, broken, no image, or above 200 megapixels; it is named without its folder.
    """
    try:
        width, height = image_size(path)
        if width * height > MOST_PIXELS:
            raise SpinetError(f"{path} has {width} x {height} pixels; this page takes at most {MOST_PIXELS:,}")
        image = read_image(path)
    except SpinetError as error:
        raise SpinetError(str(error).replace(str(path), path.name)) from None
    image = _resize(image, min((MODEL_PIXELS / (width * height)) ** 0.5, 1.0))
    buffer = io.BytesIO()
    side = max(image.shape[-2:])
    small = _resize(image, min(SHOWN_SIDE / side, max(1, min(LEAST_SIDE // side, MOST_ENLARGED))))
    functional.to_pil_image(small).save(buffer, "JPEG", quality=90)
    return PageImage(path, width, height, buffer.getvalue()), image


def ask(model: AppModel, page_image: PageImage, image: Tensor) -> Answer:
    """Run a model once; `image` is what `open_image` returned with it."""
    start = time.perf_counter()
    result = model.predict(image)
    seconds = time.perf_counter() - start
    if isinstance(result, ClassResult):
        return Answer(seconds, result)
    return Answer(
        seconds, resized(result, *page_image.thumbnail.size), _scaled(result, page_image.width, page_image.height)
    )


def draw_answer(page_image: PageImage, answer: Answer, choices: Choices) -> Image.Image:
    """Draw the objects that are shown on the copy; no model is run."""
    if isinstance(answer.result, ClassResult):
        return page_image.thumbnail
    found = answer.shown(choices)
    return _draw(page_image, found, found.scores, choices.opacity)


def draw_truth(page_image: PageImage, truth: DetectionResult, choices: Choices) -> Image.Image:
    """Draw annotations of the chosen classes, in pixels of the image, on the copy."""
    shown = resized(truth[choices.of_classes(truth.class_names)], *page_image.thumbnail.size)
    return _draw(page_image, shown, None, choices.opacity)


def _draw(
    page_image: PageImage, found: DetectionResult, scores: NDArray[np.float32] | None, opacity: float
) -> Image.Image:
    names, rles = found.class_names, found.rles or ()
    return draw_detections(page_image.thumbnail, found.boxes, scores, found.labels, names, rles, opacity)


def _resize(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    size = [max(round(side * factor), 1) for side in image.shape[-2:]]
    small: Tensor = functional.resize(image, size, antialias=True)
    return small


def _scaled(result: DetectionResult, width: int, height: int) -> NDArray[np.float32]:
    """Return the boxes in pixels of a copy of another size."""
    old_height, old_width = result.image_size
    return result.boxes * np.array([width / old_width, height / old_height] * 2, dtype=np.float32)


def resized(result: DetectionResult, width: int, height: int) -> DetectionResult:
    """Return the objects in pixels of a copy of another size, without its pixels."""
    boxes, rles = _scaled(result, width, height), result.rles
    if rles is not None:
        rles = tuple(_small_mask(rle, box, width, height) for rle, box in zip(rles, boxes.tolist(), strict=True))
    # Pixels are kept as a JPEG, if at all; this tensor is one byte that is seen everywhere.
    nothing = torch.zeros(1, dtype=torch.uint8).expand(3, height, width)
    return replace(result, boxes=boxes, rles=rles, image=nothing)


def _small_mask(mask: Rle, box: list[float], width: int, height: int) -> Rle:
    """Resize a mask by nearest neighbour, inside the box."""
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
