"""Divisions kept in run folders: choosing one decodes every image, which no later start on the same data should do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spinet.data.dataset import ImageDataset
from spinet.data.digest import digest
from spinet.errors import SpinetError
from spinet.files import load_json, write_atomically
from spinet.formats.splits import Division

FILE = "division.json"


class Divided(NamedTuple):
    """The val images of a division.

    Attributes:
        val: indices, ascending.
        groups: sets of several images that look alike.
        cut: how many images look so much alike that val has some of them and train others.
    """

    val: list[int]
    groups: int
    cut: int


def key_of(whole: ImageDataset, division: Division) -> dict[str, Any]:
    """Return what a division of a dataset without masks depends on, as far as no image must be decoded for it."""
    return {"val_share": division.share, "val_seed": division.seed, "data": digest(whole)}


def find_record(run: Path, key: dict[str, Any], images: int) -> Divided | None:
    """Return the division with this key that a run, or another one in the same folder, has recorded."""
    for file in _records(run):
        try:
            content = load_json(file, "division")
        except SpinetError:
            continue
        if isinstance(content, dict) and {name: content.get(name) for name in key} == key:
            found = _read(content, images)
            if found:
                return found
    return None


def record(run: Path, key: dict[str, Any], divided: Divided) -> None:
    """Write a division into a run folder.

    Raises:
        SpinetError: that is not possible.
    """
    write_atomically(run / FILE, json.dumps(key | divided._asdict()) + "\n")


def _records(run: Path) -> Iterator[Path]:
    if (run / FILE).is_file():
        yield run / FILE
    yield from (file for file in sorted(run.absolute().parent.glob(f"*/{FILE}")) if file.is_file())


def _read(content: dict[str, Any], images: int) -> Divided | None:
    val, groups, cut = (content.get(name) for name in Divided._fields)
    if type(groups) is not int or type(cut) is not int or not isinstance(val, list):
        return None
    is_valid = all(type(index) is int and 0 <= index < images for index in val) and val == sorted(set(val))
    return Divided(val, groups, cut) if is_valid and 0 < len(val) < images else None
