"""Checks of the annotations alone, without opening images; seconds for a dataset of COCO's size."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spinet.data.coco import CocoDataset, unknown_classes
from spinet.data.objects import CLIPPED, FALSE_AREA, NO_AREA, NO_MASK, NO_PIXEL, OUTSIDE, SPLINTER, SYSTEMATIC
from spinet.doctor.anchors import DetectorSettings, anchor_findings
from spinet.errors import quoted
from spinet.formats.findings import Finding, Severity, of, some, such_as

# Fewest objects of a class, the severity of fewer, and advice.
RARE: dict[str, tuple[int, Severity, str]] = {
    "train": (20, "warning", "collect more of them"),
    "val": (10, "hint", "their AP will be noisy"),
}
MORE_IMAGES = {"train": "collect more of them", "val": "their accuracy will be noisy"}
UNEVEN, VERY_UNEVEN = 10, 100
ADVICE = {
    NO_AREA: "give them a width and a height, or delete them",
    OUTSIDE: "delete them, or fix the image size",
    CLIPPED: "fix them if the edges are far outside",
    FALSE_AREA: "those of the masks, or else of the boxes, are used",
    NO_MASK: "redraw them, or delete these objects",
    NO_PIXEL: "redraw them, or delete these objects",
    SPLINTER: "delete these polygons",
}
BOX_ADVICE = {
    "COCO": "are they x, y, width, height in pixels of these images?",
    "YOLO": "are they center x, center y, width, height, divided by the size of the image?",
    "Pascal VOC": "are they xmin, ymin, xmax, ymax in pixels of these images?",
}
SYSTEMATIC_ADVICE = {NO_PIXEL: "are the polygons x and y in pixels of these images?"}
# Fewer cut boxes may be large objects at the edge.
MIN_CUT = 3


class Objects(NamedTuple):
    """All objects of a split: boxes `(A, 4)`, XYXY in pixels, labels `(A,)`, and indices of their images, ascending."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    images: NDArray[np.int64]


def objects_of(dataset: CocoDataset) -> Objects:
    """Return the objects of all samples."""
    counts = [len(sample.labels) for sample in dataset.samples]
    return Objects(
        torch.cat([sample.boxes for sample in dataset.samples]).numpy(),
        torch.cat([sample.labels for sample in dataset.samples]).numpy(),
        np.repeat(np.arange(len(counts)), counts),
    )


def quick_findings(train: CocoDataset, val: CocoDataset, settings: DetectorSettings) -> list[Finding]:
    """Check the annotations of both splits; no image is opened."""
    train_objects, val_objects = objects_of(train), objects_of(val)
    findings = [
        *split_findings("train", train, train_objects, settings.max_objects),
        *split_findings("val", val, val_objects),
    ]
    difference = unknown_classes(train, val)
    if difference:
        findings.insert(0, Finding("error", "categories differ", difference))
    else:
        labels = objects_of(val.with_classes(train.category_ids, train.class_names)).labels
        findings += class_findings(train.class_names, train_objects.labels, labels)
    findings += category_findings(train)
    if len(train_objects.labels):
        findings += anchor_findings(train, train_objects.boxes, train_objects.images, settings)
    return findings


def split_findings(
    split: str, dataset: CocoDataset, objects: Objects, max_objects: int | None = None
) -> Iterator[Finding]:
    """Check one split, which messages call `split`; without `max_objects` the number of objects is not checked."""
    images = len(dataset.samples)
    yield from dataset.findings
    yield from _box_findings(split, dataset)
    if not len(objects.labels):
        what = "train on" if split == "train" else "evaluate"
        text = f"{dataset.annotation_file} has no objects in any image: there is nothing to {what}"
        yield Finding("error", "no objects", text)
        return
    counts = np.bincount(objects.images, minlength=images)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        example = such_as(dataset.samples[empty[0]].path)
        text = f"{split}: {of(len(empty), images)} images have no object, {example}; annotate them if they show any"
        yield Finding("warning" if len(empty) > images / 2 else "hint", "images without objects", text)
    full = np.flatnonzero(counts > (max_objects or np.inf))
    if len(full):
        example = such_as(dataset.samples[counts.argmax()].path)
        text = (
            f"train: {of(len(full), images)} images have more than {max_objects} objects, {example} with {counts.max()}"
        )
        yield Finding("warning", "crowded images", f"{text}; raise data.max_objects")
    if dataset.crowd_regions:
        text = f"{split}: {of(dataset.crowd_regions, dataset.annotated)} annotations are crowd regions or difficult"
        yield Finding("hint", "crowd regions", f"{text}: they are ignored in training and evaluation")
    yield from _tiny_boxes(split, dataset, objects)
    yield from _repeated_boxes(split, dataset, objects)


def _box_findings(split: str, dataset: CocoDataset) -> Iterator[Finding]:
    """Report problems found when the dataset was opened."""
    total = dataset.annotated
    for name, count in dataset.problems.items():
        cut = name == CLIPPED and dataset.far_outside >= MIN_CUT
        systematic = (dataset.far_outside if cut else count) > SYSTEMATIC * total
        severity: Severity = "error" if systematic and (cut or name.endswith("dropped")) else "warning"
        advice = ADVICE[name]
        if severity == "error" or (systematic and name in SYSTEMATIC_ADVICE):
            advice = SYSTEMATIC_ADVICE.get(name, BOX_ADVICE[dataset.format])
        example = f"such as {dataset.details[name]}" if name in dataset.details else such_as(dataset.examples[name])
        yield Finding(
            severity, name.removesuffix(" dropped"), f"{split}: {of(count, total)} {name}, {example}; {advice}"
        )


