"""Datasets in COCO format or converted to it: validated when opened, and read image by image."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from spinet.data.dataset import ImageDataset
from spinet.data.objects import ObjectTable, Sample, far_outside, object_table, read_masks
from spinet.data.truth import ground_truth
from spinet.errors import SpinetError, quoted
from spinet.formats.annotations import Entry, category_names, check_annotations, image_entries
from spinet.formats.findings import Finding, repeated_files
from spinet.formats.images import readable_sizes
from spinet.formats.layouts import read_split

REPEATED = "each entry makes background of the objects of the others"


class CocoDataset(ImageDataset):
    """One split of a dataset folder in COCO, YOLO or Pascal VOC format; see `spinet.formats.layouts` for the layouts.

    Attributes:
        root: the dataset folder.
        split: "train" or "val".
        has_masks: whether samples have masks.
        outlined: whether any annotation has a mask, requested or not.
        annotation_file: the file that lists the split's images or its classes, for messages.
        samples: one `Sample` per image, in the file's order, including images without objects, but not those whose
            size the file does not say and whose header cannot be read.
        class_names: name of each label.
        category_ids: COCO category id of each label, ascending.
        problems: counts of what was dropped, clipped or repaired; empty for a clean dataset.
        examples: an image for each problem.
        details: a sentence about the first annotation with a problem, for some of them.
        far_outside: number of boxes that lost more than a tenth of their area by clipping.
        annotated: number of annotations, including dropped ones and crowd regions.
        crowd_regions: number of annotations used by the metric only.
        format: "COCO", "YOLO" or "Pascal VOC".
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
        self.annotation_file, folder, raw, self.format = read.file, read.folder, read.raw, read.format
        self.outlined = any(entry.get("segmentation") for entry in raw["annotations"])
        names = category_names(raw, self.annotation_file)
        images = image_entries(raw, self.annotation_file)
        self._listed = len(raw["annotations"])
        self._valid, invalid = check_annotations(raw, self.annotation_file, images, names, split)
        paths = [folder / image["file_name"] for image in images.values()]
        broken = _fill_in_sizes(images, paths, split)
        self.findings = [*read.findings, *invalid, *repeated_files(split, paths, REPEATED), *broken]

        self.category_ids, self.class_names = tuple(names), tuple(names.values())
        self._table, problems = object_table(raw["annotations"], images, self.category_ids)
        self._details: dict[str, str] = {}
        self._of_boxes = self._table.kept, problems
        outlines: list[bytes] | None = None
        if masks:
            outlines, kept, more, self._details = read_masks(read, self._table.kept, images)
            self._table, problems = self._table._replace(kept=kept), problems | more
        self._problems, self._paths = problems, paths
        samples = _samples(self._table, outlines, images, paths)
        self.samples = [sample for sample in samples if sample.width]
        self._count()
        self._keeps_truth = cache_images
        self._truth: dict[str, Any] | None = None

    def _count(self) -> None:
        """Count the annotations of the samples and their problems."""
        table = self._table
        mine = torch.isin(table.owners, torch.tensor([sample.number - 1 for sample in self.samples], dtype=torch.int64))
        self.annotated, self.far_outside = int(mine.sum()), int((far_outside(table) & mine).sum())
        self.crowd_regions = int((table.kept & table.crowd & mine).sum())
        first = {name: (mask & mine).int().argmax() for name, mask in self._problems.items() if (mask & mine).any()}
        self.problems = {name: int((self._problems[name] & mine).sum()) for name in first}
        self.examples = {name: self._paths[int(table.owners[index])] for name, index in first.items()}
        # What a sentence is about, the first annotation of the file, may be of another part of it.
        told = {name for name, index in first.items() if index == self._problems[name].int().argmax()}
        self.details = {name: text for name, text in self._details.items() if name in told}

    def image(self, index: int) -> Tensor:
        """Return the image of `samples[index]` as uint8 RGB `(3, H, W)`.

        Raises:
            SpinetError: the file is corrupt or does not have the annotated size.
        """
        sample = self.samples[index]
        return self._read(sample, (sample.width, sample.height))

    def subset(self, indices: Iterable[int]) -> Self:
        """Return a view of the images at these indices with its own ground truth and problems."""
        view = super().subset(indices)
        view._keeps_truth, view._truth = True, None
        view._count()
        return view

    def without_masks(self) -> Self:
        """Return a view with boxes only, which also has the objects that were dropped for their masks."""
        if not self.has_masks:
            return self
        view = copy(self)
        kept, view._problems = self._of_boxes
        view.has_masks, view._table, view._details = False, self._table._replace(kept=kept), {}
        boxes, labels = _by_image(view._table, len(self._paths))
        view.samples = [
            replace(sample, boxes=boxes[sample.number - 1], labels=labels[sample.number - 1], masks=None)
            for sample in self.samples
        ]
        view._truth = None
        view._count()
        return view

    def with_classes(self, category_ids: tuple[int, ...], class_names: tuple[str, ...]) -> Self:
        """Return a view with the labels of these classes, which include all of this split's."""
        if (category_ids, class_names) == (self.category_ids, self.class_names):
            return self
        label_of = {category_id: label for label, category_id in enumerate(category_ids)}
        labels = torch.tensor([label_of[category_id] for category_id in self.category_ids])
        view = copy(self)
        view.category_ids, view.class_names, view._truth = category_ids, class_names, None
        view.samples = [replace(sample, labels=labels[sample.labels]) for sample in self.samples]
        view._table = self._table._replace(labels=labels[self._table.labels])
        return view

    def for_metric(self) -> tuple[Tensor, Tensor]:
        """Return what only the metric uses, as float64: crowds `(C, 6)` of image, label and XYWH, and areas `(A,)`."""
        table = self._table
        regions = torch.cat([torch.stack([table.owners, table.labels], dim=1), table.xywh], dim=1)
        return regions[table.kept & table.crowd], table.areas[table.kept]

    def ground_truth(self) -> dict[str, object]:
        """Return a COCO dict for the metric: boxes (XYWH), masks and crowd regions, without dropped annotations.

        Ids of images and categories are those of the file. Unless images are cached, masks are read again from the
        file: keeping them would cost gigabytes for COCO's train split.

        Raises:
            SpinetError: the file has changed since the dataset was opened.
        """
        truth = self._truth or self._read_truth()
        if self._keeps_truth:
            self._truth = truth
        # The metric modifies the annotations.
        return truth | {"annotations": [dict(entry) for entry in truth["annotations"]]}

    def _read_truth(self) -> dict[str, Any]:
        segmentations = None
        if self.outlined:
            sizes = {sample.path: (sample.width, sample.height) for sample in self.samples}
            annotations = read_split(self.root, self._read_as, sizes).raw["annotations"]
            if len(annotations) != self._listed:
                raise SpinetError(f"{self.annotation_file} has changed since it was opened; start again")
            segmentations = [annotations[index].get("segmentation") for index in self._valid]
        classes = dict(zip(self.category_ids, self.class_names, strict=True))
        return ground_truth(self._table, self.samples, classes, segmentations)


