"""Types of errors and the AP50 that each costs, as in TIDE (Bolya et al., arXiv 2008.08115, section 3).

A wrong detection has one type; a missed object is one that no correction of a detection would find. What a type costs
is how much AP50 would rise if that type alone were corrected: class or box set right (of several corrections of one
object, that of the highest score; the others are removed), the rest removed, missed objects not counted.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from spinet.analysis.matching import MOST
from spinet.analysis.overlaps import ImageOverlaps
from spinet.analysis.precision import mean, precision_at
from spinet.analysis.records import Booleans, DetectionRecord, Floats, Integers

FOREGROUND, BACKGROUND = 0.5, 0.1
TYPES = ("class", "location", "both", "duplicate", "background")
CLASS, LOCATION, BOTH, DUPLICATE, NOWHERE = range(len(TYPES))
# What else a detection may be.
RIGHT, IGNORED = -1, -2


class Errors(NamedTuple):
    """What each detection is, and which objects are missed.

    Attributes:
        kinds: `(D,)`, an index into `TYPES`, `RIGHT` or `IGNORED` (in a crowd, or beyond 100 in an image).
        objects: `(D,)`, the object that a detection is, or would be without its error; -1 for none.
        missed: `(G,)`, objects that no detection finds, not even one of wrong class or location.
        found: `(G,)`, objects that a detection finds.
    """

    kinds: Integers
    objects: Integers
    missed: Booleans
    found: Booleans


class Cost(NamedTuple):
    """Number of errors of a type, and the AP50 gained without them."""

    times: int
    ap: float


def find_errors(record: DetectionRecord, overlaps: Iterable[ImageOverlaps]) -> Errors:
    """Return the type of each detection at an IoU of 0.5."""
    errors = Errors(
        np.full(len(record.found), IGNORED),
        np.full(len(record.found), -1),
        np.zeros(len(record.truth), dtype=bool),
        np.zeros(len(record.truth), dtype=bool),
    )
    for image in overlaps:
        _one_image(record, image, errors)
    return errors


def _one_image(record: DetectionRecord, image: ImageOverlaps, errors: Errors) -> None:
    found, truth = record.found[image.found], record.truth[image.truth]
    order = np.argsort(-found.scores, kind="stable")[:MOST]
    columns = np.flatnonzero(~truth.crowd)
    iou, same = image.iou[:, columns], found.labels[:, None] == truth.labels[None, columns]
    owner = _claims(iou * same, order)
    taken, targeted = (np.zeros(len(columns), dtype=bool) for _ in range(2))
    taken[owner[owner >= 0]] = True
    in_crowd = _in_crowd(image.iou[:, truth.crowd], found.labels[:, None] == truth.labels[None, truth.crowd])
    for row in order.tolist():
        kind, column = (RIGHT, int(owner[row])) if owner[row] >= 0 else _kind(iou[row], same[row], taken)
        if kind != RIGHT and in_crowd[row]:
            continue
        errors.kinds[image.found.start + row] = kind
        if column >= 0:
            errors.objects[image.found.start + row] = image.truth.start + columns[column]
        if kind in (CLASS, LOCATION):
            targeted[column] = True
    errors.found[image.truth.start + columns] = taken
    errors.missed[image.truth.start + columns] = ~taken & ~targeted


def _claims(iou: Floats, order: Integers) -> Integers:
    """Return the object that each detection takes, in turn by score, -1 for none."""
    free, owner = iou.copy(), np.full(len(iou), -1)
    for row in order.tolist() if iou.shape[1] else ():
        best = int(free[row].argmax())
        if free[row, best] >= FOREGROUND:
            owner[row] = best
            free[:, best] = 0
    return owner


def _in_crowd(iou: Floats, same: Booleans) -> Booleans:
    return np.asarray(((iou > FOREGROUND) & same).any(axis=1))


def _kind(iou: Floats, same: Booleans, taken: Booleans) -> tuple[int, int]:
    """Return the type of a wrong detection, and the object it would be, in the order of TIDE's own code."""
    if not len(iou):
        return NOWHERE, -1
    own, others = iou * same, iou * ~same
    if BACKGROUND <= own.max() <= FOREGROUND:
        return LOCATION, int(own.argmax())
    if others.max() >= FOREGROUND:
        return CLASS, int(others.argmax())
    if (own * taken).max() >= FOREGROUND:
        return DUPLICATE, int((own * taken).argmax())
    return (NOWHERE, -1) if iou.max() <= BACKGROUND else (BOTH, -1)


def costs(record: DetectionRecord, errors: Errors) -> dict[str, Cost]:
    """Return the cost of each type, and of "missed" objects."""
    counted: Booleans = errors.kinds != IGNORED
    right: Booleans = errors.kinds == RIGHT
    labels = record.found.labels
    objects = _per_class(record, ~record.truth.crowd)
    base = _ap50(record, counted, right, labels, objects)
    fixable = _fixable(record, errors)
    answer: dict[str, Cost] = {}
    for kind, name in enumerate(TYPES):
        wrong: Booleans = errors.kinds == kind
        fixed = wrong & fixable
        truth = record.truth.labels[np.where(fixed, errors.objects, 0)] if len(record.truth) else labels
        ap = _ap50(record, counted & ~(wrong & ~fixed), right | fixed, np.where(fixed, truth, labels), objects)
        answer[name] = Cost(int(wrong.sum()), _gain(ap, base))
    left = objects - _per_class(record, errors.missed)
    ap = _ap50(record, counted, right, labels, left, objects > 0)
    answer["missed"] = Cost(int(errors.missed.sum()), _gain(ap, base))
    return answer


def _gain(ap: float, base: float) -> float:
    """Return what a correction gains; where all objects are missed nothing is left to find, so nothing is wrong."""
    if np.isnan(base):  # there is no object
        return 0.0
    return max((1.0 if np.isnan(ap) else ap) - base, 0.0)


def _fixable(record: DetectionRecord, errors: Errors) -> Booleans:
    """Return which detections of wrong class or location are the best for an object that none finds."""
    rows = np.flatnonzero(np.isin(errors.kinds, (CLASS, LOCATION)))
    rows = rows[~errors.found[errors.objects[rows]]]
    rows = rows[np.argsort(-record.found.scores[rows], kind="stable")]
    _, first = np.unique(errors.objects[rows], return_index=True)
    fixable = np.zeros(len(record.found), dtype=bool)
    fixable[rows[first]] = True
    return fixable


def _per_class(record: DetectionRecord, chosen: Booleans) -> Integers:
    return np.bincount(record.truth.labels[chosen], minlength=len(record.class_names))


def _ap50(
    record: DetectionRecord,
    counted: Booleans,
    right: Booleans,
    labels: Integers,
    objects: Integers,
    present: Booleans | None = None,
) -> float:
    """Return the mean over classes that have objects; one without objects left has an AP of 0 if it has detections."""
    values = np.full(len(objects), np.nan)
    for label in np.flatnonzero(objects > 0 if present is None else present).tolist():
        rows = np.flatnonzero(counted & (labels == label))
        rows = rows[np.argsort(-record.found.scores[rows], kind="stable")]
        if objects[label]:
            values[label] = precision_at(right[rows], int(objects[label]))
        elif len(rows):
            values[label] = 0.0
    return float(mean(values, (0,)))
