"""Running a detector over a dataset, and COCO's metrics of its detections."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from spinet.data.batch import Batch
from spinet.data.coco import CocoDataset
from spinet.data.loader import DatasetT, ItemTransform, eval_loader
from spinet.data.mask_crops import paste_masks
from spinet.data.masks import Rle, as_rle, read_mask
from spinet.data.objects import SYSTEMATIC
from spinet.data.transforms import EvalTransform, shape_of
from spinet.engine.build import AnyDetector, Detector, ModelInfo
from spinet.engine.distributed import ProcessGroup
from spinet.engine.tta import Views, merge, mirror, mirror_back, unscale
from spinet.errors import SpinetError
from spinet.formats.findings import some
from spinet.models.detections import Detections

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

# One detection in COCO's results format: image_id, category_id, bbox (x, y, width, height), score and, from detectors
# with masks, segmentation (RLE).
CocoResult = dict[str, Any]


@dataclass(frozen=True)
class EvalOptions:
    """How to run a model over a dataset.

    Attributes:
        image_size: side of the square that images are fitted into, or its (height, width), in pixels.
        batch_size: images per batch and process.
        device: where the model is.
        workers: processes that load images, per scale of `views`; 0 loads in this one.
        bf16: autocast to bfloat16.
        views: test-time augmentation, for detectors; by default one plain view.
        group: the processes that share the images.
    """

    image_size: int | tuple[int, int]
    batch_size: int = 8
    device: torch.device | str = "cpu"
    workers: int = 0
    bf16: bool = False
    views: Views = field(default_factory=Views)
    group: ProcessGroup = field(default_factory=ProcessGroup)

    def loader(self, dataset: DatasetT, transform: ItemTransform[DatasetT]) -> Iterable[Batch]:
        """Return this process's batches."""
        group = self.group
        return eval_loader(
            dataset,
            transform,
            batch_size=self.batch_size,
            rank=group.rank,
            world_size=group.count,
            workers=self.workers,
        )

    def autocast(self) -> torch.autocast:
        """Return the context in which the model computes."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16)


class ImageDetections(TypedDict):
    """Detections in one image, highest score first.

    Attributes:
        boxes: `(D, 4)` XYXY in pixels of the image file, inside it.
        scores: `(D,)`.
        labels: `(D,)`.
        masks: D masks of the whole image; absent from detectors without masks.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: NotRequired[list[Rle]]


def to_image(detections: Detections, scale: Tensor, height: int, width: int) -> ImageDetections:
    """Map a network's detections to pixels of the image file, on the CPU; `scale` is as in `unscale`."""
    return _clip(unscale(detections, scale), height, width)


def _clip(detections: Detections, height: int, width: int) -> ImageDetections:
    boxes = detections["boxes"]
    limit = torch.tensor([width, height, width, height])
    clipped = ImageDetections(
        boxes=boxes.clamp(min=0).minimum(limit), scores=detections["scores"], labels=detections["labels"]
    )
    if "masks" in detections:
        # Pasted into the boxes before clipping: a mask is cut at the edge of the image, not squeezed into it.
        clipped["masks"] = paste_masks(detections["masks"], boxes, height, width)
    return clipped


def detect(
    model: AnyDetector, dataset: CocoDataset, options: EvalOptions, category_ids: tuple[int, ...] | None = None
) -> list[CocoResult]:
    """Run `model` over every image of `dataset` and return the COCO results of all processes.

    Each scale is resized from the image file, as a plain evaluation at that size would be, and the views' detections
    are merged. `category_ids` are those of the model's labels, if it has more classes than the dataset; results of the
    others are dropped.
    """
    height, width = shape_of(options.image_size)
    loaders = [
        options.loader(dataset, EvalTransform((max(round(height * scale), 1), max(round(width * scale), 1))))
        for scale in options.views.scales
    ]
    training = model.training
    model.eval()
    image_ids = {sample.number: sample.image_id for sample in dataset.samples}
    results: list[CocoResult] = []
    for batches in zip(*loaders, strict=True):
        views = [view for batch in batches for view in _predict_views(model, batch, options)]
        first = batches[0]
        for number, size, *seen in zip(first.image_ids.tolist(), first.sizes.tolist(), *views, strict=True):
            found = _clip(merge(seen), *size)
            results += _coco_results(found, image_ids[number], category_ids or dataset.category_ids)
    model.train(training)
    if category_ids:
        results = [result for result in results if result["category_id"] in dataset.category_ids]
    return options.group.gather(results)


