"""Cropping masks of whole images to square masks of boxes, for training, and pasting them back."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spinet.data.masks import Rle, decode_columns, encode_columns

# Side of the training masks, in cells (gt_mask_size of tensorflow/tpu's Mask R-CNN).
CROP_SIDE = 112

Floats = NDArray[np.float32]


def crop_masks(masks: Sequence[bytes], boxes: Tensor, height: int, width: int, side: int = CROP_SIDE) -> Tensor:
    """Return the part of each mask inside its box on a square grid: uint8 `(N, side, side)`, 0 or 1.

    Masks are compressed run lengths of images of (height, width), boxes `(N, 4)` XYXY in their pixels. A cell belongs
    to the object if more than half of its area does. Unlike interpolation of points this is exact at any box size: the
    mask of a rectangle fills its own box to the corners. Only the columns inside the box are decoded.
    """
    crops = np.zeros((len(masks), side, side), dtype=np.uint8)
    for crop, mask, box in zip(crops, masks, boxes.double().tolist(), strict=True):
        crop[:] = _crop(mask, box, height, width, side)
    return torch.from_numpy(crops)


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[Rle]:
    """Return masks of a whole image from probabilities `(D, B, B)` in boxes `(D, 4)`, XYXY in pixels, also beyond it.

    Pixel centers are interpolated between cell centers, with probability zero outside, and belong to the object above
    0.5, as in the papers' code (Detectron's padding by one cell), but without rounding the boxes to whole pixels first.
    """
    pairs = zip(masks.detach().float().cpu().numpy(), boxes.double().tolist(), strict=True)
    return [_paste(mask, box, height, width) for mask, box in pairs]


def _crop(mask: bytes, box: list[float], height: int, width: int, side: int) -> NDArray[np.bool_]:
    left, top, right, bottom = box
    first, last = _pixels(left, right, width)
    upper, lower = _pixels(top, bottom, height)
    window = decode_columns(mask, height, width, first, last)[:, upper:lower].astype(np.float32)
    covered = _overlaps(left, right, first, last, side) @ window @ _overlaps(top, bottom, upper, lower, side).T
    half_cell = (right - left) * (bottom - top) / side**2 / 2
    inside: NDArray[np.bool_] = np.greater(covered.T, half_cell)
    return inside


def _overlaps(low: float, high: float, first: int, last: int, side: int) -> Floats:
    """Return the overlap of each of `side` cells between `low` and `high` with each pixel: `(side, last - first)`."""
    edges = np.linspace(low, high, side + 1)[:, None]
    pixels = np.arange(first, last)
    shared: NDArray[np.float64] = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return shared.clip(min=0).astype(np.float32)


def _paste(mask: Floats, box: list[float], height: int, width: int) -> Rle:
    left, top, right, bottom = box
    first, last = _pixels(left, right, width)
    upper, lower = _pixels(top, bottom, height)
    cells = len(mask)
    inside = _weights(left, right, first, last, cells) @ mask.T @ _weights(top, bottom, upper, lower, cells).T
    return encode_columns(inside > 0.5, first, upper, height, width)


def _weights(low: float, high: float, first: int, last: int, cells: int) -> Floats:
    """Return the weight of each cell for the center of each pixel: `(last - first, cells)`."""
    # The bound prevents a division by zero; an empty box has no pixels inside.
    centres = (np.arange(first, last)[:, None] + 0.5 - low) * (cells / max(high - low, 1e-6)) - 0.5
    weights: NDArray[np.float64] = 1 - np.abs(centres - np.arange(cells))
    return weights.clip(min=0).astype(np.float32)


def _pixels(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return the first pixel that touches the interval, and the one after the last, within 0 to `limit`."""
    first = min(max(math.floor(low), 0), limit)
    return first, max(min(math.ceil(high), limit), first)
