"""Drawing the images of the demo dataset: handwritten digits on photos, with exact boxes and masks."""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GAP = 2
# Grey level from which an enlarged digit is ink: with a lower one an 8 fills up, with a higher one a 0 opens.
INK = 100

Rng = np.random.Generator
Bytes = NDArray[np.uint8]
Place = tuple[int, int, int, int]


class Plan(NamedTuple):
    """The arguments of `make_demo_dataset`, which describes them."""

    classes: int
    train_images: int
    val_images: int
    image_size: int
    object_sizes: tuple[int, int]
    objects_per_image: tuple[int, int]
    seed: int


def draw_image(
    rng: Rng, digits: list[Bytes], photos: list[Image.Image], plan: Plan
) -> tuple[Bytes, list[dict[str, Any]]]:
    """Draw digits, uint8 `(N, 8, 8)` of each class, without overlap on a crop of a photo.

    Returns uint8 `(S, S, 3)`, and COCO annotations without `id`, `image_id` and `iscrowd`; category ids start at 1.
    """
    pixels = _background(rng, photos, plan.image_size)
    places: list[Place] = []
    objects = []
    fewest, most = plan.objects_per_image
    for _ in range(rng.integers(fewest, most + 1)):
        digit = int(rng.integers(len(digits)))
        glyph = _glyph(rng, digits[digit][rng.integers(len(digits[digit]))])
        place = _free_place(rng, plan.image_size, plan.object_sizes, glyph.size, places)
        if place is None:
            continue
        places.append(place)
        left, top, width, height = place
        window = pixels[top : top + height, left : left + width]
        alpha = np.asarray(glyph.resize((width, height), Image.Resampling.BOX))[..., None] / 255
        window[:] = np.rint(window * (1 - alpha) + _colour(rng, window) * alpha)
        mask = np.zeros(pixels.shape[:2], dtype=bool)
        mask[top : top + height, left : left + width] = alpha[..., 0] >= 0.5
        objects.append({"category_id": digit + 1} | _outline(mask))
    return pixels, objects


def _background(rng: Rng, photos: list[Image.Image], size: int) -> Bytes:
    photo = photos[rng.integers(len(photos))]
    longest = min(photo.size)
    side = int(rng.integers(min(size, longest), longest + 1))
    left = int(rng.integers(photo.width - side + 1))
    top = int(rng.integers(photo.height - side + 1))
    box = (left, top, left + side, top + side)
    return np.array(photo.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _glyph(rng: Rng, digit: Bytes) -> Image.Image:
    """Enlarge an 8 x 8 digit, with sharp edges, rotate it slightly and crop it to its ink."""
    large = Image.fromarray(np.pad(digit, 3)).resize((224, 224), Image.Resampling.BICUBIC)
    turned = large.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BILINEAR)
    ink = turned.point([255 * (level >= INK) for level in range(256)])
    return ink.crop(ink.getbbox())


def _free_place(
    rng: Rng, side: int, object_sizes: tuple[int, int], shape: tuple[int, int], taken: list[Place]
) -> Place | None:
    """Find a free box (left, top, width, height) for a glyph of this shape, with decreasing sizes."""
    smallest, largest = object_sizes
    for _ in range(30):
        size = math.exp(rng.uniform(math.log(smallest), math.log(largest)))
        width, height = (max(round(length * size / max(shape)), 2) for length in shape)
        left = int(rng.integers(side - width + 1))
        top = int(rng.integers(side - height + 1))
        place = (left, top, width, height)
        if not any(_touch(place, other) for other in taken):
            return place
        largest = max(int(largest * 0.9), smallest)
    return None


def _touch(a: Place, b: Place) -> bool:
    return all(
        start < other + length + GAP and other < start + extent + GAP
        for start, extent, other, length in zip(a[:2], a[2:], b[:2], b[2:], strict=True)
    )


def _colour(rng: Rng, window: Bytes) -> NDArray[np.float64]:
    """Return the random color with the best contrast to nearly all pixels of the window."""
    # Weighted as perceived: green most, blue least.
    weights = np.sqrt([0.299, 0.587, 0.114])
    colours = rng.integers(0, 256, size=(12, 3)).astype(np.float64)
    behind = window[::2, ::2].reshape(-1, 1, 3)
    distances = np.linalg.norm((colours - behind) * weights, axis=-1)
    best: NDArray[np.float64] = colours[np.quantile(distances, 0.05, axis=0).argmax()]
    return best


def _outline(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask's tight box (XYWH), area and uncompressed COCO run lengths, which go down the columns."""
    columns, rows = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    flat = mask.ravel(order="F")
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    runs = [end - start for start, end in itertools.pairwise(edges)]
    return {
        "bbox": [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
        "area": int(flat.sum()),
        "segmentation": {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs},
    }
