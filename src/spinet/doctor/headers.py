"""Sizes and EXIF rotations in the headers of images, compared with the annotations."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from spinet.data.coco import CocoDataset
from spinet.formats.findings import Finding, Severity, is_systematic, of, such_as
from spinet.formats.images import ImageError, broken_images, header_of

# Images of a split whose headers are read before training, evenly spaced: a convention shows in any of them.
SAMPLED = 256

Size = tuple[int, int]


def header_findings(dataset: CocoDataset) -> Iterator[Finding]:
    """Check the headers of some images, all of a small split; the pixels are left to training.

    Raises:
        SpinetError: more than a few of these images cannot be read.
    """
    samples = dataset.samples[:: max(math.ceil(len(dataset) / SAMPLED), 1)]
    paths = tuple(sample.path for sample in samples)
    headers = dict(zip(paths, _headers(paths), strict=True))
    faults = {path: header for path, header in headers.items() if isinstance(header, str)}
    broken = broken_images(faults, len(headers), dataset.split)
    known = [
        (sample.path, *header, (sample.width, sample.height))
        for sample in samples
        if not isinstance(header := headers[sample.path], str)
    ]
    for finding in (*broken, *size_findings(dataset.split, known)):
        looked = f"; {len(samples):,} of {len(dataset):,} images were looked at, `spinet doctor` looks at all"
        yield replace(finding, text=finding.text + (looked if len(samples) < len(dataset) else ""))


def size_findings(split: str, images: Sequence[tuple[Path, Size, Size, Size]]) -> Iterator[Finding]:
    """Report images, (path, stored size, upright size, annotated size), that do not agree with their annotations."""
    wrong = [image for image in images if image[3] not in image[1:3]]
    if wrong:
        path, _, upright, (width, height) = wrong[0]
        text = f"{split}: {of(len(wrong), len(images))} images do not have the annotated size, {such_as(path)}"
        text += f" with {upright[0]} x {upright[1]} pixels instead of {width} x {height}"
        severity: Severity = "error"
        if not is_systematic(len(wrong), len(images)):
            severity, text = "warning", f"{text}, and are left out"
        yield Finding(severity, "wrong size", f"{text}; fix the size (and rescale the boxes if the image was resized)")
    lying = [path for path, stored, upright, size in images if size == stored != upright]
    if lying:
        text = f"{split}: {of(len(lying), len(images))} images are rotated by EXIF, but annotated as if they were not,"
        text += f" {such_as(lying[0])}; prediction turns images upright: correct sizes and boxes if these were drawn on"
        yield Finding("warning", "unrotated annotations", f"{text} upright images, or else remove the EXIF rotation")


@lru_cache(maxsize=8)
def _headers(paths: tuple[Path, ...]) -> list[tuple[Size, Size] | str]:
    return [_header(path) for path in paths]


def _header(path: Path) -> tuple[Size, Size] | str:
    """Return what `header_of` does, or why the image cannot be read."""
    try:
        return header_of(path)
    except ImageError as error:
        return error.reason
