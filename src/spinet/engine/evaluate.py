"""Running a detector over a dataset, and what comes of it."""

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, NotRequired, TypedDict

import torch
from torch import Tensor

from spinet.analysis.records import Record
from spinet.data.batch import Batch
from spinet.data.coco import CocoDataset
from spinet.data.loader import DatasetT, ItemTransform, eval_loader
from spinet.data.mask_crops import paste_masks
from spinet.data.masks import Rle
from spinet.data.transforms import EvalTransform, shape_of
from spinet.data.unread import Images, Unread, warn
from spinet.engine.build import AnyDetector, Detector, ModelInfo
from spinet.engine.coco_metrics import CocoResult, coco_metrics
from spinet.engine.distributed import ProcessGroup
from spinet.engine.record import detection_record
from spinet.engine.tta import Views, merge, mirror, mirror_back, unscale
from spinet.errors import SpinetError
from spinet.formats.findings import some
from spinet.models.detections import Detections


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


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
        say: is told what the metrics leave out; a warning of Python's unless given.
        progress: is called with the number of batches done and of all of this process.
    """

    image_size: int | tuple[int, int]
    batch_size: int = 8
    device: torch.device | str = "cpu"
    workers: int = 0
    bf16: bool = False
    views: Views = field(default_factory=Views)
    group: ProcessGroup = field(default_factory=ProcessGroup)
    say: Callable[[str], None] = warn
    progress: Callable[[int, int], None] = no_progress

    def batches(self, dataset: Sized) -> int:
        """Return the number of batches of this process."""
        mine = len(range(self.group.rank, len(dataset), self.group.count))
        return -(-mine // self.batch_size)

    def loader(self, dataset: DatasetT, transform: ItemTransform[DatasetT], unread: Unread) -> Iterable[Batch]:
        """Return this process's batches; images that cannot be read are counted in `unread`."""
        group = self.group
        return eval_loader(
            dataset,
            transform,
            batch_size=self.batch_size,
            rank=group.rank,
            world_size=group.count,
            workers=self.workers,
            unread=unread,
        )

    def measured(self, dataset: Images, unread: Unread) -> Images:
        """Return the images that the processes have read together, and say which ones they have not."""
        unread.add(self.group.gather(list(unread.faults.values())))
        if unread.faults and self.group.is_main:
            self.say(f"{unread.text()}; they are left out of the metrics, with their objects")
        return unread.readable(dataset)

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
    model: AnyDetector,
    dataset: CocoDataset,
    options: EvalOptions,
    category_ids: tuple[int, ...] | None = None,
    unread: Unread | None = None,
) -> list[CocoResult]:
    """Run `model` over every image of `dataset` and return the COCO results of all processes.

    Each scale is resized from the image file, as a plain evaluation at that size would be, and the views' detections
    are merged. `category_ids` are those of the model's labels, if it has more classes than the dataset; results of the
    others are dropped. Images that cannot be read are counted in `unread`.
    """
    unread = unread or Unread(dataset.split, len(dataset))
    height, width = shape_of(options.image_size)
    loaders = [
        options.loader(dataset, EvalTransform((max(round(height * scale), 1), max(round(width * scale), 1))), unread)
        for scale in options.views.scales
    ]
    training = model.training
    model.eval()
    image_ids = {sample.number: sample.image_id for sample in dataset.samples}
    results: list[CocoResult] = []
    for done, batches in enumerate(zip(*loaders, strict=True), 1):
        views = [view for batch in batches for view in _predict_views(model, batch, options)]
        first = batches[0]
        for number, size, *seen in zip(first.image_ids.tolist(), first.sizes.tolist(), *views, strict=True):
            found = _clip(merge(seen), *size)
            results += _coco_results(found, image_ids[number], category_ids or dataset.category_ids)
        options.progress(done, options.batches(dataset))
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


class Evaluation(NamedTuple):
    """The result of an evaluation.

    Attributes:
        metrics: the same in every process, from 0 to 1; NaN where there is no ground truth.
        record: computes what a report needs, in the main process, from the number of steps of the model.
    """

    metrics: dict[str, float]
    record: Callable[[int], Record]


def evaluate(
    model: AnyDetector, dataset: CocoDataset, options: EvalOptions, category_ids: tuple[int, ...] | None = None
) -> Evaluation:
    """Return COCO's metrics of `model` on `dataset` and its detections; see `detect` for the arguments.

    Mask metrics are among them if the model predicts masks and `dataset` has them in its file. An image that cannot be
    read is left out with its objects, and `options.say` is told so; more than a few per cent are a SpinetError.
    """
    unread, group = Unread(dataset.split, len(dataset)), options.group
    results = detect(model, dataset, options, category_ids, unread)
    read = options.measured(dataset, unread)
    truth = read.ground_truth() if group.is_main else {}
    metrics = group.broadcast(coco_metrics(truth, results, read.has_masks) if group.is_main else {})
    return Evaluation(metrics, partial(detection_record, read, truth, results))


@torch.no_grad()
def mean_loss(model: Detector, dataset: CocoDataset, options: EvalOptions) -> float:
    """Return the mean training loss per readable image, in evaluation mode and without augmentation."""
    training, device = model.training, torch.device(options.device)
    model.eval()
    total, unread = 0.0, Unread(dataset.split, len(dataset))
    for batch in options.loader(dataset, EvalTransform(options.image_size), unread):
        targets = {name: value.to(device) for name, value in batch.targets.items()}
        with options.autocast():
            losses = model.losses(batch.images.to(device), targets)
        total += float(torch.stack(list(losses.values())).sum()) * len(batch.images)
    model.train(training)
    return total / (len(dataset) - len(unread.faults))


def check_classes(info: ModelInfo, dataset: CocoDataset, where: str) -> None:
    """Raise unless the model that `where` names has all classes of the dataset, by id and name; it may have more."""
    known = dict(zip(info.category_ids, info.class_names, strict=True))
    wanted = dict(zip(dataset.category_ids, dataset.class_names, strict=True))
    if not wanted.items() <= known.items():
        raise SpinetError(
            f"{where} was trained on {len(info.category_ids)} classes ({some(info.class_names, 3)}), but "
            f"{dataset.annotation_file} has {len(dataset.category_ids)} ({some(dataset.class_names, 3)})"
        )
