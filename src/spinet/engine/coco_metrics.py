"""COCO's metrics of detections, of boxes and of masks."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from faster_coco_eval import COCO, COCOeval_faster

from spinet.data.masks import as_rle, read_mask
from spinet.data.objects import SYSTEMATIC
from spinet.errors import SpinetError

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

# One detection in COCO's results format: image_id, category_id, bbox (x, y, width, height), score and, from detectors
# with masks, segmentation (RLE).
CocoResult = dict[str, Any]


def coco_metrics(ground_truth: Mapping[str, Any], results: list[CocoResult], masks: bool = False) -> dict[str, float]:
    """Return COCO's twelve box metrics and `AP/<class>`, from 0 to 1; NaN where there is no ground truth.

    Where results have masks and the annotations do too, `mask/AP`, ..., `mask/AP/<class>` follow. The area of a
    predicted mask is its number of pixels, not that of its box, as in COCO's own mask results. `masks` asks for mask
    metrics even without any detection.

    >>> METRICS[:3]
    ('AP', 'AP50', 'AP75')
    """
    masks = _any_masks(results, masks) and _any_masks(ground_truth["annotations"], True)
    boxes = [{key: value for key, value in result.items() if key != "segmentation"} for result in results]
    metrics = _coco_numbers(ground_truth, boxes, "bbox")
    if masks:
        segments = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
        numbers = _coco_numbers(_with_masks(ground_truth), segments, "segm")
        metrics |= {f"mask/{name}": value for name, value in numbers.items()}
    return metrics


def _any_masks(entries: list[dict[str, Any]], if_empty: bool) -> bool:
    return any(entry.get("segmentation") for entry in entries) or (if_empty and not entries)


def _coco_numbers(
    ground_truth: Mapping[str, Any], results: list[CocoResult], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    ground_truth, results, ids = _numbered(ground_truth, results, kind)
    truth = COCO(ground_truth)
    evaluation = COCOeval_faster(truth, truth.loadRes(results), iouType=kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    # -1 stands for no ground truth.
    stats = zip(METRICS, evaluation.stats, strict=False)
    metrics = {name: math.nan if value < 0 else float(value) for name, value in stats}
    # Axes: overlap threshold, recall, class, object size, detections per image.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    twice = {name for name, count in Counter(entry["name"] for entry in truth.cats.values()).items() if count > 1}
    for column, category in enumerate(evaluation.params.catIds):
        values = precision[:, :, column]
        name = truth.cats[category]["name"]
        name = f"AP/{name} ({ids[category]})" if name in twice else f"AP/{name}"
        metrics[name] = float(values[values > -1].mean()) if (values > -1).any() else math.nan
    return metrics


def _numbered(
    ground_truth: Mapping[str, Any], results: list[CocoResult], kind: str
) -> tuple[dict[str, Any], list[CocoResult], dict[int, int]]:
    """Number images and categories from 1, in the order of their ids, and return the ids of the categories.

    The metric keeps ids as doubles, in which those above 2^53 run into each other.
    """
    images, categories = (
        {id_: number for number, id_ in enumerate(sorted(entry["id"] for entry in ground_truth[key]), start=1)}
        for key in ("images", "categories")
    )

    def renumbered(entry: dict[str, Any]) -> dict[str, Any]:
        numbers = {"image_id": images[entry["image_id"]], "category_id": categories[entry["category_id"]]}
        return entry | numbers

    truth = {
        **ground_truth,
        "images": [entry | {"id": images[entry["id"]]} for entry in ground_truth["images"]],
        "categories": [entry | {"id": categories[entry["id"]]} for entry in ground_truth["categories"]],
        "annotations": [renumbered(entry) for entry in _plain(ground_truth["annotations"], kind)],
    }
    known = [renumbered(entry) for entry in results if entry["category_id"] in categories]
    return truth, known, {number: id_ for id_, number in categories.items()}


def _plain(annotations: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Leave out the masks for metrics of boxes: the metric looks at them, and invalid ones stop it."""
    if kind == "segm":
        return annotations
    return [{key: value for key, value in entry.items() if key != "segmentation"} for entry in annotations]


def _with_masks(ground_truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ground truth with all masks as validated RLE: the metric never returns on some invalid ones."""
    sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in ground_truth["images"]}
    annotations = []
    faults = []
    for entry in ground_truth["annotations"]:
        size = sizes[entry["image_id"]]
        try:
            mask = as_rle(read_mask(entry.get("segmentation"), *size), *size)
        except ValueError as error:
            faults.append(f"an annotation of image {entry['image_id']}, {entry['bbox']}, {error}")
            continue
        annotations.append(entry | {"segmentation": mask})
    # As in training, where single objects without a valid mask are dropped.
    if len(faults) > SYSTEMATIC * len(ground_truth["annotations"]):
        raise SpinetError(faults[0])
    return {**ground_truth, "annotations": annotations}
