"""Masks of objects: COCO's polygons and run lengths, validated and kept as compressed run lengths.

Run lengths are column by column, starting with the pixels outside the object, as in COCO.
"""

import math
from collections.abc import Mapping
from typing import Any, TypedDict

import faster_coco_eval.mask_api_new_cpp as mask_api
import numpy as np
from numpy.typing import NDArray

from spinet.errors import quoted
from spinet.formats.values import number

# Polygons that reach further outside are errors, and drawing them takes minutes.
FARTHEST = 100_000


class Rle(TypedDict):
    """A mask as COCO's JSON files have it.

    Attributes:
        size: height and width of the image in pixels.
        counts: compressed run lengths.
    """

    size: list[int]
    counts: str


def read_mask(segmentation: object, height: int, width: int, left_out: list[str] | None = None) -> bytes:
    """Return the compressed run lengths of an object from its `segmentation` in any of COCO's forms.

    The forms are polygons, whose union is the object, drawn as by pycocotools, and plain or compressed run lengths.
    One polygon may come without its outer list. Invalid polygons beside valid ones are left out: `left_out` gets the
    fault of each, phrased like those of the error.

    Raises:
        ValueError: the fault, phrased to follow the name of the annotation.
    """
    if segmentation is None or segmentation == []:
        raise ValueError(
            "has no segmentation; Mask R-CNN needs polygons or run lengths (RLE) for each object, "
            "other detectors need boxes only"
        )
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, height, width, left_out)
    if isinstance(segmentation, dict):
        return _from_run_lengths(segmentation, height, width)
    raise ValueError(f"has a {type(segmentation).__name__} as segmentation; must be a list of polygons or RLE")


def is_empty(mask: bytes, height: int, width: int) -> bool:
    """Whether the object has no pixels."""
    return int(mask_api.area([{"size": [height, width], "counts": mask}])[0]) == 0


def area_of(segmentation: object, height: int, width: int) -> int:
    """Return the number of pixels of an object, 0 if its `segmentation` is invalid."""
    try:
        mask = read_mask(segmentation, height, width)
    except ValueError:
        return 0
    return int(mask_api.area([{"size": [height, width], "counts": mask}])[0])


def decode_columns(mask: bytes | str, height: int, width: int, first: int, last: int) -> NDArray[np.uint8]:
    """Return columns `first` to `last - 1` of a mask, as rows: 0 or 1 `(last - first, height)`."""
    [plain] = mask_api.toUncompressedRLE([{"size": [height, width], "counts": mask}])
    runs = np.asarray(plain["counts"], dtype=np.int64)
    start = first * height
    lengths = np.diff(np.cumsum(runs).clip(start, last * height), prepend=start)
    values = np.arange(len(runs), dtype=np.int64) % 2
    return np.repeat(values.astype(np.uint8), lengths).reshape(last - first, height)


def encode_columns(part: NDArray[np.bool_], left: int, top: int, height: int, width: int) -> Rle:
    """Return the mask of an image from its non-empty part, `(columns, rows)`, whose first pixel is at (left, top)."""
    # One more pixel at both ends, so that each run has a beginning and an end.
    line = np.zeros(len(part) * height + 2, dtype=np.int8)
    line[1:-1].reshape(len(part), height)[:, top : top + part.shape[1]] = part
    changes = left * height + np.flatnonzero(np.diff(line))
    counts = np.diff(np.concatenate([[0], changes, [height * width]])).tolist()
    if counts[-1] == 0:
        counts.pop()
    return as_rle(_compress(counts, height, width), height, width)


def as_rle(mask: bytes, height: int, width: int) -> Rle:
    """Return a mask in the form of COCO's JSON files."""
    return {"size": [height, width], "counts": mask.decode("ascii")}


def _from_polygons(polygons: list[Any], height: int, width: int, left_out: list[str] | None) -> bytes:
    if not any(isinstance(polygon, list) for polygon in polygons):
        polygons = [polygons]
    valid, faults = [], []
    for polygon in polygons:
        points = _points(polygon)
        fault = _fault(polygon, points)
        if fault is None:
            valid.append(points)
        else:
            faults.append(fault)
    if not valid:
        raise ValueError(faults[0])
    if left_out is not None:
        left_out += faults
    mask: bytes = mask_api.merge(mask_api.frPyObjects(valid, height, width))["counts"]
    return mask


def _points(polygon: object) -> list[float]:
    """Return the finite numbers of a polygon."""
    if not isinstance(polygon, list):
        return []
    if all(type(value) is float and math.isfinite(value) for value in polygon):
        return polygon
    return [value for value in map(number, polygon) if value is not None]


def _fault(polygon: object, points: list[float]) -> str | None:
    if not isinstance(polygon, list):
        return "has a segmentation that is not a list of polygons; expected [[x1, y1, x2, y2, x3, y3, ...], ...]"
    if len(polygon) < 6 or len(polygon) % 2:
        return (
            f"has a polygon of {len(polygon)} numbers; must be x and y of at least three points, "
            "an even number of at least 6"
        )
    if len(points) < len(polygon) and not any(map(_is_huge, polygon)):
        return "has a polygon whose points are not all finite numbers"
    if len(points) < len(polygon) or max(points) > FARTHEST or min(points) < -FARTHEST:
        return f"has a polygon with a point more than {FARTHEST:,} pixels from its image"
    return None


def _is_huge(value: object) -> bool:
    # Integers of JSON may be too large for a float.
    return type(value) is int and abs(value) > FARTHEST


def _from_run_lengths(rle: Mapping[str, Any], height: int, width: int) -> bytes:
    size, counts = rle.get("size"), rle.get("counts")
    if size != [height, width]:
        raise ValueError(
            f"has RLE of size {quoted(size)}, but its image has height {height} and width {width}; "
            f"must be [{height}, {width}]"
        )
    others = sorted({type(side).__name__ for side in size} - {"int"})
    if others:
        raise ValueError(
            f"has RLE of size {quoted(size)} containing {' and '.join(others)}; must be integers: [{height}, {width}]"
        )
    if isinstance(counts, list):
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("has RLE counts that are not all non-negative integers")
        _check_sum(counts, height, width)
        return _compress(counts, height, width)
    if not isinstance(counts, str) or not counts.isascii():
        raise ValueError("has invalid RLE counts; must be a list of integers or COCO's compressed string")
    try:
        [plain] = mask_api.toUncompressedRLE([{"size": size, "counts": counts}])
    except (ValueError, RuntimeError) as error:
        raise ValueError("has invalid RLE counts, which are not COCO's compressed string") from error
    _check_sum(plain["counts"], height, width)
    return counts.encode("ascii")


def _check_sum(counts: list[int], height: int, width: int) -> None:
    if sum(counts) != height * width:
        total = min(sum(counts), 10**15)
        raise ValueError(f"has invalid RLE counts: they sum to {total:,} pixels, but its image has {height * width:,}")


def _compress(counts: list[int], height: int, width: int) -> bytes:
    mask: bytes = mask_api.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return mask
