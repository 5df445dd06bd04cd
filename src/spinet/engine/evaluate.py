"""Detections over a data set, and COCO's metrics of them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired, TypedDict

import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from spinet.data.coco import CocoDataset
from spinet.data.findings import some
from spinet.data.loader import eval_loader
from spinet.data.mask_crops import paste_masks
from spinet.data.masks import Rle, as_rle, read_mask
from spinet.data.stream import Batch
from spinet.data.transforms import EvalTransform
from spinet.engine.build import AnyDetector, Detector
from spinet.engine.checkpoint import ModelInfo
from spinet.engine.distributed import Processes
from spinet.errors import SpinetError
from spinet.models.detections import Detections

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

# One detection in COCO's results format: image_id, category_id, bbox (x, y, width, height), score and, where the
# detector finds masks, segmentation (RLE).
CocoResult = dict[str, Any]


class PhotoDetections(TypedDict):
    """What was found in one photo, best first.

    Attributes:
        boxes: `(D, 4)` XYXY in pixels of the photo, inside it.
        scores: `(D,)`.
        labels: `(D,)`.
        masks: D masks of the whole photo; absent where only boxes are found.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: NotRequired[list[Rle]]


def in_photo(found: Detections, scale: Tensor, height: int, width: int) -> PhotoDetections:
    """Bring what a network found in its input back to the photo, on the CPU.

    Args:
        found: boxes in pixels of the network's input.
        scale: `(2,)`, (x, y): input divided by photo.
        height: of the photo, in pixels.
        width: of the photo, in pixels.
    """
    boxes = found["boxes"].cpu() / scale.repeat(2)
    limit = torch.tensor([width, height, width, height])
    placed = PhotoDetections(
        boxes=boxes.clamp(min=0).minimum(limit), scores=found["scores"].cpu(), labels=found["labels"].cpu()
    )
    if "masks" in found:
        # In the boxes as they were found: what reaches out of the photo is cut off, not pressed into it.
        placed["masks"] = paste_masks(found["masks"], boxes, height, width)
    return placed


