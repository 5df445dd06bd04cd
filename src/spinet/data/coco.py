"""Data sets in COCO format: found, checked once when opened, and read image by image."""

import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spinet.data.annotations import (
    Entry,
    category_names,
    check_annotations,
    image_entries,
    read_annotation_file,
)
from spinet.data.images import read_image
from spinet.errors import SpinetError

# Files round coordinates (COCO's own to 0.01 pixel), which moves box edges this far outside at most.
ROUNDING = 0.1


@dataclass(frozen=True)
class Sample:
    """One image and its objects; crowd regions are left out.

    Attributes:
        image_id: the image's id in the annotation file.
        path: the image file.
        width: pixels, as the annotation file has it.
        height: pixels, as the annotation file has it.
        boxes: float32 `(N, 4)`, XYXY in pixels, inside the image, none of them empty.
        labels: int64 `(N,)`, positions in `CocoDataset.category_ids`.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: Tensor
    labels: Tensor


class CocoDataset:
    """One split of a data set folder in COCO format.

    The layout is `ROOT/train`, `ROOT/val` and `ROOT/annotations/instances_{train,val}.json`, or the official
    one with a year: `ROOT/train2017` and `instances_train2017.json`.

    Attributes:
        root: the data set folder.
        split: "train" or "val".
        annotation_file: the JSON file that was read.
        samples: one `Sample` an image, in the file's order, those without objects too.
        class_names: name of each label.
        category_ids: COCO category id of each label, ascending.
        problems: what was dropped or clipped, and how often; empty for a clean data set.
    """

    def __init__(self, root: Path, split: str, cache_images: bool = False) -> None:
        """Read and check the annotations; images are only looked for, not opened.

        Args:
            root: the data set folder.
            split: "train" or "val".
            cache_images: keep each image that `image` has read in memory; loader workers keep one copy each.

        Raises:
            SpinetError: folder, annotation file or image files are missing, or the file is not valid COCO.
        """
        self.root, self.split = root, split
        folder, self.annotation_file = _locate(root, split)
        raw = read_annotation_file(self.annotation_file)
        names = category_names(raw, self.annotation_file)
        images = image_entries(raw, self.annotation_file)
        check_annotations(raw, self.annotation_file, images, names)
        _check_image_files(images, folder)

        self.category_ids, self.class_names = tuple(names), tuple(names.values())
        boxes, self._kept, self.problems = _clip_boxes(raw["annotations"], images)
        self.samples = _samples(raw["annotations"], boxes, self._kept, images, self.category_ids, folder)
        # By image id, so that views of this data set share it.
        self._cache: dict[int, Tensor] | None = {} if cache_images else None
        self._keeps_truth = cache_images
        self._truth: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Tensor:
        """Return the image of `samples[index]` as uint8 RGB `(3, H, W)`.

        Raises:
            SpinetError: the file is broken or not of the annotated size.
        """
        sample = self.samples[index]
        if self._cache is not None and sample.image_id in self._cache:
            return self._cache[sample.image_id]
        image = read_image(sample.path, size=(sample.width, sample.height))
        if self._cache is not None:
            self._cache[sample.image_id] = image
        return image

    def subset(self, indices: Iterable[int]) -> "CocoDataset":
        """Return a view of the images at these places, with a ground truth of its own, read once.

        Decoded images are shared; `problems` stay those of the whole file.
        """
        view = copy(self)
        view.samples = [self.samples[index] for index in indices]
        view._keeps_truth, view._truth = True, None
        return view

    def ground_truth(self) -> dict[str, object]:
        """Return a COCO dict for the metric: the file's boxes (XYWH) and crowd regions, without the dropped.

        Masks stay; `area` and `iscrowd` are filled in where missing. Unless images are kept in memory too, the file
        is read again for every call, because keeping it would cost gigabytes for COCO's train split.
        """
        truth = self._truth or self._read_truth()
        if self._keeps_truth:
            self._truth = truth
        # The metric writes into the objects that it is given.
        return truth | {"annotations": [dict(entry) for entry in truth["annotations"]]}

    def _read_truth(self) -> dict[str, Any]:
        raw = read_annotation_file(self.annotation_file)
        ids = {sample.image_id for sample in self.samples}
        kept = (
            entry
            for entry, keep in zip(raw["annotations"], self._kept.tolist(), strict=True)
            if keep and int(entry["image_id"]) in ids
        )
        return {
            "info": raw.get("info", {}),
            "images": [image for image in raw["images"] if int(image["id"]) in ids],
            "categories": raw["categories"],
            # Numbered afresh from 1, because COCO's metric takes an object with id 0 for a missed one.
            "annotations": [_for_metric(entry, number) for number, entry in enumerate(kept, start=1)],
        }


def _locate(root: Path, split: str) -> tuple[Path, Path]:
    """Return the split's image folder and annotation file."""
    if split not in ("train", "val"):
        raise SpinetError(f"unknown split {split!r}; allowed are 'train' and 'val'")
    layout = f"expected are {split}/ and annotations/instances_{split}.json, or both with a year ({split}2017)"
    if not root.is_dir():
        raise SpinetError(f"there is no data set folder {root}; {layout}")
    names = sorted(entry.name for entry in root.iterdir())
    folders = [name for name in names if re.fullmatch(rf"{split}(\d{{4}})?", name) and (root / name).is_dir()]
    if not folders:
        found = ", ".join(names[:10]) or "nothing"
        raise SpinetError(f"{root} has no folder of {split} images; {layout}, found is {found}")
    files = {folder: root / "annotations" / f"instances_{folder}.json" for folder in folders}
    complete = [folder for folder, file in files.items() if file.is_file()]
    if not complete:
        raise SpinetError(f"the annotation file {files[folders[0]]} is missing; {layout}")
    if len(complete) > 1 and split not in complete:
        raise SpinetError(f"{root} has {' and '.join(complete)}; allowed is one annotated {split} folder")
    # Sorting has put the folder without a year first.
    return root / complete[0], files[complete[0]]


