"""Sizes and shapes of annotated objects, beside those of the anchors."""

import math

import numpy as np

from spinet.analysis.records import DetectionRecord, Floats
from spinet.doctor.anchors import ENOUGH, DetectorSettings, size_table
from spinet.engine.task import detector_settings
from spinet.report.bars import histogram
from spinet.report.panels import Panel
from spinet.report.training_run import TrainingRun

RATIOS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


def size_panels(run: TrainingRun) -> list[Panel]:
    """Return the panels of sizes and of shapes of the val objects; none without objects."""
    record = run.record
    assert isinstance(record, DetectionRecord)
    rows = ~record.truth.crowd & (record.truth.boxes[:, 2:] > 0).all(axis=1)
    if not rows.any():
        return []
    boxes, sides = record.truth.boxes[rows], record.sizes[record.truth.owners[rows]].max(axis=1)
    settings = detector_settings(run.config)
    return [_sizes(boxes, sides, settings), _shapes(boxes, settings)]


def _sizes(boxes: Floats, sides: Floats, settings: DetectorSettings) -> Panel:
    extent = np.sqrt(boxes[:, 2:].prod(axis=1)) * settings.image_size / sides
    shapes, scale = settings.shapes, settings.anchor_scale
    anchors = [
        scale * 2 ** (level + octave / shapes.octaves) for level in shapes.levels for octave in range(shapes.octaves)
    ]
    low, high = min(float(extent.min()), anchors[0]) / 1.2, max(float(extent.max()), anchors[-1]) * 1.2
    edges = np.geomspace(low, high, 33)
    ticks = [(2.0**power, f"{2**power}") for power in range(1, 14) if low <= 2.0**power <= high]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32)
    table = size_table(corners, sides.astype(np.int64), settings.image_size, scale, (), shapes)
    chart = histogram(
        "object sizes",
        edges.tolist(),
        [("objects of val", "blue", np.histogram(extent, edges)[0].tolist())],
        (f"square root of the area at {settings.image_size} px", "objects"),
        log=True,
        ticks=ticks,
        marks=[(side, f"anchor of {side:.0f} px") for side in anchors],
    )
    matched = table.matched[scale]
    advice = ""
    if matched < ENOUGH:
        advice = (
            f"Only {matched:.0%} of the objects overlap some anchor by half: spinet doctor with this recipe says which "
            "model.anchor_scale or data.image_size reaches more."
        )
    return Panel(
        "Sizes of objects and anchors",
        f"Dashed lines are the sizes of the anchors ({anchors[0]:.0f} to {anchors[-1]:.0f} px); objects left of the "
        f"first ({table.below:.0%}) or right of the last ({table.above:.0%}) are hard to find.",
        advice,
        (chart,),
    )


def _shapes(boxes: Floats, settings: DetectorSettings) -> Panel:
    ratios = (boxes[:, 2] / boxes[:, 3]).clip(RATIOS[0], RATIOS[-1])
    edges = np.geomspace(RATIOS[0], RATIOS[-1], 25)
    ticks = [(ratio, f"{ratio:g}:1" if ratio >= 1 else f"1:{1 / ratio:g}") for ratio in RATIOS]
    wanted = settings.shapes.aspect_ratios
    chart = histogram(
        "aspect ratios",
        edges.tolist(),
        [("objects of val", "blue", np.histogram(ratios, edges)[0].tolist())],
        ("width : height", "objects"),
        log=True,
        ticks=ticks,
        marks=[(ratio, f"anchors of {ratio:g}:1") for ratio in wanted if RATIOS[0] <= ratio <= RATIOS[-1]],
    )
    far = np.abs(np.log2(ratios)[:, None] - np.log2(np.array(wanted))[None]).min(axis=1) > math.log2(2)
    advice = ""
    if far.mean() > 1 - ENOUGH:
        advice = (
            f"{far.mean():.0%} of the objects are more than twice as long or as narrow as any anchor: add their ratios "
            "to model.aspect_ratios."
        )
    return Panel(
        "Shapes of objects and anchors",
        "Dashed lines are the aspect ratios of the anchors; objects far from all of them are located less well, and "
        "those beyond 8:1 are counted at the edge.",
        advice,
        (chart,),
    )
