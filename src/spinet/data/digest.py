"""What a dataset contains, as a few short digests: a run is bound to that, not to the path of its dataset."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.formats.file_names import portable_names

Digest = dict[str, int | str]

# What differs, in the order in which it is looked for: the first difference explains the others.
_NAMES = {
    "classes": "the class names",
    "images": "{now:,} {split} images instead of {before:,}",
    "files": "the file names of the {split} images",
    "order": "the order of the {split} images",
    "ids": "the image ids of the {split} images",
    "sizes": "the sizes of the {split} images",
    "objects": "{now:,} objects in the {split} images instead of {before:,}",
    "labels": "the classes in the {split} images",
    "boxes": "the boxes in the {split} images",
    "masks": "the masks in the {split} images",
    "crowds": "the crowd regions in the {split} images",
    "areas": "the areas of the objects in the {split} images",
}
_SPLITS = {"train": "training", "val": "validation"}


def digest(dataset: ImageDataset, ids: bool = False) -> Digest:
    """Return counts and digests of all that was read of a split.

    They depend on no absolute path: a folder that was moved, copied or linked keeps them. No image is opened, so they
    do not tell when pixels change. `ids` are those of images, which matter to a choice among them.
    """
    samples = dataset.samples
    names = portable_names([sample.path for sample in samples])
    facts: Digest = {
        "classes": _hash(*dataset.class_names),
        "images": len(samples),
        "files": _hash(*sorted(names)),
        "order": _hash(*names),
    }
    if ids:
        facts["ids"] = _hash(*(str(sample.image_id) for sample in samples))
    if not isinstance(dataset, CocoDataset):
        return facts | {"labels": _hash(_bytes([sample.label for sample in samples]))}
    return facts | _objects(dataset)


def _objects(dataset: CocoDataset) -> Digest:
    samples = dataset.samples
    labels, boxes = (torch.cat([getattr(sample, name) for sample in samples]) for name in ("labels", "boxes"))
    crowds, areas = dataset.for_metric()
    counts = _bytes([len(sample.labels) for sample in samples])
    facts: Digest = {
        "sizes": _hash(_bytes([(sample.width, sample.height) for sample in samples])),
        "objects": len(labels),
        "labels": _hash(counts, labels.numpy().tobytes()),
        "boxes": _hash(counts, boxes.numpy().tobytes()),
        "crowds": _hash(crowds.numpy().tobytes()),
        "areas": _hash(areas.numpy().tobytes()),
    }
    if dataset.has_masks:
        facts["masks"] = _hash(*(mask for sample in samples for mask in sample.masks or ()))
    return facts


def differences(before: Mapping[str, Any], now: Mapping[str, Digest]) -> list[str]:
    """Name the first difference in each split, by the name of the split; digests of one side only do not count.

    >>> differences({"train": {"images": 8, "boxes": "ab"}}, {"train": {"images": 16, "boxes": "cd"}})
    ['16 training images instead of 8']
    """
    found = []
    for split in (name for name in now if name in before):
        old, new = before[split], now[split]
        key = next((key for key in _NAMES if _differ(old.get(key), new.get(key))), None)
        if key:
            found.append(_NAMES[key].format(split=_SPLITS.get(split, split), before=old[key], now=new[key]))
    return list(dict.fromkeys(found))


def _differ(old: Any, new: Any) -> bool:
    # What a file of another version holds may be of another type.
    return type(old) is type(new) and bool(old != new)


def _bytes(numbers: list[Any]) -> bytes:
    return np.array(numbers, dtype=np.int64).tobytes()


def _hash(*parts: str | bytes) -> str:
    """Hash strings or bytes, and where each of them ends."""
    state = blake2b(_bytes([len(part) for part in parts]), digest_size=8)
    for part in parts:
        state.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
    return state.hexdigest()