def coco_results(detections: Iterable[Detections], batch: Batch, category_ids: tuple[int, ...]) -> list[CocoResult]:
    """Turn a batch's detections into COCO results, in the pixels of the original images."""
    results: list[CocoResult] = []
    for found, image_id, scale, size in zip(
        detections, batch.image_ids.tolist(), batch.scales, batch.sizes, strict=True
    ):
        placed = in_photo(found, scale, *size.tolist())
        boxes = placed["boxes"]
        boxes[:, 2:] -= boxes[:, :2]
        objects = zip(boxes.tolist(), placed["scores"].tolist(), placed["labels"].tolist(), strict=True)
        new: list[CocoResult] = [
            {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
            for box, score, label in objects
        ]
        for result, mask in zip(new, placed.get("masks", ()), strict=False):
            result["segmentation"] = mask
        results += new
    return results


def detect(
    model: AnyDetector,
    dataset: CocoDataset,
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    bf16: bool = False,
    processes: Processes | None = None,
    category_ids: tuple[int, ...] | None = None,
) -> list[CocoResult]:
    """Run `model` over every image of `dataset`, split among the processes, and return all COCO results.

    `image_size` is the side of the square that photos are fitted into, or its height and width, in pixels.
    `category_ids` are those of the model's labels if it knows other classes too; these are left out.
    """
    processes = processes or Processes()
    loader = eval_loader(
        dataset,
        EvalTransform(image_size),
        batch_size=batch_size,
        rank=processes.rank,
        world_size=processes.count,
        workers=workers,
    )
    training = model.training
    model.eval()
    results: list[CocoResult] = []
    for batch in loader:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = model.predict(batch.images.to(device))
        results += coco_results(found, batch, category_ids or dataset.category_ids)
    if category_ids:
        results = [result for result in results if result["category_id"] in dataset.category_ids]
    model.train(training)
    return processes.gather(results)


def coco_metrics(ground_truth: Mapping[str, Any], results: list[CocoResult], masks: bool = False) -> dict[str, float]:
    """COCO's twelve numbers for boxes, and `AP/<class>` for every class; NaN where there is nothing to find.

    Where results have masks, the same numbers of the masks follow as `mask/AP`, ..., `mask/AP/<class>`, unless none of
    the annotations has a mask. As in COCO's own files of mask results, a found mask is as large as its pixels are
    many, not as its box.

    Args:
        ground_truth: a COCO dict with images, categories and annotations.
        results: detections in COCO's results format.
        masks: give the numbers of masks even if nothing was found.

    Raises:
        SpinetError: results have masks, but only some of the annotations, or broken ones.
    """
    masks = _any_masks(results, masks) and _any_masks(ground_truth["annotations"], True)
    boxes = [{key: value for key, value in result.items() if key != "segmentation"} for result in results]
    metrics = _coco_numbers(ground_truth, boxes, "bbox")
    if masks:
        found = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
        numbers = _coco_numbers(_with_masks(ground_truth), found, "segm")
        metrics |= {f"mask/{name}": value for name, value in numbers.items()}
    return metrics


def _any_masks(entries: list[dict[str, Any]], if_empty: bool) -> bool:
    return any(entry.get("segmentation") for entry in entries) or (if_empty and not entries)


def _coco_numbers(
    ground_truth: Mapping[str, Any], results: list[CocoResult], kind: Literal["bbox", "segm"]
) -> dict[str, float]:
    truth = COCO(dict(ground_truth))
    evaluation = COCOeval_faster(truth, truth.loadRes(results), iouType=kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = {name: _known(value) for name, value in zip(METRICS, evaluation.stats, strict=False)}
    # Axes: overlap threshold, recall, class, object size, detections per image.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    for column, category in enumerate(evaluation.params.catIds):
        found = precision[:, :, column]
        name = f"AP/{truth.cats[category]['name']}"
        metrics[name] = float(found[found > -1].mean()) if (found > -1).any() else math.nan
    return metrics


def _with_masks(ground_truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return the truth with all masks as checked RLE, because the metric does not end on some broken ones."""
    sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in ground_truth["images"]}
    annotations = []
    for entry in ground_truth["annotations"]:
        size = sizes[entry["image_id"]]
        try:
            mask = as_rle(read_mask(entry.get("segmentation"), *size), *size)
        except ValueError as error:
            raise SpinetError(f"an annotation of image {entry['image_id']}, {entry['bbox']}, {error}") from error
        annotations.append(entry | {"segmentation": mask})
    return {**ground_truth, "annotations": annotations}


def evaluate(
    model: AnyDetector,
    dataset: CocoDataset,
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    bf16: bool = False,
    processes: Processes | None = None,
    category_ids: tuple[int, ...] | None = None,
) -> dict[str, float]:
    """Return COCO's metrics of `model` on `dataset`; the same in every process. See `detect` for the arguments.

    Those of masks are among them where the model finds masks; `dataset` has to have them in its file then.

    >>> METRICS[:3]
    ('AP', 'AP50', 'AP75')
    """
    processes = processes or Processes()
    results = detect(
        model,
        dataset,
        image_size=image_size,
        batch_size=batch_size,
        device=device,
        workers=workers,
        bf16=bf16,
        processes=processes,
        category_ids=category_ids,
    )
    return measure(dataset, results, processes)


def measure(dataset: CocoDataset, results: list[CocoResult], processes: Processes) -> dict[str, float]:
    """Return COCO's metrics of the results of all processes, the same in every process."""
    metrics = coco_metrics(dataset.ground_truth(), results, dataset.has_masks) if processes.is_main else {}
    return processes.broadcast(metrics)


@torch.no_grad()
def mean_loss(
    model: Detector,
    dataset: CocoDataset,
    *,
    image_size: int,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    bf16: bool = False,
) -> float:
    """Return the loss of `model` in evaluation mode, as in training but without chance: the mean over the images."""
    training = model.training
    model.eval()
    total = 0.0
    for batch in eval_loader(dataset, EvalTransform(image_size), batch_size=batch_size, workers=workers):
        targets = {name: value.to(device) for name, value in batch.targets.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            losses = model.losses(batch.images.to(device), targets)
        total += float(torch.stack(list(losses.values())).sum()) * len(batch.images)
    model.train(training)
    return total / len(dataset)


def check_classes(info: ModelInfo, dataset: CocoDataset, where: str) -> None:
    """Raise unless the network that `where` names tells the data set's classes apart.

    It may know more classes, as published weights do, when those that both have carry the same names.
    """
    known = dict(zip(info.category_ids, info.class_names, strict=True))
    asked = dict(zip(dataset.category_ids, dataset.class_names, strict=True))
    if not asked.items() <= known.items():
        raise SpinetError(
            f"{where} was trained on {len(info.category_ids)} classes ({some(info.class_names, 3)}), but "
            f"{dataset.annotation_file} has {len(dataset.category_ids)} ({some(dataset.class_names, 3)})"
        )


def _known(value: float) -> float:
    return math.nan if value < 0 else float(value)
