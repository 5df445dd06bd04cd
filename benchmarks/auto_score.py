"""What `--score auto` gains on images that its thresholds were not chosen on.

The val images of a run are divided into halves at random, many times: thresholds are chosen on one half as a training
chooses them on all, and F1 over all classes is measured on both, beside that of fixed thresholds. Nothing is trained.

usage: python benchmarks/auto_score.py RUN... [--divisions 200]
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from spinet.analysis.matching import SIZES, ClassMatches, match
from spinet.analysis.records import Booleans, DetectionRecord, load_record
from spinet.analysis.thresholds import OVERLAP, thresholds_of
from spinet.engine.record import RECORD
from spinet.errors import SpinetError

FIXED = (0.3, 0.5)


def matches_of(record: DetectionRecord, images: Booleans) -> list[ClassMatches]:
    """Match the detections of some images."""
    truth, found = (part[images[part.owners]] for part in (record.truth, record.found))
    return match(replace(record, truth=truth, found=found), thresholds=np.array([OVERLAP]), sizes=[SIZES["all"]])


def f1(matches: list[ClassMatches], thresholds: tuple[float, ...]) -> float:
    """Return F1 over all classes when each class has its threshold."""
    right, shown, objects = 0, 0, 0
    for of_class, threshold in zip(matches, thresholds, strict=True):
        rows = ~of_class.ignored[0, 0] & (of_class.scores >= threshold)
        right += int(of_class.right[0, 0][rows].sum())
        shown += int(rows.sum())
        objects += int(of_class.objects[0].sum())
    return 2 * right / max(shown + objects, 1)


def row(run: Path, divisions: int) -> str:
    """Return the line of a run: mean F1 over the divisions, and the middle 95 % of the gains over 0.5."""
    record = load_record(run / RECORD)
    if not isinstance(record, DetectionRecord):
        raise SpinetError(f"{run} is a classifier, which has no score threshold")
    count, classes = len(record.images), len(record.class_names)
    random = np.random.default_rng(0)
    measured = []
    for _ in range(divisions):
        chosen = np.zeros(count, dtype=bool)
        chosen[random.permutation(count)[: count // 2]] = True
        here, there = matches_of(record, chosen), matches_of(record, ~chosen)
        auto = thresholds_of(here) or (0.5,) * classes
        measured.append([f1(here, auto), f1(there, auto), *(f1(there, (score,) * classes) for score in FIXED)])
    values = np.array(measured)
    low, high = np.quantile(values[:, 1] - values[:, -1], [0.025, 0.975])
    everything = matches_of(record, np.ones(count, dtype=bool))
    whole = [f1(everything, thresholds_of(everything) or (0.5,) * classes), f1(everything, (0.5,) * classes)]
    cells = [run.resolve().name, str(count), *(f"{value:.3f}" for value in [*whole, *values.mean(axis=0)])]
    return "| " + " | ".join([*cells, f"{low:+.3f} to {high:+.3f}"]) + " |"


def main(runs: Annotated[tuple[Path, ...], tyro.conf.Positional], divisions: int = 200) -> None:
    """Print a Markdown table.

    Args:
        runs: run folders of detectors.
        divisions: of the val images into halves.
    """
    fixed = [f"at {score}, other half" for score in FIXED]
    head = ["run", "val images", "auto, all val", "at 0.5, all val", "auto, same half", "auto, other half", *fixed]
    print("| " + " | ".join([*head, "gain over 0.5, other half"]) + " |\n" + "|---" * (len(head) + 1) + "|")
    for run in runs:
        print(row(run, divisions), flush=True)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except SpinetError as error:
        sys.exit(str(error))
