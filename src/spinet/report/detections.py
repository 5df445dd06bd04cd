"""The panels of a detector: precision, thresholds, calibration, errors, confusions, sizes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spinet.analysis.calibration import calibration
from spinet.analysis.confusion import ImageErrors, confusion
from spinet.analysis.errors import Cost, costs, find_errors
from spinet.analysis.matching import SIZES, ClassMatches, match
from spinet.analysis.overlaps import ImageOverlaps, image_overlaps
from spinet.analysis.precision import PrecisionTable, precision_table, resamples
from spinet.analysis.records import Booleans, DetectionRecord, Floats, Integers
from spinet.analysis.thresholds import FEWEST, F1Curve, Operating, at, best, class_curve, pooled_curve, thresholds_of
from spinet.report.panels import Panel, Table, decimal, listed, with_interval


@dataclass(frozen=True)
class Findings:
    """All that is computed from a detector's record, once."""

    record: DetectionRecord

    @cached_property
    def matches(self) -> list[ClassMatches]:
        """Of each class, by masks if there are any."""
        return match(self.record)

    @cached_property
    def weights(self) -> Integers:
        """The bootstrap's images."""
        return resamples(len(self.record.images))

    @cached_property
    def table(self) -> PrecisionTable:
        """AP with intervals, by masks if there are any."""
        return precision_table(self.matches, self.weights)

    @cached_property
    def box_table(self) -> PrecisionTable:
        """AP of boxes."""
        if not self.record.has_masks:
            return self.table
        return precision_table(match(self.record, masks=False), self.weights)

    @cached_property
    def overlaps(self) -> list[ImageOverlaps]:
        """Of all images."""
        return list(image_overlaps(self.record))

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """Of each type of error."""
        return costs(self.record, find_errors(self.record, self.overlaps))

    @cached_property
    def pooled(self) -> F1Curve:
        """F1 of all classes with one threshold."""
        return pooled_curve(self.matches)

    @cached_property
    def best(self) -> Operating:
        """The one threshold of best F1 for all classes."""
        return best(self.pooled)

    @cached_property
    def thresholds(self) -> Floats:
        """Of each label, as `--score auto` takes them; 0.5 where nothing right is found."""
        return np.array(thresholds_of(self.matches) or [0.5] * len(self.record.class_names))

    @cached_property
    def confusion(self) -> tuple[Integers, list[ImageErrors]]:
        """Classes found for classes, and the errors of each image, at these thresholds."""
        return confusion(self.record, self.overlaps, self.thresholds)

    @cached_property
    def scored(self) -> tuple[Floats, Booleans]:
        """Scores of all detections that count, and whether each is right at an IoU of 0.5."""
        counted = [~of_class.ignored[0, 0] for of_class in self.matches]
        pairs = list(zip(self.matches, counted, strict=True))
        scores = [of_class.scores[rows] for of_class, rows in pairs]
        right = [of_class.right[0, 0][rows] for of_class, rows in pairs]
        return np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, dtype=bool), *right])

    @cached_property
    def calibration_error(self) -> float:
        """Expected calibration error."""
        return calibration(*self.scored).error

    @property
    def objects(self) -> list[int]:
        """Number of objects of each class."""
        return [int(of_class.objects[0].sum()) for of_class in self.matches]

    @property
    def kind(self) -> str:
        """What overlaps are measured of."""
        return "mask" if self.record.has_masks else "box"


def precision_panel(findings: Findings) -> Panel:
    """The table of AP by size and class."""
    record, table = findings.record, findings.table
    sizes = findings.matches[0].objects.shape[0] if findings.matches else len(SIZES)
    totals = [sum(int(each.objects[size].sum()) for each in findings.matches) for size in range(sizes)]
    overall = table.overall
    rows = [
        ["all", f"{totals[0]:,}", with_interval(overall["AP"]), with_interval(overall["AP50"]), *_point(findings.best)]
    ]
    if record.has_masks:
        box = findings.box_table.overall
        rows.append(["all, boxes", f"{totals[0]:,}", with_interval(box["AP"]), with_interval(box["AP50"]), *["-"] * 4])
    for name, size, count in zip(("APs", "APm", "APl"), ("small", "medium", "large"), totals[1:], strict=True):
        limits = {"small": "below 32²", "medium": "32² to 96²", "large": "above 96²"}[size]
        rows.append([f"{size} ({limits} px)", f"{count:,}", with_interval(overall[name]), *["-"] * 5])
    for label, name in enumerate(record.class_names):
        ap, ap50 = table.classes[label]
        curve, count = class_curve(findings.matches[label]), findings.objects[label]
        own = at(curve, float(findings.thresholds[label])) if count else Operating(*[float("nan")] * 4)
        rows.append([name, f"{count:,}", with_interval(ap), with_interval(ap50), *_point(own)])
    head = ("", "objects", "AP (95 % interval)", "AP50 (95 % interval)", "threshold", "F1", "precision", "recall")
    images = f"{len(record.images):,}"
    return Panel(
        f"COCO metrics of {'masks' if record.has_masks else 'boxes'} by size and class",
        f"AP is the mean over IoU thresholds from 0.5 to 0.95, AP50 that at 0.5; the interval holds 95 % of what "
        f"other samples of {images} val images would give (bootstrap over images), so smaller differences are chance. "
        "F1, precision and recall are those of the score threshold in the same row.",
        _precision_advice(findings),
        table=Table(head, rows),
        wide=True,
    )


def _point(point: Operating) -> list[str]:
    return [decimal(value, 2) for value in point]


def _precision_advice(findings: Findings) -> str:
    advice = []
    names, objects = findings.record.class_names, findings.objects
    few = [name for name, count in zip(names, objects, strict=True) if 0 < count < FEWEST]
    absent = [name for name, count in zip(names, objects, strict=True) if not count]
    if few:
        advice.append(
            f"{listed(few)} {'has' if len(few) == 1 else 'have'} fewer than {FEWEST} objects in val: the numbers are "
            "mostly chance; more labelled images of them would help both training and judging."
        )
    if absent:
        advice.append(
            f"{listed(absent)} {'has' if len(absent) == 1 else 'have'} no object in val and cannot be judged."
        )
    small, large = (findings.table.overall[name].value for name in ("APs", "APl"))
    small_objects = sum(int(each.objects[1].sum()) for each in findings.matches)
    if small < large / 2 and small_objects > 0.1 * sum(objects):
        advice.append(
            "Small objects are found far worse than large ones: a larger data.image_size, or tiles of the images, "
            "usually helps most."
        )
    return " ".join(advice)
