"""Checks of classification datasets: classes without images or with few, and images of two classes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from spinet.data.class_data import ClassDataset
from spinet.doctor.annotations import class_findings, same_names
from spinet.doctor.images import ImageFacts
from spinet.formats.findings import Finding, such_as


def class_dataset_findings(opened: Mapping[str, ClassDataset]) -> Iterator[Finding]:
    """Check files and classes of the splits; no image is opened."""
    for dataset in opened.values():
        yield from dataset.findings
    if len(opened) == 2:
        train, val = (np.array([sample.label for sample in opened[name].samples]) for name in ("train", "val"))
        yield from class_findings(opened["train"].class_names, train, val, "image")
    for dataset in list(opened.values())[:1]:
        yield from same_names(dataset.class_names)


def two_class_findings(datasets: Sequence[ClassDataset], facts: Mapping[Path, ImageFacts]) -> Iterator[Finding]:
    """Report images that show the same pixels as one of another class."""
    first: dict[bytes, tuple[str, Path]] = {}
    pairs = []
    for dataset in datasets:
        for sample in dataset.samples:
            digest, name = facts[sample.path].digest, dataset.class_names[sample.label]
            if digest and first.setdefault(digest, (name, sample.path))[0] != name:
                pairs.append((first[digest][1], sample.path))
    if pairs:
        one, other = pairs[0]
        text = f"{len(pairs):,} images show the same pixels as one of another class, {such_as(one)}"
        text += f" and {other.parent.name}/{other.name}; keep the one in the right class"
        yield Finding("warning", "images of two classes", text)
