"""What an evaluation leaves for reports and comparisons: a `Record` of its ground truth and predictions."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import faster_coco_eval.mask_api_new_cpp as mask_api
import numpy as np

from spinet.analysis.records import ClassRecord, DetectionRecord, Objects
from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.data.masks import read_mask
from spinet.engine.coco_metrics import CocoResult

# In a run folder: the record of best.safetensors on the val split.
RECORD = "val.npz"


def detection_record(
    dataset: CocoDataset, truth: Mapping[str, Any], results: Sequence[CocoResult], step: int
) -> DetectionRecord:
    """Return the record of a detector's results; `truth` is the dataset's ground truth."""
    samples = sorted(dataset.samples, key=lambda sample: sample.image_id)
    index_of = {sample.image_id: index for index, sample in enumerate(samples)}
    label_of = {id_: label for label, id_ in enumerate(dataset.category_ids)}
    sizes = np.array([(sample.height, sample.width) for sample in samples], dtype=np.int64).reshape(-1, 2)
    masks = any("segmentation" in result for result in results) or (not results and dataset.has_masks)
    segmented = masks and dataset.outlined

    def objects(entries: Sequence[Mapping[str, Any]], outlines: list[bytes] | None) -> Objects:
        owners = np.array([index_of[entry["image_id"]] for entry in entries], dtype=np.int64)
        boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
        areas = [entry.get("area", entry["bbox"][2] * entry["bbox"][3]) for entry in entries]
        if outlines is not None and entries and "score" in entries[0]:
            areas = [int(area) for area in mask_api.area([entry["segmentation"] for entry in entries])]
        scores = np.array([entry.get("score", 1.0) for entry in entries], dtype=np.float64)
        crowd = np.array([entry.get("iscrowd", 0) for entry in entries], dtype=bool)
        labels = np.array([label_of[entry["category_id"]] for entry in entries], dtype=np.int64)
        whole = Objects(
            owners,
            labels,
            boxes,
            np.array(areas, dtype=np.float64),
            scores,
            crowd,
            None if outlines is None else tuple(outlines),
        )
        return whole[np.lexsort((-scores, owners))]

    annotations = truth["annotations"]
    shapes = {sample.image_id: (sample.height, sample.width) for sample in samples} if segmented else {}
    drawn = [_outline(entry, *shapes[entry["image_id"]]) for entry in annotations] if segmented else None
    found = [result["segmentation"]["counts"].encode() for result in results] if masks else None
    shared = (_relative(dataset, samples), unique_classes(dataset), step)
    return DetectionRecord(*shared, sizes, objects(annotations, drawn), objects(results, found))


def class_record(dataset: ClassDataset, rows: Sequence[tuple[int, list[int], list[float]]], step: int) -> ClassRecord:
    """Return the record of a classifier from (number of the image, its most probable labels, their scores)."""
    index_of = {sample.number: index for index, sample in enumerate(dataset.samples)}
    top = len(rows[0][1]) if rows else 0
    predicted, scores = np.full((len(index_of), top), -1), np.zeros((len(index_of), top))
    for number, best, values in rows:
        predicted[index_of[number]], scores[index_of[number]] = best, values
    labels = np.array([sample.label for sample in dataset.samples], dtype=np.int64)
    return ClassRecord(_relative(dataset, dataset.samples), unique_classes(dataset), step, labels, predicted, scores)


def unique_classes(dataset: ImageDataset) -> tuple[str, ...]:
    """Return the name of each label, with its category id where two names are the same."""
    twice = {name for name, count in Counter(dataset.class_names).items() if count > 1}
    pairs = zip(dataset.class_names, dataset.category_ids, strict=True)
    return tuple(f"{name} ({id_})" if name in twice else name for name, id_ in pairs)


def dataset_folder(root: Path) -> Path:
    """Return the folder that the paths of a record start from; the root of a YOLO dataset may be its YAML file."""
    return root.parent if root.is_file() else root


def _relative(dataset: ImageDataset, samples: Sequence[Any]) -> tuple[str, ...]:
    start = dataset_folder(dataset.root)
    return tuple(Path(os.path.relpath(sample.path, start)).as_posix() for sample in samples)


def _outline(entry: Mapping[str, Any], height: int, width: int) -> bytes:
    """Return the mask of an annotation, empty if it has no valid one."""
    try:
        return read_mask(entry.get("segmentation"), height, width)
    except ValueError:
        return b""