def unknown_classes(train: CocoDataset, val: CocoDataset) -> str:
    """Return a sentence that names a category of `val` that `train` lacks or names differently, or an empty string."""
    known = dict(zip(train.category_ids, train.class_names, strict=True))
    id_of = {name: category_id for category_id, name in known.items()}
    for category_id, name in zip(val.category_ids, val.class_names, strict=True):
        if known.get(category_id) == name:
            continue
        if category_id in known:
            there = f"but {quoted(known[category_id])} in train"
        elif name in id_of:
            there = f"but its id is {quoted(id_of[name])} in train"
        else:
            there = "which train does not have"
        here = f"category {quoted(category_id)} of {val.annotation_file} is {quoted(name)}"
        return f"train and val do not list the same categories: {here}, {there}"
    return ""


def _fill_in_sizes(images: Mapping[int, Entry], paths: Sequence[Path], split: str) -> list[Finding]:
    """Read the sizes that the file does not say from the headers of the images; what cannot be read has none."""
    unknown = [(path, image) for path, image in zip(paths, images.values(), strict=True) if not image["width"]]
    sizes, findings = readable_sizes(dict.fromkeys(path for path, _ in unknown), {}, split, len(paths))
    for path, image in unknown:
        image["width"], image["height"] = sizes.get(path, (0, 0))
    return findings


def _samples(
    table: ObjectTable, outlines: list[bytes] | None, images: Mapping[int, Entry], paths: Sequence[Path]
) -> list[Sample]:
    """Group the objects to train on by image."""
    groups = zip(*_by_image(table, len(images)), strict=True)
    samples = [
        Sample(image_id, path, image["width"], image["height"], *group, number=number)
        for number, ((image_id, image), path, group) in enumerate(zip(images.items(), paths, groups, strict=True), 1)
    ]
    if outlines is None:
        return samples
    ordered = iter([outlines[index] for index in table.objects().tolist()])
    return [replace(sample, masks=tuple(islice(ordered, len(sample.labels)))) for sample in samples]


def _by_image(table: ObjectTable, images: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the boxes and the labels of the objects to train on in each of so many images."""
    objects = table.objects()
    counts = table.owners[objects].bincount(minlength=images).tolist()
    return torch.split(table.boxes[objects], counts), torch.split(table.labels[objects], counts)
