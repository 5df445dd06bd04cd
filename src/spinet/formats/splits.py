"""Names of splits, and datasets that are not divided into train and val, or are divided already."""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from spinet.errors import SpinetError

# Names of the two splits, in files and folders of various tools.
SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation")}
# A dataset as it is exported by annotation tools, which do not divide it.
WHOLE = "all"


class Division(NamedTuple):
    """How to divide a dataset.

    Attributes:
        share: fraction of the images that is val, above 0 and below 1.
        seed: of the choice.
        required: refuse a dataset that has its own val split, rather than take that.
    """

    share: float
    seed: int = 0
    required: bool = True


@lru_cache
def split_of_name(name: str) -> str:
    """Return the split that the name of a file or folder means: "train", "val", "test", "all" of several, or nothing.

    >>> [split_of_name(name) for name in ("instances_Train2017", "valid", "livecell_train_val_images", "trainee")]
    ['train', 'val', 'all', '']
    """
    words = set(re.findall("[a-z]+", name.casefold()))
    splits = [split for split, names in (*SPLIT_NAMES.items(), ("test", ("test",))) if words & set(names)]
    return splits[0] if len(splits) == 1 else WHOLE if splits else ""


def no_split(root: Path, split: str, expected: str) -> SpinetError:
    """Return the error for a split that is missing, with the two ways of dividing a dataset."""
    return SpinetError(
        f"{root} has no {split} split, expected {expected}; to divide its images into train and val use"
        f" `spinet split DIR`, or set data.val_share (0.2 takes a fifth for val)"
    )


class AlreadyDividedError(SpinetError):
    """A dataset that is to be divided has a val split."""


def already_divided(root: Path, place: object) -> AlreadyDividedError:
    """Return the error for a dataset that has a val split and is to be divided."""
    return AlreadyDividedError(
        f"{root} has its own val split ({place}); leave data.val_share at 0, or move that split away"
    )
