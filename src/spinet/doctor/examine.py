"""Checks a dataset for problems that ruin a training: annotations, images, object sizes, classes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.data.division import open_split
from spinet.doctor.anchors import DetectorSettings, SizeTable, long_sides, size_table
from spinet.doctor.annotations import objects_of, quick_findings, split_findings
from spinet.doctor.class_pictures import write_class_pictures
from spinet.doctor.classes import class_dataset_findings, two_class_findings
from spinet.doctor.files import file_findings
from spinet.doctor.images import ImageFacts, duplicate_findings, image_findings, inspect_images
from spinet.errors import SpinetError
from spinet.formats.class_files import class_format
from spinet.formats.findings import SEVERITIES, Finding, in_order
from spinet.formats.layouts import recognise
from spinet.formats.splits import Division

# Checks whose findings let a training go on, but which the doctor calls errors.
HARMFUL = frozenset({"listed twice", "broken images", "wrong size"})

Dataset = TypeVar("Dataset", bound=ImageDataset)


@dataclass(frozen=True)
class SplitFacts:
    """Counts of a split; `empty` is images without objects, `median_side` the median long side in pixels.

    A classification dataset has one object per image, and no median side.
    """

    images: int
    objects: int
    empty: int
    median_side: int


@dataclass
class DatasetReport:
    """The result of `examine`.

    Attributes:
        root: the dataset folder.
        format: "COCO", "YOLO", "Pascal VOC", "image folders" or "JSON of classes".
        splits: counts of the splits that could be opened.
        classes: number of objects (images) by class and split.
        sizes: the training objects compared with the anchors; None without objects.
        findings: errors first, then warnings, then hints.
        pictures: one file per class.
    """

    root: Path
    format: str = ""
    splits: dict[str, SplitFacts] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: SizeTable | None = None
    findings: list[Finding] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    @property
    def boxes(self) -> bool:
        """Whether the dataset has boxes, rather than one class per image."""
        return self.format in ("COCO", "YOLO", "Pascal VOC")

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = asdict(self)
        plain |= {"root": str(self.root), "pictures": [str(path) for path in self.pictures]}
        return plain | {f"{severity}s": self.count(severity) for severity in SEVERITIES}


def examine(
    root: str | Path,
    settings: DetectorSettings,
    *,
    pictures: Path | None = None,
    quick: bool = False,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
    division: Division | None = None,
) -> DatasetReport:
    """Check a dataset in any format.

    Args:
        root: the dataset folder.
        settings: of the detector to be trained on it.
        pictures: folder for a contact sheet per class; None writes none.
        quick: check the annotations only and open no image.
        workers: threads that decode images.
        progress: called with the number of images checked and in total.
        division: how to divide a dataset without a val split.

    Raises:
        SpinetError: the format is unclear, or a contact sheet cannot be written.
    """
    root = Path(root)
    kind = class_format(root)
    if kind:
        report = DatasetReport(root, kind)
        classes = _open(report, lambda split: open_split(lambda part: ClassDataset(root, part), split, division))
        report.findings += class_dataset_findings(classes)
        _count_classes(report, classes)
        datasets: list[ImageDataset] = list(classes.values())
    else:
        report = DatasetReport(root, recognise(root))
        opened = _open(report, lambda split: open_split(lambda part: _open_boxes(root, part, report), split, division))
        report.findings += _annotation_findings(opened, settings)
        for dataset in opened.values():
            _count(report, dataset, settings)
        datasets = list(opened.values())
    if not quick:
        facts = _inspected(datasets, workers, progress)
        report.findings += _picture_findings(datasets, facts)
    if pictures and not kind and "train" in opened:
        train = opened["train"]
        report.pictures += write_class_pictures(train, objects_of(train), pictures)
    # Some are about both splits, or about what is divided into them.
    report.findings = in_order(map(_stricter, dict.fromkeys(report.findings)))
    return report


def _stricter(finding: Finding) -> Finding:
    return replace(finding, severity="error") if finding.check in HARMFUL else finding


def _annotation_findings(opened: dict[str, CocoDataset], settings: DetectorSettings) -> list[Finding]:
    if len(opened) == 2:
        findings = quick_findings(opened["train"], opened["val"], settings)
    else:
        findings = [
            finding
            for dataset in opened.values()
            for finding in split_findings(dataset.split, dataset, objects_of(dataset), settings.max_objects)
        ]
    return [*findings, *file_findings(list(opened.values()))]


def _open(report: DatasetReport, open_one: Callable[[str], Dataset]) -> dict[str, Dataset]:
    opened: dict[str, Dataset] = {}
    for split in ("train", "val"):
        try:
            opened[split] = open_one(split)
        except SpinetError as error:
            report.findings.append(Finding("error", "split cannot be opened", f"{split}: {error}"))
    return opened


def _open_boxes(root: Path, split: str, report: DatasetReport) -> CocoDataset:
    dataset = CocoDataset(root, split)
    if not dataset.outlined:
        return dataset
    try:
        return CocoDataset(root, split, masks=True)
    except SpinetError as error:
        text = f"{split}: boxes can be trained, masks cannot: {error}"
        report.findings.append(Finding("warning", "masks", text))
        return dataset


def _count_classes(report: DatasetReport, opened: dict[str, ClassDataset]) -> None:
    for split, dataset in opened.items():
        report.splits[split] = SplitFacts(len(dataset), len(dataset), 0, 0)
        counts = np.bincount([sample.label for sample in dataset.samples], minlength=len(dataset.class_names))
        for name, count in zip(dataset.class_names, counts.tolist(), strict=True):
            report.classes.setdefault(name, {})[split] = count


def _count(report: DatasetReport, dataset: CocoDataset, settings: DetectorSettings) -> None:
    objects = objects_of(dataset)
    sides = long_sides(dataset)
    empty = len(sides) - len(np.unique(objects.images))
    report.splits[dataset.split] = SplitFacts(len(sides), len(objects.labels), empty, math.floor(np.median(sides)))
    counts = np.bincount(objects.labels, minlength=len(dataset.class_names)).tolist()
    for name, count in zip(dataset.class_names, counts, strict=True):
        report.classes.setdefault(name, {})[dataset.split] = count
    if dataset.split == "train" and len(objects.labels):
        size, scale = settings.image_size, settings.anchor_scale
        report.sizes = size_table(objects.boxes, sides[objects.images], size, scale, shapes=settings.shapes)


def _inspected(
    datasets: Sequence[ImageDataset], workers: int, progress: Callable[[int, int], None] | None
) -> dict[Path, ImageFacts]:
    paths = list(dict.fromkeys(sample.path for dataset in datasets for sample in dataset.samples))
    facts: dict[Path, ImageFacts] = {}
    for done, fact in enumerate(inspect_images(paths, workers), start=1):
        facts[fact.path] = fact
        if progress:
            progress(done, len(paths))
    return facts


def _picture_findings(datasets: Sequence[ImageDataset], facts: dict[Path, ImageFacts]) -> list[Finding]:
    of_split = {dataset.split: [facts[sample.path] for sample in dataset.samples] for dataset in datasets}
    return [
        *(finding for dataset in datasets for finding in image_findings(dataset, of_split[dataset.split])),
        *duplicate_findings(of_split.get("train", []), of_split.get("val", [])),
        *two_class_findings([dataset for dataset in datasets if isinstance(dataset, ClassDataset)], facts),
    ]
