"""What a training came to, in a few lines at its end."""

import math

import numpy as np

from spinet.analysis.records import DetectionRecord
from spinet.report.curves import more_training, shown_metrics
from spinet.report.panels import Table, decimal
from spinet.report.training_run import BEST, TrainingRun

# Classes of the table, and the score below which a model is of no use yet.
LISTED, LITTLE = 20, 0.05


def best_line(run: TrainingRun) -> str:
    """Return where the best weights are, and how good."""
    shown = "  ".join(f"{name} {decimal(run.notes.get(name, math.nan))}" for name in shown_metrics(run))
    return f"best weights: {run.folder / BEST}, of step {int(run.notes.get('step', 0)):,}: {shown}"


def class_table(run: TrainingRun) -> Table | None:
    """Return val objects (images of a classifier) and score of each class, the most frequent first; None for one."""
    record = run.record
    if len(record.class_names) < 2:
        return None
    score = shown_metrics(run)[0]
    is_boxes = isinstance(record, DetectionRecord)
    labels = record.truth.labels[~record.truth.crowd] if isinstance(record, DetectionRecord) else record.labels
    counts = np.bincount(labels, minlength=len(record.class_names)).tolist()
    order = sorted(range(len(counts)), key=lambda label: -counts[label])[:LISTED]
    named = [(record.class_names[label], counts[label]) for label in order]
    rows = [[name, f"{count:,}", decimal(run.notes.get(f"{score}/{name}", math.nan))] for name, count in named]
    rows += [[f"{len(counts) - LISTED} more", "", ""]] if len(counts) > LISTED else []
    return Table(("class", "val objects" if is_boxes else "val images", score), rows)


def judgement(run: TrainingRun) -> str:
    """Return what to do next where a rule says so; otherwise an empty string."""
    score = shown_metrics(run)[0]
    value = run.notes.get(score, math.nan)
    if advice := more_training(run, score):
        return advice
    if run.record.kind != "classifier" and not value >= LITTLE:
        return (
            f"little was learned ({score} {decimal(value)}): train longer, start from weights of similar images, or "
            "look for errors in the annotations first."
        )
    return ""
