"""Dividing a dataset into train and val: by a seed, with images that look alike in one split, roughly equal classes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from spinet.data.dataset import ImageDataset
from spinet.data.division_record import Divided, find_record, key_of
from spinet.data.near import near_groups
from spinet.data.objects import Sample
from spinet.errors import SpinetError
from spinet.formats.class_files import ClassSample
from spinet.formats.file_names import portable_names
from spinet.formats.findings import Finding, Severity
from spinet.formats.splits import WHOLE, AlreadyDividedError, Division

Dataset = TypeVar("Dataset", bound=ImageDataset)
# An image without objects counts as one of this class.
NO_CLASS = -1


def open_split(
    open_one: Callable[[str], Dataset], split: str, division: Division | None, run: Path | None = None
) -> Dataset:
    """Open a split of a dataset, which is divided first if a division is given.

    Args:
        open_one: opens "train", "val" or "all".
        split: "train", "val" or "all".
        division: None for a dataset that has both splits.
        run: a run folder that may have recorded the same division, or lie beside one that has.
    """
    if division is None or split == WHOLE:
        return open_one(split)
    try:
        whole = open_one(WHOLE)
    except AlreadyDividedError:
        if division.required:
            raise
        return open_one(split)
    # Training opens a dataset with masks, evaluation without; both must choose the same images.
    plain = whole.without_masks()
    key = key_of(plain, division)
    divided = (find_record(run, key, len(whole)) if run else None) or divide(plain, division)
    val = set(divided.val)
    part = whole.subset(index for index in range(len(whole)) if (index in val) == (split == "val"))
    findings = [*whole.findings, division_finding(whole, divided)]
    part.split, part.findings, part.division = split, findings, (key, divided)
    return part


def division_finding(whole: ImageDataset, divided: Divided) -> Finding:
    """Say how a dataset was divided."""
    count = len(divided.val)
    text = f"{len(whole) - count:,} images of {whole.root} are train and {count:,} are val"
    severity: Severity = "hint"
    if divided.groups:
        text += f"; {divided.groups:,} groups of images that look alike are kept together"
    if divided.cut:
        severity = "warning"
        text += f", but {divided.cut:,} images look so much alike that they are in both; divide them by scene or camera"
    return Finding(severity, "division", text)


def divide(whole: ImageDataset, division: Division) -> Divided:
    """Choose the val images of a dataset that is not divided.

    The result depends on the names of the images below their common folder, on what they show, on their classes and on
    the seed; not on the order in the file, nor on where the folder is.

    Raises:
        SpinetError: there are fewer than two images.
    """
    if len(whole) < 2:
        raise SpinetError(f"{whole.root} has {len(whole)} image; dividing it into train and val needs at least two")
    names = portable_names([sample.path for sample in whole.samples])
    order = sorted(range(len(whole)), key=names.__getitem__)
    found = near_groups([whole.samples[at].path for at in order])
    groups: dict[int, list[int]] = defaultdict(list)
    for at, number in zip(order, found, strict=True):
        groups[number].append(at)
    labels = [_labels(sample) for sample in whole.samples]
    target = min(max(round(division.share * len(whole)), 1), len(whole) - 1)
    parts, cut = _cut(list(groups.values()), target)
    val = sorted(at for part in _choose(parts, labels, names, target, division.seed) for at in part)
    return Divided(val, sum(len(group) > 1 for group in groups.values()), cut)


def _labels(sample: Sample | ClassSample) -> set[int]:
    return {sample.label} if isinstance(sample, ClassSample) else set(sample.labels.tolist()) or {NO_CLASS}


def _cut(groups: list[list[int]], target: int) -> tuple[list[list[int]], int]:
    """Cut groups that are too large for val into runs of neighbouring names, if the others do not suffice.

    A camera that stands still makes one group of all its images.
    """
    large = sum(len(group) for group in groups if len(group) > target)
    if sum(map(len, groups)) - large >= 2 * target:
        return groups, 0
    step = max(target // 2, 1)
    runs = [
        group[start : start + step] if len(group) > target else group
        for group in groups
        for start in range(0, len(group), step if len(group) > target else len(group))
    ]
    return runs, large


def _choose(
    parts: list[list[int]], labels: Sequence[set[int]], names: Sequence[str], target: int, seed: int
) -> list[list[int]]:
    """Return the parts for val: a systematic sample of the parts in the order of their rarest classes."""
    of_part = [set().union(*(labels[at] for at in part)) for part in parts]
    counts = Counter(label for found in of_part for label in found)
    free = [number for number, part in enumerate(parts) if len(part) <= target]
    # The only images of a class are for training.
    spare = [number for number in free if min(counts[label] for label in of_part[number]) > 1]
    if sum(len(parts[number]) for number in spare) >= 2 * target:
        free = spare
    chosen = _sample(_in_order(free, parts, of_part, counts, names, seed), parts, target, _uniform(seed, "start"))
    return [parts[number] for number in _with_all_classes(chosen, of_part)]


def _in_order(
    free: list[int],
    parts: list[list[int]],
    of_part: list[set[int]],
    counts: Counter[int],
    names: Sequence[str],
    seed: int,
) -> list[int]:
    def key(number: int) -> tuple[int, int, float, str]:
        rarest = min(of_part[number], key=lambda label: (counts[label], label))
        first = names[parts[number][0]]
        return counts[rarest], rarest, _uniform(seed, first), first

    return sorted(free, key=key)


def _sample(ordered: list[int], parts: list[list[int]], target: int, start: float) -> list[int]:
    """Take every so many-th part, so that the images in what is taken are `target`, up to half of the last part."""
    rate = min(target / max(sum(len(parts[number]) for number in ordered), 1), 1)
    due, chosen = start - 0.5, list[int]()
    for number in ordered:
        size = len(parts[number])
        due += size * rate
        if due >= size / 2:
            chosen.append(number)
            due -= size
    return chosen or ordered[:1]


def _with_all_classes(chosen: list[int], of_part: list[set[int]]) -> list[int]:
    """Give back to train what it has no other images of, but not the last part of val."""
    kept = list(chosen)
    taken = set(chosen)
    left = Counter(label for number, found in enumerate(of_part) if number not in taken for label in found)
    for number in chosen:
        if len(kept) > 1 and any(not left[label] for label in of_part[number]):
            kept.remove(number)
            left.update(of_part[number])
    return kept


def _uniform(seed: int, name: str) -> float:
    """Return a number from 0 to below 1 that depends on a seed and a name only."""
    return int.from_bytes(blake2b(f"{seed}/{name}".encode(errors="surrogateescape"), digest_size=6).digest()) / 2**48