def _check_image_files(images: dict[int, Entry], folder: Path) -> None:
    # One listing, because asking for each of COCO's 118,287 files takes minutes on a network disk.
    present = {entry.name for entry in folder.iterdir()}
    names = [image["file_name"] for image in images.values()]
    missing = [name for name in names if name not in present and not (folder / name).is_file()]
    if missing:
        count = f"{len(missing):,} of {len(names):,}"
        raise SpinetError(f"{count} image files are missing, the first one is {folder / missing[0]}")


def _clip_boxes(annotations: list[Entry], images: dict[int, Entry]) -> tuple[Tensor, Tensor, dict[str, int]]:
    """Return XYXY boxes `(A, 4)` clipped to their images, which of them to keep `(A,)`, and problems."""
    xywh = torch.tensor([entry["bbox"] for entry in annotations], dtype=torch.float64).view(-1, 4)
    owners = [images[entry["image_id"]] for entry in annotations]
    limits = torch.tensor([[image["width"], image["height"]] for image in owners]).view(-1, 2).repeat(1, 2)
    corners = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1).float()
    clipped = corners.clamp(min=0).minimum(limits)

    has_area, kept = _has_area(corners), _has_area(clipped)
    problems = {
        "boxes of zero area dropped": ~has_area,
        "boxes outside their image dropped": has_area & ~kept,
        "boxes clipped to their image": kept & ((clipped - corners).abs() > ROUNDING).any(dim=1),
    }
    counts = {name: int(found.sum()) for name, found in problems.items()}
    return clipped, kept, {name: count for name, count in counts.items() if count}


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def _samples(
    annotations: list[Entry],
    boxes: Tensor,
    kept: Tensor,
    images: dict[int, Entry],
    category_ids: tuple[int, ...],
    folder: Path,
) -> list[Sample]:
    """Group the kept objects by image."""
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    position_of = {image_id: position for position, image_id in enumerate(images)}
    labels = torch.tensor([label_of[entry["category_id"]] for entry in annotations], dtype=torch.int64)
    owners = torch.tensor([position_of[entry["image_id"]] for entry in annotations], dtype=torch.int64)
    crowd = torch.tensor([bool(entry.get("iscrowd")) for entry in annotations], dtype=torch.bool)

    objects = (kept & ~crowd).nonzero().squeeze(1)
    objects = objects[owners[objects].argsort(stable=True)]
    counts = owners[objects].bincount(minlength=len(images)).tolist()
    groups = zip(torch.split(boxes[objects], counts), torch.split(labels[objects], counts), strict=True)
    return [
        Sample(image_id, folder / image["file_name"], int(image["width"]), int(image["height"]), *group)
        for (image_id, image), group in zip(images.items(), groups, strict=True)
    ]


def _for_metric(annotation: Entry, number: int) -> dict[str, Any]:
    _, _, width, height = annotation["bbox"]
    area = annotation.get("area")
    return {key: value for key, value in annotation.items() if key != "ignore"} | {
        "id": number,
        "iscrowd": int(bool(annotation.get("iscrowd"))),
        "area": width * height if area is None else area,
    }
