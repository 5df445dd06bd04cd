"""Object sizes compared with a detector's anchors: the level of each object, and whether an anchor matches it.

An object matches at an IoU of 0.5 or more, RetinaNet's threshold for a positive anchor. The region proposals of the
R-CNNs use 0.7, and each object's best anchor whatever its IoU: for them 0.5 tells how far proposals have to move.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError
from spinet.formats.findings import Finding
from spinet.models.anchors import level_anchors

SCALES = (1.0, 2.0, 3.0, 4.0)
THRESHOLD = 0.5
# Larger datasets are sampled.
MAX_OBJECTS = 20_000
# Fractions of matched objects: below them a hint and a warning; and the gain from which a setting is recommended.
ENOUGH, FEW, MIN_GAIN = 0.9, 0.75, 0.05
SIZES = (256, 320, 384, 512, 640, 768, 896, 1024, 1280, 1536)

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class AnchorShapes:
    """The anchors of a detector, without their scale; the defaults are those of the paper's RetinaNet.

    Attributes:
        octaves: sizes per level, evenly spaced up to the next level's.
        aspect_ratios: width / height.
        levels: of the features, finest first.
    """

    octaves: int = 3
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    levels: tuple[int, ...] = (3, 4, 5, 6, 7)

    def largest(self, scale: float) -> float:
        """Side of the largest square anchor in pixels."""
        return float(scale * 2 ** (self.levels[-1] + 1 - 1 / self.octaves))


RETINANET = AnchorShapes()


@dataclass(frozen=True)
class DetectorSettings:
    """Settings of a detector that its dataset is checked against.

    Attributes:
        image_size: side of the square that images are fitted into, pixels.
        anchor_scale: side of the smallest anchor in strides.
        shapes: the other settings of the anchors.
        max_objects: objects per image used in training.
    """

    image_size: int = 640
    anchor_scale: float = 3.0
    shapes: AnchorShapes = RETINANET
    max_objects: int = 100

    def __post_init__(self) -> None:
        if self.image_size < 1 or not 0 < self.anchor_scale < math.inf:
            raise SpinetError(f"image size {self.image_size} and anchor scale {self.anchor_scale} must be above 0")


@dataclass(frozen=True)
class SizeTable:
    """Fractions of the objects, with images fitted into a square of `image_size` pixels.

    Attributes:
        image_size: pixels.
        anchor_scale: side of the smallest anchor in strides.
        shapes: the other settings of the anchors.
        below: smaller than the smallest anchor (by the square root of the area).
        levels: in each level's range of sizes, from its smallest anchor to the next level's; the last range ends with
            the largest anchor.
        above: larger than the largest anchor.
        matched: with an IoU of 0.5 or more with some anchor, for each anchor scale.
    """

    image_size: int
    anchor_scale: float
    shapes: AnchorShapes
    below: float
    levels: dict[int, float]
    above: float
    matched: dict[float, float]


def size_table(
    boxes: Boxes,
    sides: NDArray[np.int64],
    image_size: int,
    anchor_scale: float,
    scales: Sequence[float] = SCALES,
    shapes: AnchorShapes = RETINANET,
) -> SizeTable:
    """Compare objects, boxes `(A, 4)`, XYXY in pixels of images whose long sides are `sides` `(A,)`, with anchors.

    Images are resized to a long side of `image_size`; matches are counted for `anchor_scale` and for other `scales`.
    """
    step = math.ceil(len(boxes) / MAX_OBJECTS)
    boxes, sides = boxes[::step], sides[::step]
    scaled = boxes * (image_size / sides[:, None]).astype(np.float32)
    extent = np.sqrt((scaled[:, 2:] - scaled[:, :2]).prod(axis=1))
    # Where a backbone lacks a level, the range of the next finer one is larger.
    level_index = np.searchsorted(anchor_scale * 2.0 ** np.array(shapes.levels), extent, side="right") - 1
    above = extent > shapes.largest(anchor_scale)
    return SizeTable(
        image_size,
        anchor_scale,
        shapes,
        below=float((level_index < 0).mean()),
        levels={level: float(((level_index == index) & ~above).mean()) for index, level in enumerate(shapes.levels)},
        above=float(above.mean()),
        matched={scale: _matched(scaled, image_size, scale, shapes) for scale in sorted({anchor_scale, *scales})},
    )


def long_sides(dataset: CocoDataset) -> NDArray[np.int64]:
    """Return the long side of each sample's image."""
    return np.array([max(sample.width, sample.height) for sample in dataset.samples])


