"""Which class of a weights file a new class starts from, by their names."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.formats.findings import some
from spinet.models.class_rows import AVERAGE, NEW

# How alike two names must be, 1 for equal ones, where no word is the same: for typing errors, not for meaning.
ALIKE = 0.85
# Converted weights without class names have these.
NUMBERED = re.compile(r"(class|unused) \d+")
# Names that a sentence lists.
LISTED = 8


def normalized(name: str) -> str:
    """Return a class name in the form in which names are compared.

    >>> normalized("Cell_Phone") == normalized("cell-phone") == normalized(" cell  phone")
    True
    """
    return " ".join(re.split(r"[\s_-]+", name.casefold().strip(" _-")))


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the name of `known` that is nearest to `name`, both normalized, by form alone; None if none is near.

    The same name in the plural, then one that ends as the other does, because the last word of a compound says what it
    is, then one with a word in common, then one of similar spelling.

    >>> known = ["car", "cell phone", "person", "truck"]
    >>> [nearest(name, known) for name in ("persons", "fire truck", "phone", "car park", "persn", "tree")]
    ['person', 'truck', 'cell phone', 'car', 'person', None]
    """
    words, others = name.split(), {other: other.split() for other in known if other}
    if not words:
        return None
    for fits in (_equal, _ends, _contains):
        found = [other for other, own in others.items() if fits(own, words) or fits(words, own)]
        if found:
            return max(found, key=lambda other: (len(others[other]), -known.index(other)))
    return next(iter(get_close_matches(name, list(others), n=1, cutoff=ALIKE)), None)


def _equal(one: Sequence[str], other: Sequence[str]) -> bool:
    return len(one) == len(other) and all(_forms(a) & _forms(b) for a, b in zip(one, other, strict=True))


def _ends(short: Sequence[str], long: Sequence[str]) -> bool:
    return _equal(short, long[-len(short) :])


def _contains(short: Sequence[str], long: Sequence[str]) -> bool:
    return all(any(_forms(a) & _forms(b) for b in long) for a in short)


def _forms(word: str) -> set[str]:
    """Return a word and what it would be in the singular, if it is a regular plural."""
    return {word, re.sub(r"s$", "", word), re.sub(r"es$", "", word), re.sub(r"ies$", "y", word)} - {""}


def class_starts(source: ModelInfo, info: ModelInfo) -> tuple[list[int], list[str]]:
    """Return for each class of `info` the label of `source` that it starts from, or `AVERAGE` or `NEW`, and sentences.

    A class with the same name is kept. What other classes start from is `info.model.class_start`.
    """
    # A background without objects is no class to start from, but one of both is the same.
    first = 0 if info.model.background else first_class(source.model)
    labels = {name: label for label, name in reversed([*enumerate(map(normalized, source.class_names))][first:])}
    exact = {name: label for label, name in enumerate(source.class_names) if label >= first}
    named = [name for name in labels if not NUMBERED.fullmatch(name)]
    starts: list[int] = []
    for name in info.class_names:
        form = normalized(name)
        label = exact.get(name, labels.get(form, NEW))
        if label == NEW and info.model.class_start == "nearest":
            label = labels.get(nearest(form, named) or "", NEW)
        if label == NEW and info.model.class_start == "average":
            label = AVERAGE
        starts.append(label)
    return starts, _sentences(source.class_names, info.class_names, starts)


def first_class(model: ModelConfig) -> int:
    """Return the first label that stands for objects."""
    return 1 if model.background else 0


def _sentences(theirs: Sequence[str], ours: Sequence[str], starts: Sequence[int]) -> list[str]:
    kept, moved, averaged, new = [], [], [], []
    for name, start in zip(ours, starts, strict=True):
        if start == NEW:
            new.append(name)
        elif start == AVERAGE:
            averaged.append(name)
        elif normalized(theirs[start]) == normalized(name):
            kept.append(name)
        else:
            moved.append(f"{name} from {theirs[start]}")
    parts = {"kept": kept, "started": moved, "started from the average": averaged, "newly initialized": new}
    said = [f"{len(names)} {what} ({some(names, LISTED)})" for what, names in parts.items() if names]
    return [f"classes: {', '.join(said)}"]
