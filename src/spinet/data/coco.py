"""Datasets in COCO format or converted to it: validated when opened, and read image by image."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from spinet.data.annotations import Entry, RawSplit, category_names, check_annotations, image_entries
from spinet.data.dataset import ImageDataset
from spinet.data.findings import of
from spinet.data.formats import read_split
from spinet.data.masks import is_empty, read_mask
from spinet.errors import SpinetError

# Files round coordinates (COCO's own to 0.01 pixel), which moves box edges outside by at most this much.
ROUNDING = 0.1
NO_PIXEL = "masks without a pixel"


@dataclass(frozen=True)
class Sample:
    """One image and its objects; crowd regions are left out.

    Attributes:
        image_id: the image's id in the annotation file.
        path: the image file.
        width: in pixels, from the annotation file.
        height: in pixels, from the annotation file.
        boxes: float32 `(N, 4)`, XYXY in pixels, inside the image and not empty.
        labels: int64 `(N,)`, indices into `CocoDataset.category_ids`.
        masks: N masks of the whole image as COCO's compressed run lengths; `None` unless requested.
    """

    image_id: int
    path: Path
    width: int
    height: int
    boxes: Tensor
    labels: Tensor
    masks: tuple[bytes, ...] | None = None


class CocoDataset(ImageDataset):
    """One split of a dataset folder in COCO, YOLO or Pascal VOC format; see `spinet.data.formats` for the layouts.

    Attributes:
        root: the dataset folder.
        split: "train" or "val".
        has_masks: whether samples have masks.
        outlined: whether any annotation has a mask, requested or not.
        annotation_file: the file that lists the split's images or its classes, for messages.
        samples: one `Sample` per image, in the file's order, including images without objects.
        class_names: name of each label.
        category_ids: COCO category id of each label, ascending.
        problems: counts of what was dropped or clipped; empty for a clean dataset.
        examples: an image for each problem.
        annotated: number of annotations, including dropped ones and crowd regions.
        crowd_regions: number of annotations used by the metric only.
    """

    samples: list[Sample]

    def __init__(self, root: str | Path, split: str, cache_images: bool = False, masks: bool = False) -> None:
        """Read and validate the annotations; images are not opened.

        Args:
            root: the dataset folder.
            split: "train" or "val".
            cache_images: keep decoded images in memory; each loader worker keeps its own copy.
            masks: read and validate masks too, also of crowd regions; without it, invalid ones are ignored.

        Raises:
            SpinetError: folder, annotations, image files or requested masks are missing or invalid.
        """
        super().__init__(root, split, cache_images)
        self.has_masks = masks
        read = read_split(self.root, split)
        self.annotation_file, folder, raw, self.findings = read.file, read.folder, read.raw, read.findings
        self.outlined = any(entry.get("segmentation") for entry in raw["annotations"])
        names = category_names(raw, self.annotation_file)
        images = image_entries(raw, self.annotation_file)
        check_annotations(raw, self.annotation_file, images, names)

        self.category_ids, self.class_names = tuple(names), tuple(names.values())
        boxes, self._kept, problems = _clip_boxes(raw["annotations"], images)
        outlines: list[bytes] | None = None
        if masks:
            outlines, problems[NO_PIXEL] = _read_masks(read, self._kept, images)
        self.problems = {name: int(mask.sum()) for name, mask in problems.items() if mask.any()}
        owners = {name: raw["annotations"][int(problems[name].int().argmax())]["image_id"] for name in self.problems}
        self.examples = {name: folder / images[owner]["file_name"] for name, owner in owners.items()}
        self.samples = _samples(raw["annotations"], boxes, self._kept, outlines, images, self.category_ids, folder)
        self.annotated = len(self._kept)
        self.crowd_regions = int(self._kept.sum()) - sum(len(sample.labels) for sample in self.samples)
        self._keeps_truth = cache_images
        self._truth: dict[str, Any] | None = None

    def image(self, index: int) -> Tensor:
        """Return the image of `samples[index]` as uint8 RGB `(3, H, W)`.

        Raises:
            SpinetError: the file is corrupt or does not have the annotated size.
        """
        sample = self.samples[index]
        return self._read(sample, (sample.width, sample.height))

    def subset(self, indices: Iterable[int]) -> Self:
        """Return a view of the images at these indices with its own ground truth; `problems` stay those of the file."""
        view = super().subset(indices)
        view._keeps_truth, view._truth = True, None
        return view

    def ground_truth(self) -> dict[str, object]:
        """Return a COCO dict for the metric: boxes (XYWH), masks and crowd regions, without dropped annotations.

        Unless images are cached, the file is read again: keeping it would cost gigabytes for COCO's train split.
        """
        truth = self._truth or self._read_truth()
        if self._keeps_truth:
            self._truth = truth
        # The metric modifies the annotations.
        return truth | {"annotations": [dict(entry) for entry in truth["annotations"]]}

    def _read_truth(self) -> dict[str, Any]:
        sizes = {sample.path: (sample.width, sample.height) for sample in self.samples}
        raw = read_split(self.root, self._read_as, sizes).raw
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
            # Renumbered from 1, because COCO's metric counts an object with id 0 as missed.
            "annotations": [_for_metric(entry, number) for number, entry in enumerate(kept, start=1)],
        }


def _clip_boxes(annotations: list[Entry], images: dict[int, Entry]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return XYXY boxes `(A, 4)` clipped to their images, which to keep `(A,)`, and which have each problem `(A,)`."""
    xywh = torch.tensor([entry["bbox"] for entry in annotations], dtype=torch.float64).view(-1, 4)
    owners = [images[entry["image_id"]] for entry in annotations]
    limits = torch.tensor([[image["width"], image["height"]] for image in owners]).view(-1, 2).repeat(1, 2)
    corners = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1).float()
    clipped = corners.clamp(min=0).minimum(limits)

    has_area, kept = _has_area(corners), _has_area(clipped)
    return (
        clipped,
        kept,
        {
            "boxes of zero area dropped": ~has_area,
            "boxes outside their image dropped": has_area & ~kept,
            "boxes clipped to their image": kept & ((clipped - corners).abs() > ROUNDING).any(dim=1),
        },
    )


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def _read_masks(read: RawSplit, kept: Tensor, images: dict[int, Entry]) -> tuple[list[bytes], Tensor]:
    """Return masks `(A,)` of the kept annotations, empty bytes for others, and which have no pixel `(A,)`."""
    annotations = read.raw["annotations"]
    if kept.any() and not any(entry.get("segmentation") for entry in annotations):
        raise SpinetError(
            f"{read.file} has no masks; Mask R-CNN needs a segmentation (polygons or RLE) for each object, "
            "other detectors need boxes only"
        )
    masks, empty = [b""] * len(annotations), torch.zeros(len(annotations), dtype=torch.bool)
    faults: list[str] = []
    for index in kept.nonzero().squeeze(1).tolist():
        entry = annotations[index]
        height, width = (int(images[entry["image_id"]][side]) for side in ("height", "width"))
        try:
            masks[index] = read_mask(entry.get("segmentation"), height, width)
        except ValueError as error:
            faults.append(f"{read.annotation(index)} {error}")
            continue
        empty[index] = is_empty(masks[index], height, width)
    if faults:
        more = f" (missing or invalid masks in total: {of(len(faults), int(kept.sum()))})" if len(faults) > 1 else ""
        raise SpinetError(f"{faults[0]}{more}")
    return masks, empty


def _samples(
    annotations: list[Entry],
    boxes: Tensor,
    kept: Tensor,
    outlines: list[bytes] | None,
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
    samples = [
        Sample(image_id, folder / image["file_name"], int(image["width"]), int(image["height"]), *group)
        for (image_id, image), group in zip(images.items(), groups, strict=True)
    ]
    if outlines is None:
        return samples
    ordered = iter([outlines[index] for index in objects.tolist()])
    return [replace(sample, masks=tuple(islice(ordered, count))) for sample, count in zip(samples, counts, strict=True)]


def _for_metric(annotation: Entry, number: int) -> dict[str, Any]:
    _, _, width, height = annotation["bbox"]
    area = annotation.get("area")
    return {key: value for key, value in annotation.items() if key != "ignore"} | {
        "id": number,
        "iscrowd": int(bool(annotation.get("iscrowd"))),
        "area": width * height if area is None else area,
    }
