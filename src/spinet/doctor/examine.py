"""Checks a dataset for problems that ruin a training: annotations, images, object sizes."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spinet.data.coco import CocoDataset
from spinet.data.findings import SEVERITIES, Finding, in_order
from spinet.data.formats import recognise
from spinet.doctor.anchors import DetectorSettings, SizeTable, long_sides, size_table
from spinet.doctor.annotations import objects_of, quick_findings, split_findings
from spinet.doctor.class_pictures import write_class_pictures
from spinet.doctor.files import file_findings
from spinet.doctor.images import ImageFacts, duplicate_findings, image_findings, inspect_images
from spinet.errors import SpinetError


@dataclass(frozen=True)
class SplitFacts:
    """Counts of a split; `empty` is images without objects, `median_side` the median long side in pixels."""

    images: int
    objects: int
    empty: int
    median_side: int


@dataclass
class DatasetReport:
    """The result of `examine`.

    Attributes:
        root: the dataset folder.
        format: "COCO", "YOLO" or "Pascal VOC".
        splits: counts of the splits that could be opened.
        classes: number of objects by class and split.
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
) -> DatasetReport:
    """Check a dataset in any format.

    Args:
        root: the dataset folder.
        settings: of the detector to be trained on it.
        pictures: folder for a contact sheet per class; None writes none.
        quick: check the annotations only and open no image.
        workers: threads that decode images.
        progress: called with the number of images checked and in total.

    Raises:
        SpinetError: the format is unclear, or a contact sheet cannot be written.
    """
    root = Path(root)
    report = DatasetReport(root, recognise(root))
    opened = _open(root, report)
    findings = report.findings
    if len(opened) == 2:
        findings += quick_findings(opened["train"], opened["val"], settings)
    else:
        for dataset in opened.values():
            findings += split_findings(dataset.split, dataset, objects_of(dataset), settings.max_objects)
    for dataset in opened.values():
        _count(report, dataset, settings)
    findings += file_findings(list(opened.values()))
    if not quick:
        findings += _examine_images(list(opened.values()), workers, progress)
    if pictures and "train" in opened:
        train = opened["train"]
        report.pictures += write_class_pictures(train, objects_of(train), pictures)
    report.findings = in_order(findings)
    return report


def _open(root: Path, report: DatasetReport) -> dict[str, CocoDataset]:
    opened: dict[str, CocoDataset] = {}
    for split in ("train", "val"):
        try:
            opened[split] = CocoDataset(root, split)
        except SpinetError as error:
            report.findings.append(Finding("error", "split cannot be opened", f"{split}: {error}"))
            continue
        if opened[split].outlined:
            try:
                opened[split] = CocoDataset(root, split, masks=True)
            except SpinetError as error:
                text = f"{split}: boxes can be trained, masks cannot: {error}"
                report.findings.append(Finding("warning", "masks", text))
    return opened


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


def _examine_images(
    datasets: list[CocoDataset], workers: int, progress: Callable[[int, int], None] | None
) -> list[Finding]:
    paths = list(dict.fromkeys(sample.path for dataset in datasets for sample in dataset.samples))
    facts: dict[Path, ImageFacts] = {}
    for done, fact in enumerate(inspect_images(paths, workers), start=1):
        facts[fact.path] = fact
        if progress:
            progress(done, len(paths))
    of_split = {dataset.split: [facts[sample.path] for sample in dataset.samples] for dataset in datasets}
    findings = [finding for dataset in datasets for finding in image_findings(dataset, of_split[dataset.split])]
    return [*findings, *duplicate_findings(of_split.get("train", []), of_split.get("val", []))]
