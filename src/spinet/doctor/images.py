"""Checks of the images: every file is decoded and compared with all others."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.data.near import Thumbnail, near_blocks, thumbnail
from spinet.doctor.headers import size_findings
from spinet.formats.findings import Finding, Severity, of, such_as
from spinet.formats.images import fault_of, orientation, to_rgb, upright_size, without_pillow_limit

# Below this difference of grey levels an image is blank.
BLANK = 4
# Largest value of 12-bit cameras, nearly black when stored as 16 bits without scaling.
TWELVE_BITS = 4095

KINDS = {
    "grey": "grey, which is read as three equal channels",
    "16-bit": "16-bit, which is divided by 257",
    "transparent": "partly transparent, which shows white",
    "CMYK": "CMYK, which is converted to RGB without a colour profile",
}


@dataclass(frozen=True)
class ImageFacts:
    """Facts about one image file.

    Attributes:
        path: the file.
        fault: why it cannot be read; empty if it can.
        stored: (width, height) in the file.
        upright: (width, height) after the EXIF rotation.
        turned: whether EXIF has a rotation.
        kind: one of `KINDS`, or empty for plain RGB.
        contrast: largest difference of grey levels.
        dark: 16-bit with values of at most 12 bits.
        digest: hash of the pixels.
        thumbnail: float16 `(1024,)` of mean 0 and length 1; None for a flat image.
    """

    path: Path
    fault: str = ""
    stored: tuple[int, int] = (0, 0)
    upright: tuple[int, int] = (0, 0)
    turned: bool = False
    kind: str = ""
    contrast: int = 0
    dark: bool = False
    digest: bytes = b""
    thumbnail: Thumbnail | None = None


Pair = tuple[ImageFacts, ImageFacts]
# Severity, check and advice.
Wording = tuple[Severity, str, str]


def inspect_images(paths: Sequence[Path], workers: int = 2) -> Iterator[ImageFacts]:
    """Decode images in threads and yield facts about them, in order."""
    # Here, because lifting Pillow's limit is global and the threads would undo each other's.
    with without_pillow_limit(), ThreadPoolExecutor(max(workers, 1)) as pool:
        yield from pool.map(_inspect, paths)


def image_findings(dataset: ImageDataset, images: list[ImageFacts]) -> Iterator[Finding]:
    """Report problems of the images of a split."""
    split, total = dataset.split, len(images)
    broken = [fact for fact in images if fact.fault]
    if broken:
        text = f"{split}: {of(len(broken), total)} images cannot be read, {such_as(broken[0].path)}: {broken[0].fault}"
        yield Finding("error", "broken images", f"{text}; replace or delete them")
    if isinstance(dataset, CocoDataset):
        yield from _size_findings(dataset, images)
    blank = [fact for fact in images if not fact.fault and fact.contrast < BLANK]
    if blank:
        text = f"{split}: {of(len(blank), total)} images are a single color, {such_as(blank[0].path)}"
        yield Finding("warning", "blank images", f"{text}; delete them")
    yield from _kind_findings(split, images)


def _inspect(path: Path) -> ImageFacts:
    try:
        with Image.open(path) as image:
            image.load()
            pixels = to_rgb(image)
            grey = pixels.convert("L")
            values = np.asarray(grey)
            return ImageFacts(
                path,
                stored=image.size,
                upright=upright_size(image),
                turned=orientation(image) != 1,
                kind=_kind(image),
                contrast=int(values.max()) - int(values.min()),
                dark=image.mode.startswith("I") and 0 < np.asarray(image).max() <= TWELVE_BITS,
                digest=hashlib.blake2b(repr(pixels.size).encode() + pixels.tobytes(), digest_size=16).digest(),
                thumbnail=thumbnail(grey),
            )
    # As in `read_image`: a corrupt file may raise nearly anything.
    except Exception as error:
        return ImageFacts(path, fault=fault_of(path, error))


def _kind(image: Image.Image) -> str:
    if image.mode.startswith(("I", "F")):
        return "16-bit"
    if image.has_transparency_data:
        return "transparent"
    return {"L": "grey", "1": "grey", "CMYK": "CMYK"}.get(image.mode, "")


def _size_findings(dataset: CocoDataset, images: list[ImageFacts]) -> Iterator[Finding]:
    whole = [(fact, sample) for fact, sample in zip(images, dataset.samples, strict=True) if not fact.fault]
    sizes = [(fact.path, fact.stored, fact.upright, (sample.width, sample.height)) for fact, sample in whole]
    yield from size_findings(dataset.split, sizes)
    turned = [fact.path for fact, sample in whole if fact.turned and (sample.width, sample.height) == fact.upright]
    if turned:
        text = f"{dataset.split}: {of(len(turned), len(images))} images are rotated by EXIF, {such_as(turned[0])}"
        yield Finding("hint", "turned images", f"{text}; check the class pictures for misplaced boxes")


def _kind_findings(split: str, images: list[ImageFacts]) -> Iterator[Finding]:
    counts = Counter(fact.kind for fact in images if fact.kind)
    for kind, count in counts.items():
        example = next(fact.path for fact in images if fact.kind == kind)
        yield Finding(
            "hint", f"{kind} images", f"{split}: {of(count, len(images))} images are {KINDS[kind]}, {such_as(example)}"
        )
    dark = [fact.path for fact in images if fact.dark]
    if dark:
        text = f"{split}: {of(len(dark), len(images))} 16-bit images have values of at most 12 bits, {such_as(dark[0])}"
        yield Finding("warning", "dark images", f"{text}, and look nearly black; scale them to 0 ... 65535")


def duplicate_findings(train: Sequence[ImageFacts], val: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Report exact and near duplicates, inside a split and across the two."""
    splits = {fact.path: "train" for fact in train} | {fact.path: "val" for fact in val}
    shared = {fact.path for fact in train} & {fact.path for fact in val}
    if shared:
        text = f"{of(len(shared), len(val))} images of val are files of train, {such_as(min(shared))}"
        yield Finding("error", "leakage", f"{text}; metrics are meaningless until val has its own images")
    facts = [fact for fact in {fact.path: fact for fact in (*train, *val)}.values() if not fact.fault]
    exact = list(_exact_pairs([fact for fact in facts if fact.contrast >= BLANK]))
    close = [pair for pair in _near_pairs(facts) if pair[0].digest != pair[1].digest]
    across: Wording = ("error", "leakage", "remove them from one split")
    inside: Wording = ("warning", "duplicate images", "delete the copies")
    yield from _pair_findings(exact, splits, len(val), "the same pixels as", across, inside)
    across = ("warning", "near leakage", "if they show the same scene, remove them from one split")
    inside = ("hint", "near-duplicate images", "keep such images in one split")
    yield from _pair_findings(close, splits, len(val), "nearly the same image as", across, inside)