def _tiny_boxes(split: str, dataset: CocoDataset, objects: Objects) -> Iterator[Finding]:
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    tiny = np.flatnonzero(sides.min(axis=1) <= 1)
    if not len(tiny):
        return
    example = such_as(dataset.samples[objects.images[tiny[0]]].path)
    text = f"{split}: {of(len(tiny), len(sides))} boxes are at most one pixel wide or high, {example}"
    if (sides.max(axis=1) <= 2).mean() > SYSTEMATIC:
        advice = "are these normalized coordinates (0-1) rather than pixels?"
        yield Finding("error", "one-pixel boxes", f"{text}; {advice}")
    else:
        yield Finding("warning", "one-pixel boxes", f"{text}; delete accidental clicks")


def _repeated_boxes(split: str, dataset: CocoDataset, objects: Objects) -> Iterator[Finding]:
    """Report boxes that occur twice in an image, to a quarter of a pixel: of one class, or of two."""
    keys = np.column_stack([objects.images, (objects.boxes * 4).round().astype(np.int64)])
    order = np.lexsort([objects.labels, *keys.T])
    same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    same_class = objects.labels[order[1:]] == objects.labels[order[:-1]]
    for chosen, check, advice in (
        (same & same_class, "duplicate boxes", "boxes duplicate another of their class; delete the copies"),
        (same & ~same_class, "boxes of two classes", "boxes duplicate another of a different class; keep one of them"),
    ):
        if chosen.any():
            example = such_as(dataset.samples[objects.images[order[1:][chosen.argmax()]]].path)
            what, what_to_do = advice.split("; ")
            text = f"{split}: {of(int(chosen.sum()), len(order))} {what}, {example}; {what_to_do}"
            yield Finding("warning", check, text)


def class_findings(
    names: tuple[str, ...], train: NDArray[np.int64], val: NDArray[np.int64], noun: str = "object"
) -> Iterator[Finding]:
    """Report classes with no or few of what `noun` names, from the labels of both splits."""
    counts = {name: np.bincount(labels, minlength=len(names)) for name, labels in (("train", train), ("val", val))}
    in_train, in_val = counts["train"] > 0, counts["val"] > 0
    if not in_train.any() or not in_val.any():
        return
    cases: tuple[tuple[NDArray[np.bool_], Severity, str, str], ...] = (
        (~in_train & ~in_val, "warning", f"classes without {noun}s", f"have no {noun} in either split; delete them"),
        (~in_train & in_val, "warning", "split without a class", f"have {noun}s in val but none in train: not trained"),
        (in_train & ~in_val, "hint", "split without a class", f"have {noun}s in train but none in val: not evaluated"),
    )
    for chosen, severity, check, text in cases:
        if chosen.any():
            which = some(names[label] for label in np.flatnonzero(chosen))
            yield Finding(severity, check, f"{of(int(chosen.sum()), len(names))} classes {text} ({which})")
    for split, (least, few, advice) in RARE.items():
        rare = np.flatnonzero((counts[split] > 0) & (counts[split] < least))
        if len(rare):
            which = some(f"{names[label]}: {counts[split][label]}" for label in rare)
            text = f"{of(len(rare), len(names))} classes have fewer than {least} {noun}s in {split} ({which})"
            yield Finding(few, f"few {noun}s", f"{text}; {advice if noun == 'object' else MORE_IMAGES[split]}")
    yield from _imbalance(names, counts["train"], noun)


def _imbalance(names: tuple[str, ...], counts: NDArray[np.int64], noun: str) -> Iterator[Finding]:
    most, least = counts.argmax(), np.where(counts > 0, counts, counts.max()).argmin()
    ratio = counts[most] / counts[least]
    if ratio >= UNEVEN:
        text = f"train has {counts[most]:,} {noun}s of {names[most]} and {counts[least]:,} of {names[least]}"
        text += f", {ratio:.0f} times fewer; collect or oversample images of the rare classes"
        yield Finding("warning" if ratio >= VERY_UNEVEN else "hint", "class imbalance", text)


def category_findings(dataset: CocoDataset) -> Iterator[Finding]:
    """Check the list of classes."""
    ids, names = dataset.category_ids, dataset.class_names
    known = set(ids)
    gaps = [number for number in range(ids[0], ids[-1]) if number not in known] if ids[-1] - ids[0] < 1e6 else []
    if gaps:
        text = f"the {len(ids)} category ids from {quoted(ids[0])} to {quoted(ids[-1])} skip {some(map(quoted, gaps))}"
        yield Finding("hint", "gaps in category ids", f"{text}; other programs may not accept that")
    yield from same_names(names)


def same_names(names: tuple[str, ...]) -> Iterator[Finding]:
    """Report names of classes that differ only in case or spaces."""
    folded = [" ".join(name.lower().split()) for name in names]
    counts = Counter(folded)
    twice = sorted({name for name, key in zip(names, folded, strict=True) if counts[key] > 1})
    if twice:
        text = f"{len(twice)} category names differ only in case or spaces ({some(twice)}); merge them"
        yield Finding("warning", "category names", text)