def anchor_findings(
    dataset: CocoDataset, boxes: Boxes, images: NDArray[np.int64], settings: DetectorSettings
) -> Iterator[Finding]:
    """Report anchors that match too few objects, and settings that match more."""
    sides, scale, shapes = long_sides(dataset)[images], settings.anchor_scale, settings.shapes
    table = size_table(boxes, sides, settings.image_size, scale, shapes=shapes)
    matched = table.matched[scale]
    if matched >= ENOUGH:
        return
    smallest = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / sides.astype(np.float64) ** 2
    path = dataset.samples[images[smallest.argmin()]].path
    text = (
        f"at {settings.image_size} pixels and anchor scale {scale:g} only {matched:.0%} of the objects match an anchor"
        f" (IoU of 0.5 or more); {table.below:.0%} are smaller than the smallest anchor,"
        f" {2 ** shapes.levels[0] * scale:g} pixels, and"
        f" {table.above:.0%} larger than the largest ({path.parent.name}/{path.name} has the smallest)"
    )
    advice = _advice(boxes, sides, table) or "no other anchor scale or image size matches clearly more"
    yield Finding("warning" if matched < FEW else "hint", "anchors", f"{text}; {advice}")


def _advice(boxes: Boxes, sides: NDArray[np.int64], table: SizeTable) -> str:
    """Return settings that match clearly more objects: the anchor scale first, because it costs nothing."""
    scale = max(table.matched, key=lambda key: (round(table.matched[key], 2), key))
    if table.matched[scale] < table.matched[table.anchor_scale] + MIN_GAIN:
        scale = table.anchor_scale
    matched = table.matched[scale]
    advice = [f"model.anchor_scale {scale:g} raises it to {matched:.0%}"] if scale != table.anchor_scale else []
    if matched < ENOUGH:
        # Images enlarged to more than twice their size show nothing new.
        larger = [size for size in SIZES if table.image_size < size <= 2 * np.median(sides)]
        matches = {size: size_table(boxes, sides, size, scale, (), table.shapes).matched[scale] for size in larger}
        enough = [size for size, fraction in matches.items() if fraction >= ENOUGH]
        best = min(enough) if enough else max(matches, key=lambda size: matches[size], default=0)
        if best and matches[best] >= matched + MIN_GAIN:
            advice.append(f"data.image_size {best} {'with it ' * bool(advice)}raises it to {matches[best]:.0%}")
    return ", ".join(advice)


def _matched(boxes: Boxes, image_size: int, scale: float, shapes: AnchorShapes) -> float:
    """Return the fraction of boxes that some anchor overlaps by `THRESHOLD`."""
    tensors = torch.from_numpy(boxes)
    centers = (tensors[:, 2:] + tensors[:, :2]) / 2
    best = torch.zeros(len(boxes))
    for level in shapes.levels:
        stride = 2**level
        # Of each anchor shape the nearest one overlaps most, so all boxes are moved to the first cell's anchors.
        cells = (centers / stride).floor().clamp(0, math.ceil(image_size / stride) - 1)
        anchors = level_anchors((1, 1), stride, scale, shapes.octaves, shapes.aspect_ratios)
        best = best.maximum(box_iou(tensors - stride * cells.repeat(1, 2), anchors).amax(dim=1))
    return float((best >= THRESHOLD).double().mean())