def _pair_findings(
    pairs: Sequence[Pair], splits: dict[Path, str], val: int, shown: str, across: Wording, inside: Wording
) -> Iterator[Finding]:
    groups: dict[bool, list[Pair]] = {True: [], False: []}
    for pair in pairs:
        groups[splits[pair[0].path] != splits[pair[1].path]].append(pair)
    for crossing, group in groups.items():
        if not group:
            continue
        severity, check, advice = across if crossing else inside
        if crossing:
            count = len({fact.path for pair in group for fact in pair if splits[fact.path] == "val"})
            text = f"{of(count, val)} images of val show {shown} one of train"
        else:
            count = len({pair[1].path for pair in group})
            text = f"{of(count, len(splits))} images show {shown} another of their split"
        names = (f"{fact.path.parent.name}/{fact.path.name}" for fact in group[0])
        yield Finding(severity, check, f"{text}, such as {' and '.join(names)}; {advice}")


def _exact_pairs(facts: Sequence[ImageFacts]) -> Iterator[Pair]:
    """Yield each group's first image with each of the others."""
    groups: dict[bytes, list[ImageFacts]] = defaultdict(list)
    for fact in facts:
        groups[fact.digest].append(fact)
    for first, *others in groups.values():
        yield from ((first, other) for other in others)


def _near_pairs(facts: Sequence[ImageFacts]) -> Iterator[Pair]:
    rich = [fact for fact in facts if fact.thumbnail is not None]
    for top, left, alike in near_blocks([fact.thumbnail for fact in rich if fact.thumbnail is not None]):
        for row, column in np.argwhere(alike):
            yield rich[top + row], rich[left + column]