def _predict_views(model: AnyDetector, batch: Batch, options: EvalOptions) -> list[list[Detections]]:
    """Return the detections of a batch, and of its mirror image if asked for, in pixels of the image files."""
    images = batch.images.to(torch.device(options.device))
    with options.autocast():
        views = [model.predict(images)]
        if options.views.flip:
            widths = (batch.sizes[:, 1] * batch.scales[:, 0]).round().long().tolist()
            mirrored = model.predict(mirror(images, widths))
            views.append([mirror_back(found, width) for found, width in zip(mirrored, widths, strict=True)])
    return [[unscale(found, scale) for found, scale in zip(view, batch.scales, strict=True)] for view in views]


def _coco_results(detections: ImageDetections, image_id: int, category_ids: tuple[int, ...]) -> list[CocoResult]:
    boxes = detections["boxes"]
    boxes[:, 2:] -= boxes[:, :2]
    objects = zip(boxes.tolist(), detections["scores"].tolist(), detections["labels"].tolist(), strict=True)
    results: list[CocoResult] = [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for box, score, label in objects
    ]
    for result, mask in zip(results, detections.get("masks", ()), strict=False):
        result["segmentation"] = mask
    return results


def evaluate(
    model: AnyDetector, dataset: CocoDataset, options: EvalOptions, category_ids: tuple[int, ...] | None = None
) -> dict[str, float]:
    """Return COCO's metrics of `model` on `dataset`, the same in every process; see `detect` for the arguments.

    Mask metrics are among them if the model predicts masks and `dataset` has them in its file.

    >>> METRICS[:3]
    ('AP', 'AP50', 'AP75')
    """
    results = detect(model, dataset, options, category_ids)
    group = options.group
    return group.broadcast(coco_metrics(dataset.ground_truth(), results, dataset.has_masks) if group.is_main else {})


def coco_metrics(ground_truth: Mapping[str, Any], results: list[CocoResult], masks: bool = False) -> dict[str, float]:
    """Return COCO's twelve box metrics and `AP/<class>`, from 0 to 1; NaN where there is no ground truth.

    Where results have masks and the annotations do too, `mask/AP`, ..., `mask/AP/<class>` follow. The area of a
    predicted mask is its number of pixels, not that of its box, as in COCO's own mask results. `masks` asks for mask
    metrics even without any detection.
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


@torch.no_grad()
def mean_loss(model: Detector, dataset: CocoDataset, options: EvalOptions) -> float:
    """Return the mean training loss per image, in evaluation mode and without augmentation."""
    training, device = model.training, torch.device(options.device)
    model.eval()
    total = 0.0
    for batch in options.loader(dataset, EvalTransform(options.image_size)):
        targets = {name: value.to(device) for name, value in batch.targets.items()}
        with options.autocast():
            losses = model.losses(batch.images.to(device), targets)
        total += float(torch.stack(list(losses.values())).sum()) * len(batch.images)
    model.train(training)
    return total / len(dataset)


def check_classes(info: ModelInfo, dataset: CocoDataset, where: str) -> None:
    """Raise unless the model that `where` names has all classes of the dataset, by id and name; it may have more."""
    known = dict(zip(info.category_ids, info.class_names, strict=True))
    wanted = dict(zip(dataset.category_ids, dataset.class_names, strict=True))
    if not wanted.items() <= known.items():
        raise SpinetError(
            f"{where} was trained on {len(info.category_ids)} classes ({some(info.class_names, 3)}), but "
            f"{dataset.annotation_file} has {len(dataset.category_ids)} ({some(dataset.class_names, 3)})"
        )
