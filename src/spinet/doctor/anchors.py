"""The sizes of objects against the anchors of a detector: which level they belong to, and whether an anchor fits.

The anchors are those of `spinet.models.anchors`. Whether one fits depends on where the cells lie: of each shape the
nearest anchor is taken, which is the one that overlaps most. What is measured is an overlap of half or more, from which
on RetinaNet's anchors learn an object. Region proposals of the R-CNNs learn from 0.7 on and from each object's best
anchor, however little it overlaps: to them, half is a measure of how far proposals have to move, and no limit.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinet.data.coco import CocoDataset
from spinet.data.findings import Finding

SCALES = (1.0, 2.0, 3.0, 4.0)
THRESHOLD = 0.5
# A large data set is judged by this many of its objects.
MOST_OBJECTS = 20_000
# Less than this share of matched objects is worth a word, and so is a setting that matches so many more.
ENOUGH, FEW, WORTH_IT = 0.9, 0.75, 0.05
SIZES = (256, 320, 384, 512, 640, 768, 896, 1024, 1280, 1536)

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class AnchorShapes:
    """The anchors of a detector, but for their scale; as they are, those of the RetinaNet in the paper.

    Attributes:
        octaves: sizes a level, evenly between it and the next level's.
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
class SizeTable:
    """Shares of the objects, 0 to 1, with images fitted into a square of `image_size` pixels.

    Attributes:
        image_size: pixels.
        anchor_scale: side of the smallest anchor in strides.
        shapes: the other settings of the anchors.
        below: smaller than the smallest anchor (by the root of the area).
        levels: share of each level's range of sizes, from its smallest anchor to the next level's; the last one ends
            with the largest anchor.
        above: larger than the largest anchor.
        matched: overlapping an anchor by half or more (intersection over union), for each anchor scale.
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
    """Measure objects against anchors.

    Args:
        boxes: `(A, 4)`, XYXY in pixels of their images, at least one.
        sides: `(A,)`, the long side of each box's image.
        image_size: what the long side becomes.
        anchor_scale: of the levels' ranges.
        scales: anchor scales to compare with, besides `anchor_scale`.
        shapes: the other settings of the anchors.
    """
    boxes, sides = _thinned(boxes, sides)
    scaled = boxes * (image_size / sides[:, None]).astype(np.float32)
    extent = np.sqrt((scaled[:, 2:] - scaled[:, :2]).prod(axis=1))
    # A backbone may lack a level in between: the next finer one reaches further.
    place = np.searchsorted(anchor_scale * 2.0 ** np.array(shapes.levels), extent, side="right") - 1
    above = extent > shapes.largest(anchor_scale)
    return SizeTable(
        image_size,
        anchor_scale,
        shapes,
        below=float((place < 0).mean()),
        levels={level: float(((place == at) & ~above).mean()) for at, level in enumerate(shapes.levels)},
        above=float(above.mean()),
        matched={scale: _matched(scaled, image_size, scale, shapes) for scale in sorted({anchor_scale, *scales})},
    )


def long_sides(dataset: CocoDataset) -> NDArray[np.int64]:
    """Return the long side of each sample's image."""
    return np.array([max(sample.width, sample.height) for sample in dataset.samples])


def anchor_findings(
    dataset: CocoDataset,
    boxes: Boxes,
    images: NDArray[np.int64],
    image_size: int,
    anchor_scale: float,
    shapes: AnchorShapes = RETINANET,
) -> Iterator[Finding]:
    """Say whether anchors fit, and which settings fit better."""
    sides = long_sides(dataset)[images]
    table = size_table(boxes, sides, image_size, anchor_scale, shapes=shapes)
    matched = table.matched[anchor_scale]
    if matched >= ENOUGH:
        return
    smallest = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / sides.astype(np.float64) ** 2
    path = dataset.samples[images[smallest.argmin()]].path
    text = (
        f"at {image_size} pixels and anchor scale {anchor_scale:g} only {matched:.0%} of the objects overlap an anchor"
        f" by half, {table.below:.0%} are smaller than the smallest anchor of"
        f" {2 ** shapes.levels[0] * anchor_scale:g} pixels and"
        f" {table.above:.0%} larger than the largest ({path.parent.name}/{path.name} has the smallest)"
    )
    advice = _advice(boxes, sides, table) or "no other anchor scale or image size has clearly more that do"
    yield Finding("warning" if matched < FEW else "hint", "anchors", f"{text}; {advice}")


def _advice(boxes: Boxes, sides: NDArray[np.int64], table: SizeTable) -> str:
    """Return settings that fit clearly more objects: the anchor scale first, because it costs nothing."""
    scale = max(table.matched, key=lambda key: (round(table.matched[key], 2), key))
    if table.matched[scale] < table.matched[table.anchor_scale] + WORTH_IT:
        scale = table.anchor_scale
    matched = table.matched[scale]
    advice = [f"--model.anchor-scale {scale:g} makes it {matched:.0%}"] if scale != table.anchor_scale else []
    if matched < ENOUGH:
        # Photos blown up to more than twice their size show nothing new.
        larger = [size for size in SIZES if table.image_size < size <= 2 * np.median(sides)]
        shares = {size: size_table(boxes, sides, size, scale, (), table.shapes).matched[scale] for size in larger}
        enough = [size for size, share in shares.items() if share >= ENOUGH]
        best = min(enough) if enough else max(shares, key=lambda size: shares[size], default=0)
        if best and shares[best] >= matched + WORTH_IT:
            advice.append(f"--data.image-size {best} {'with it ' * bool(advice)}makes it {shares[best]:.0%}")
    return ", ".join(advice)


def _thinned(boxes: Boxes, sides: NDArray[np.int64]) -> tuple[Boxes, NDArray[np.int64]]:
    step = math.ceil(len(boxes) / MOST_OBJECTS)
    return boxes[::step], sides[::step]


def _matched(boxes: Boxes, image_size: int, scale: float, shapes: AnchorShapes) -> float:
    """Return the share of boxes that some anchor overlaps by `THRESHOLD`."""
    best = np.zeros(len(boxes), dtype=np.float32)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2
    for level in shapes.levels:
        stride = 2**level
        cells = math.ceil(image_size / stride)
        nearest = (np.clip(np.floor(centre / stride), 0, cells - 1) + 0.5) * stride
        for octave in range(shapes.octaves):
            side = scale * 2 ** (level + octave / shapes.octaves)
            for ratio in shapes.aspect_ratios:
                half = np.array([side * math.sqrt(ratio), side / math.sqrt(ratio)], dtype=np.float32) / 2
                overlap = np.minimum(boxes[:, 2:], nearest + half) - np.maximum(boxes[:, :2], nearest - half)
                shared = overlap.clip(min=0).prod(axis=1)
                best = np.maximum(best, shared / (area + side * side - shared))
    return float((best >= THRESHOLD).mean())
