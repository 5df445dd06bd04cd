"""The panels of a classifier: accuracy by class, confusions, confidence."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spinet.analysis.accuracy import accuracy, class_accuracies, confident_mistakes, is_right
from spinet.analysis.calibration import calibration
from spinet.analysis.confusion import class_confusion, confused_pairs
from spinet.analysis.precision import Interval, resamples
from spinet.analysis.records import ClassRecord, Integers
from spinet.report.bars import Bar, bars, histogram, matrix, most_confused
from spinet.report.charts import Series, lines
from spinet.report.detection_charts import calibration_panel
from spinet.report.panels import Panel, Table, decimal, listed, with_interval
from spinet.report.pictures import WORST

# Classes of fewer images are judged by chance.
FEWEST = 20
# Classes with bars; of more, the worst.
MOST_BARS, MOST_PAIRS = 20, 12


@dataclass(frozen=True)
class ClassFindings:
    """All that is computed from a classifier's record, once."""

    record: ClassRecord

    @cached_property
    def weights(self) -> Integers:
        """The bootstrap's images."""
        return resamples(len(self.record.images))

    @cached_property
    def top1(self) -> Interval:
        """Accuracy of the most probable class."""
        return accuracy(is_right(self.record), self.weights)[0]

    @cached_property
    def top5(self) -> Interval:
        """How often the true class is among the five most probable."""
        return accuracy(is_right(self.record, top=5), self.weights)[0]

    @cached_property
    def by_class(self) -> list[Interval]:
        """Accuracy of each true class."""
        return class_accuracies(self.record, self.weights)

    @cached_property
    def mistakes(self) -> list[int]:
        """The most confident mistakes."""
        return confident_mistakes(self.record, WORST)

    @cached_property
    def calibration_error(self) -> float:
        """Expected calibration error."""
        return calibration(self.record.scores[:, 0], is_right(self.record)).error


def class_panels(findings: ClassFindings) -> list[Panel]:
    """Return the panels."""
    record = findings.record
    return [
        _table(findings),
        _bars(findings),
        _confusion(findings),
        _pairs(findings),
        _scores(findings),
        _coverage(findings),
        calibration_panel(record.scores[:, 0], is_right(record), "images"),
    ]


def _table(findings: ClassFindings) -> Panel:
    record = findings.record
    first = record.predicted[:, 0]
    rows = [["all", f"{len(record.images):,}", with_interval(findings.top1), with_interval(findings.top5), "-"]]
    for label, name in enumerate(record.class_names):
        count, shown = int((record.labels == label).sum()), first == label
        precision = float((record.labels[shown] == label).mean()) if shown.any() else float("nan")
        rows.append([name, f"{count:,}", with_interval(findings.by_class[label]), "-", decimal(precision)])
    head = ("", "images", "top-1 (95 % interval)", "top-5 (95 % interval)", "precision")
    few = [name for label, name in enumerate(record.class_names) if 0 < (record.labels == label).sum() < FEWEST]
    advice = f"{listed(few)}: fewer than {FEWEST} val images, so these numbers are mostly chance." if few else ""
    return Panel(
        "Accuracy by class",
        "Top-1 is the fraction of the images of a class that are recognized, precision the fraction of the images "
        "predicted as a class that are of it; the interval holds 95 % of what other samples of as many images would "
        "give (bootstrap), so smaller differences are chance.",
        advice,
        table=Table(head, rows),
        wide=True,
    )


def _bars(findings: ClassFindings) -> Panel:
    names, values = findings.record.class_names, findings.by_class
    known = [label for label, value in enumerate(values) if np.isfinite(value.value)]
    order = sorted(known, key=lambda label: values[label].value)[:MOST_BARS]
    rows = [
        Bar(names[label], values[label].value, decimal(values[label].value, 2), *values[label][1:]) for label in order
    ]
    return Panel(
        "The least recognized classes first",
        "Each bar is the top-1 accuracy of a class, the thin line its 95 % interval: classes whose lines overlap do "
        "not differ for certain.",
        charts=(bars("accuracy by class", rows, 1.0),),
    )


def _confusion(findings: ClassFindings) -> Panel:
    counts = class_confusion(findings.record)
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    names, small = most_confused(counts, findings.record.class_names)
    columns = names if small.shape[1] == len(names) else [*names, "other classes"]
    return Panel(
        "Confusion matrix",
        "Rows are true classes, columns predicted ones; green is right, and the stronger an orange cell, the more of "
        "its row went there.",
        charts=(matrix("confusion matrix", names, columns, small),),
        wide=len(names) > 8,
    )


def _pairs(findings: ClassFindings) -> Panel:
    names = findings.record.class_names
    pairs = confused_pairs(np.pad(class_confusion(findings.record)[:, :-1], ((0, 0), (0, 1))), MOST_PAIRS)
    rows = [[names[pair.truth], names[pair.found], f"{pair.times:,}", f"{pair.fraction:.0%}"] for pair in pairs]
    advice = ""
    if pairs:
        advice = (
            f"Look at images of {names[pairs[0].truth]!r} and {names[pairs[0].found]!r} side by side: if people "
            "hesitate too, one class for both may serve; if not, more images of both help."
        )
    return Panel(
        "Most confused pairs",
        "Each row says how many images of a class were predicted as another, also as a fraction of the class.",
        advice,
        table=Table(("is", "predicted as", "images", "of the class"), rows),
    )


def _scores(findings: ClassFindings) -> Panel:
    record, edges = findings.record, np.linspace(0, 1, 21)
    right, scores = is_right(record), record.scores[:, 0]
    counts = [np.histogram(scores[rows], edges)[0].tolist() for rows in (right, ~right)]
    stacks = [("right", "green", counts[0]), ("wrong", "orange", counts[1])]
    return Panel(
        "Scores of right and wrong predictions",
        "The further right green lies and the further left orange, the better a low score warns of a mistake.",
        charts=(histogram("scores", edges.tolist(), stacks, ("score of the predicted class", "images")),),
    )


def _coverage(findings: ClassFindings) -> Panel:
    record = findings.record
    order = np.argsort(-record.scores[:, 0], kind="stable")
    right = np.cumsum(is_right(record)[order]) / np.arange(1, len(order) + 1)
    covered = np.arange(1, len(order) + 1) / max(len(order), 1)
    start = min(len(order) - 1, 9)
    chart = lines(
        "accuracy of the most certain",
        [Series("", covered[start:].tolist(), right[start:].tolist(), "blue")],
        ("fraction of the images answered", "top-1 of these"),
        x=(0, 1),
        y=(0, 1.02),
    )
    half = decimal(float(right[max(len(right) // 2 - 1, 0)])) if len(right) else "-"
    return Panel(
        "If the least certain are left to people",
        f"From left to right less certain predictions are accepted: on the more certain half of the images top-1 is "
        f"{half}.",
        charts=(chart,),
    )
