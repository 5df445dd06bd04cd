"""What a model reaches on val, with 95 % intervals, from the record of a run."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spinet.analysis.precision import Interval
from spinet.analysis.records import ClassRecord, DetectionRecord
from spinet.analysis.thresholds import NOTHING, Operating
from spinet.report.classes import ClassFindings
from spinet.report.detections import Findings
from spinet.report.training_run import TrainingRun

NAMES = {
    "AP": "AP of boxes (IoU 0.50 to 0.95)",
    "AP50": "AP50 of boxes",
    "AP75": "AP75 of boxes",
    "APs": "AP of small boxes (below 32² px)",
    "APm": "AP of medium boxes (32² to 96² px)",
    "APl": "AP of large boxes (above 96² px)",
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
}


@dataclass(frozen=True)
class ClassScore:
    """One class: its objects (or images, for a classifier) in val, and AP and AP50, or top-1 accuracy."""

    name: str
    count: int
    values: dict[str, Interval]


@dataclass(frozen=True)
class Measured:
    """Metrics of the best weights on val.

    Attributes:
        images: number of val images.
        step: of the weights.
        overall: by the names of `spinet evaluate`: AP, AP50 ... mask/AP ..., or top1, top5.
        classes: in the order of the labels.
        point: detectors: the one score threshold of best F1, and precision and recall there.
        thresholds: detectors: from which score each label is shown, as `--score auto`.
    """

    images: int
    step: int
    overall: dict[str, Interval]
    classes: tuple[ClassScore, ...]
    point: Operating = NOTHING
    thresholds: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """What is counted."""
        return "objects" if "AP" in self.overall else "images"

    @cached_property
    def shown(self) -> list[tuple[str, Interval]]:
        """The metrics that were measurable, by a name for readers."""
        found = [(full_name(name), value) for name, value in self.overall.items()]
        return [(name, value) for name, value in found if math.isfinite(value.value)]

    def to_json(self, about: dict[str, Any]) -> str:
        """Return all numbers as JSON; those that could not be measured are null."""
        tree = {
            **about,
            "split": "val",
            "images": self.images,
            "step": self.step,
            "interval": "95 %, bootstrap over images",
            "metrics": {name: _plain(value) for name, value in self.overall.items()},
            "classes": [
                {"name": each.name, self.unit: each.count, **{name: _plain(v) for name, v in each.values.items()}}
                for each in self.classes
            ],
        }
        if math.isfinite(self.point.threshold):
            tree["best_f1"] = {name: round(value, 4) for name, value in self.point._asdict().items()}
        return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def measure(run: TrainingRun) -> Measured:
    """Return the metrics of a run; its record needs neither the dataset nor the network."""
    if isinstance(run.record, ClassRecord):
        return _classifier(run.record)
    return _detector(run.record)


def full_name(name: str) -> str:
    """Return the name of a metric for readers.

    >>> full_name("mask/AP50")
    'AP50 of masks'
    """
    if name.startswith("mask/"):
        return NAMES[name.removeprefix("mask/")].replace("boxes", "masks")
    return NAMES[name]


def _detector(record: DetectionRecord) -> Measured:
    findings = Findings(record)
    overall = dict(findings.box_table.overall)
    if record.has_masks:
        overall |= {f"mask/{name}": value for name, value in findings.table.overall.items()}
    kind = "mask/" if record.has_masks else ""
    rows = zip(record.class_names, findings.objects, findings.table.classes, strict=True)
    classes = tuple(ClassScore(name, count, {f"{kind}AP": ap, f"{kind}AP50": ap50}) for name, count, (ap, ap50) in rows)
    thresholds = tuple(findings.thresholds.tolist())
    return Measured(len(record.images), record.step, overall, classes, findings.best, thresholds)


def _classifier(record: ClassRecord) -> Measured:
    findings = ClassFindings(record)
    classes = tuple(
        ClassScore(name, int((record.labels == label).sum()), {"top1": findings.by_class[label]})
        for label, name in enumerate(record.class_names)
    )
    return Measured(len(record.images), record.step, {"top1": findings.top1, "top5": findings.top5}, classes)


def _plain(interval: Interval) -> dict[str, float | None]:
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in interval._asdict().items()}
