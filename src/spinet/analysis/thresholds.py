"""The score from which detections are worth showing: that of the best F1 on val."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinet.analysis.matching import SIZES, ClassMatches, match
from spinet.analysis.records import Booleans, DetectionRecord, Floats

# IoU from which a detection is right.
OVERLAP = 0.5
# A class of fewer objects has no threshold of its own: it would be that of chance.
FEWEST = 20


class Operating(NamedTuple):
    """A threshold and what it gives on the split that it was chosen on; all NaN where nothing right is found.

    Attributes:
        threshold: lowest score shown.
        f1: harmonic mean of precision and recall.
        precision: fraction of the shown detections that are right.
        recall: fraction of the objects that are found.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


NOTHING = Operating(*[float("nan")] * 4)


class F1Curve(NamedTuple):
    """F1 when only detections of at least each score are shown, by descending score."""

    scores: Floats
    f1: Floats
    precision: Floats
    recall: Floats


def f1_curve(scores: Floats, right: Booleans, objects: int) -> F1Curve:
    """Return F1 at each distinct score.

    Args:
        scores: of detections that count, in any order.
        right: whether each is right.
        objects: number of annotated objects.
    """
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(right[order])
    # Equal scores are shown together.
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, dtype=int)
    found, shown = found[last].astype(np.float64), last + 1.0
    f1 = 2 * found / (shown + objects)
    return F1Curve(scores[last], f1, found / shown, found / max(objects, 1))


def best(curve: F1Curve) -> Operating:
    """Return the operating point of best F1; its threshold is halfway to the next lower score."""
    if not len(curve.f1) or curve.f1.max() <= 0:
        return NOTHING
    at = int(curve.f1.argmax())
    low = curve.scores[at + 1] if at + 1 < len(curve.scores) else 0.0
    return Operating(float((curve.scores[at] + low) / 2), *(float(values[at]) for values in curve[1:]))


def at(curve: F1Curve, threshold: float) -> Operating:
    """Return the operating point of a threshold."""
    shown = int((curve.scores >= threshold).sum())
    if not shown:
        return Operating(threshold, 0.0, float("nan"), 0.0)
    return Operating(threshold, *(float(values[shown - 1]) for values in curve[1:]))


def class_curve(matches: ClassMatches) -> F1Curve:
    """Return the curve of one class at the first IoU threshold."""
    counted = ~matches.ignored[0, 0]
    return f1_curve(matches.scores[counted], matches.right[0, 0][counted], int(matches.objects[0].sum()))


def pooled_curve(matches: Sequence[ClassMatches]) -> F1Curve:
    """Return the curve of all classes together, with one threshold for all."""
    counted = [~of_class.ignored[0, 0] for of_class in matches]
    scores = [of_class.scores[rows] for of_class, rows in zip(matches, counted, strict=True)]
    right = [of_class.right[0, 0][rows] for of_class, rows in zip(matches, counted, strict=True)]
    objects = sum(int(of_class.objects[0].sum()) for of_class in matches)
    return f1_curve(np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *right]), objects)


def best_thresholds(record: DetectionRecord) -> tuple[float, ...]:
    """Return the threshold of each label, or nothing if no detection is right.

    All start with the one of best F1 over all classes; a class with enough objects takes its own where F1 over all
    rises. So they are never worse than one for all, and a class that is hardly found does not flood the images.
    """
    return thresholds_of(match(record, thresholds=np.array([OVERLAP]), sizes=[SIZES["all"]]))


def thresholds_of(matches: Sequence[ClassMatches]) -> tuple[float, ...]:
    """Return what `best_thresholds` does, from matches whose first IoU threshold is `OVERLAP`."""
    overall = best(pooled_curve(matches)).threshold
    if not np.isfinite(overall):
        return ()
    objects = [int(of_class.objects[0].sum()) for of_class in matches]
    thresholds = [overall] * len(matches)
    found, shown = np.sum([_counts(of_class, overall) for of_class in matches], axis=0).tolist()
    for label in sorted(range(len(matches)), key=lambda label: -objects[label]):
        own = best(class_curve(matches[label])).threshold
        if objects[label] < FEWEST or not np.isfinite(own):
            continue
        more_found, more_shown = _counts(matches[label], own) - _counts(matches[label], overall)
        then = (found + more_found) / (shown + more_shown + sum(objects))
        if then > found / (shown + sum(objects)):
            thresholds[label], found, shown = own, found + more_found, shown + more_shown
    return tuple(thresholds)


def _counts(matches: ClassMatches, threshold: float) -> NDArray[np.int64]:
    """Return how many objects of a class are found, and how many detections are shown."""
    rows = ~matches.ignored[0, 0] & (matches.scores >= threshold)
    return np.array([int(matches.right[0, 0][rows].sum()), int(rows.sum())])
