"""The annotations of a split as tensors, and which of them are dropped, clipped or repaired."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from spinet.data.masks import is_empty, read_mask
from spinet.errors import SpinetError
from spinet.formats.annotations import Entry, RawSplit
from spinet.formats.findings import of
from spinet.formats.values import number

# Files round coordinates (COCO's own to 0.01 pixel), which moves box edges outside by at most this much.
ROUNDING = 0.1
# A box that loses more than this fraction of its area is not a rounded one.
CUT = 0.1
# A fault of more than this fraction of the objects is no accident but another convention.
SYSTEMATIC = 0.5
NO_AREA = "boxes of zero area dropped"
OUTSIDE = "boxes outside their image dropped"
CLIPPED = "boxes clipped to their image"
FALSE_AREA = "areas replaced that are not above 0"
NO_MASK = "objects without a valid mask dropped"
NO_PIXEL = "masks without a pixel"
SPLINTER = "masks without some invalid polygon"

Problems = dict[str, Tensor]


@dataclass(frozen=True)
class Sample:
    """One image and its objects; crowd regions are left out.

    Attributes:
        image_id: the image's id in the annotation file.
        path: the image file.
        width: in pixels, from the annotation file.
        height: in pixels, from the annotation file.
        boxes: float32 `(N, 4)`, XYXY in pixels, inside the image and not empty.
        labels: int64 `(N,)`, indices into `CocoDataset.category_ids`.
        masks: N masks of the whole image as COCO's compressed run lengths; `None` unless requested.
        number: of the image in its split, from 1: ids of files may be too large for tensors.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: Tensor
    labels: Tensor
    masks: tuple[bytes, ...] | None = None
    number: int = 0


class ObjectTable(NamedTuple):
    """All annotations of a split, in the file's order.

    Attributes:
        xywh: float64 `(A, 4)`, x, y, width, height in pixels, as the file has them.
        boxes: float32 `(A, 4)`, XYXY, clipped to the image.
        labels: int64 `(A,)`.
        owners: int64 `(A,)`, positions of their images in the file.
        crowd: bool `(A,)`.
        areas: float64 `(A,)`, in pixels; NaN where the file does not say it.
        kept: bool `(A,)`, false for dropped ones.
    """

    xywh: Tensor
    boxes: Tensor
    labels: Tensor
    owners: Tensor
    crowd: Tensor
    areas: Tensor
    kept: Tensor

    def objects(self) -> Tensor:
        """Return the indices of the objects to train on, by image; crowd regions are left out."""
        chosen = (self.kept & ~self.crowd).nonzero().squeeze(1)
        return chosen[self.owners[chosen].argsort(stable=True)]


def object_table(
    annotations: Sequence[Entry], images: Mapping[int, Entry], category_ids: Sequence[int]
) -> tuple[ObjectTable, Problems]:
    """Return the table of checked annotations, and for each problem which of them have it, bool `(A,)`."""
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    position_of = {image_id: position for position, image_id in enumerate(images)}
    owners = torch.tensor([position_of[entry["image_id"]] for entry in annotations], dtype=torch.int64)
    sizes = torch.tensor([(image["width"], image["height"]) for image in images.values()]).view(-1, 2)
    xywh = torch.tensor([entry["bbox"] for entry in annotations], dtype=torch.float64).view(-1, 4)
    corners = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1).float()
    clipped = corners.clamp(min=0).minimum(sizes[owners].repeat(1, 2))

    has_area, kept = _has_area(corners), _has_area(clipped)
    areas, is_false = _areas(annotations)
    table = ObjectTable(
        xywh,
        clipped,
        torch.tensor([label_of[entry["category_id"]] for entry in annotations], dtype=torch.int64),
        owners,
        torch.tensor([entry["iscrowd"] for entry in annotations], dtype=torch.bool),
        areas,
        kept,
    )
    problems = {
        NO_AREA: ~has_area,
        OUTSIDE: has_area & ~kept,
        CLIPPED: kept & ((clipped - corners).abs() > ROUNDING).any(dim=1),
        FALSE_AREA: is_false & kept,
    }
    return table, problems


def far_outside(table: ObjectTable) -> Tensor:
    """Return which kept boxes lose more than a tenth of their area by clipping, bool `(A,)`."""
    whole = table.xywh[:, 2:].prod(dim=1)
    left = (table.boxes[:, 2:] - table.boxes[:, :2]).double().prod(dim=1)
    return table.kept & (left < (1 - CUT) * whole)


def read_masks(
    read: RawSplit, kept: Tensor, images: Mapping[int, Entry]
) -> tuple[list[bytes], Tensor, Problems, dict[str, str]]:
    """Return masks `(A,)` of the kept annotations, which to keep now, problems, and a sentence for some of these.

    An annotation without a valid mask is dropped; invalid polygons beside valid ones are left out.

    Raises:
        SpinetError: there are no masks, or more than half of them are invalid.
    """
    annotations = read.raw["annotations"]
    if kept.any() and not any(entry.get("segmentation") for entry in annotations):
        raise SpinetError(
            f"{read.file} has no masks; Mask R-CNN needs a segmentation (polygons or RLE) for each object, "
            "other detectors need boxes only"
        )
    masks = [b""] * len(annotations)
    invalid, empty, partial = (torch.zeros(len(annotations), dtype=torch.bool) for _ in range(3))
    details: dict[str, str] = {}
    for index in kept.nonzero().squeeze(1).tolist():
        entry = annotations[index]
        height, width = (images[entry["image_id"]][side] for side in ("height", "width"))
        splinters: list[str] = []
        try:
            masks[index] = read_mask(entry.get("segmentation"), height, width, splinters)
        except ValueError as error:
            details.setdefault(NO_MASK, f"{read.annotation(index)} {error}")
            invalid[index] = True
            continue
        empty[index] = is_empty(masks[index], height, width)
        if splinters:
            details.setdefault(SPLINTER, f"{read.annotation(index)} {splinters[0]}")
            partial[index] = True
    count, total = int(invalid.sum()), int(kept.sum())
    if count > SYSTEMATIC * total:
        more = f" (missing or invalid masks in total: {of(count, total)})" if count > 1 else ""
        raise SpinetError(f"{details[NO_MASK]}{more}")
    return masks, kept & ~invalid, {NO_MASK: invalid, NO_PIXEL: empty, SPLINTER: partial}, details


def _areas(annotations: Sequence[Entry]) -> tuple[Tensor, Tensor]:
    """Return the areas, NaN where there is none, and which ones the file has but are not above 0."""
    areas, is_false = [], []
    for entry in annotations:
        given = entry.get("area")
        area = number(given) if given is not None else None
        areas.append(area if area is not None and area > 0 else math.nan)
        is_false.append(given is not None and not (area is not None and area > 0))
    return torch.tensor(areas, dtype=torch.float64), torch.tensor(is_false, dtype=torch.bool)


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
