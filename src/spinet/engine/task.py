"""What differs between training detectors, mask detectors and classifiers: data, batches and metrics."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch

from spinet.analysis.records import DetectionRecord, Record
from spinet.analysis.thresholds import best_thresholds
from spinet.arch.catalog import load_network
from spinet.data.batch import Batch
from spinet.data.class_data import ClassDataset
from spinet.data.class_transforms import ClassTrainTransform
from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.data.division import open_split
from spinet.data.loader import ItemTransform, train_loader
from spinet.data.transforms import TrainTransform
from spinet.data.unread import Unread
from spinet.doctor.anchors import AnchorShapes, DetectorSettings
from spinet.doctor.annotations import quick_findings
from spinet.doctor.headers import header_findings
from spinet.engine.build import WITHOUT_MASKS, ModelInfo
from spinet.engine.classify import evaluate_classes, label_ids
from spinet.engine.config import ModelConfig, TrainConfig
from spinet.engine.distributed import ProcessGroup
from spinet.engine.evaluate import EvalOptions, Evaluation, check_classes, evaluate
from spinet.engine.faults import explained
from spinet.formats.findings import Finding, of
from spinet.formats.splits import Division
from spinet.models.factory import available_levels


class Task(ABC):
    """A kind of model: its data, batches and metrics.

    Attributes:
        shown: metrics that are printed after an evaluation.
        score: the metric that selects the best weights; higher is better.
    """

    shown: ClassVar[tuple[str, ...]]
    score: ClassVar[str]

    @abstractmethod
    def open(self, config: TrainConfig, split: str, run: Path | None = None) -> ImageDataset:
        """Open a split, "train" or "val", of the dataset `config.data.root`; `run` is as in `open_split`."""

    @abstractmethod
    def findings(self, config: TrainConfig, train: Any, val: Any) -> list[Finding]:
        """Check the annotations for problems, each once; of images at most some headers are read."""

    def aligned(self, train: Any, val: Any) -> Any:
        """Return `val`, which may lack classes of `train`, with the labels of `train`."""
        del train
        return val

    @abstractmethod
    def transform(self, config: TrainConfig) -> ItemTransform[Any]:
        """Return the augmentation."""

    @abstractmethod
    def measure(self, model: Any, val: Any, options: EvalOptions) -> Evaluation:
        """Return the metrics of `model`, the same in every process, and its predictions."""

    def thresholds(self, record: Record) -> tuple[float, ...]:
        """Return the score of best F1 of each label, for detectors."""
        return best_thresholds(record) if isinstance(record, DetectionRecord) else ()

    def batches(
        self,
        config: TrainConfig,
        train: Any,
        *,
        part_size: int,
        first_batch: int,
        group: ProcessGroup,
        unread: Unread | None = None,
    ) -> Iterator[Batch]:
        """Return this process's endless stream of batches of `part_size` images; see `train_loader` for `unread`."""
        return train_loader(
            train,
            self.transform(config),
            batch_size=part_size,
            seed=config.seed,
            first_batch=first_batch,
            rank=group.rank,
            world_size=group.count,
            workers=config.data.workers,
            augment_on_device=config.data.augment_on == "device",
            unread=unread,
        )


class Detection(Task):
    """Boxes."""

    shown: ClassVar[tuple[str, ...]] = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    score: ClassVar[str] = "AP"
    masks: ClassVar[bool] = False

    def open(self, config: TrainConfig, split: str, run: Path | None = None) -> CocoDataset:
        """See `Task`."""
        root, cache = Path(config.data.root), config.data.cache_images
        return open_split(lambda part: CocoDataset(root, part, cache, self.masks), split, config.data.division, run)

    def findings(self, config: TrainConfig, train: CocoDataset, val: CocoDataset) -> list[Finding]:
        """See `Task`."""
        quick = quick_findings(train, val, detector_settings(config))
        return list(dict.fromkeys([*quick, *header_findings(train), *header_findings(val)]))

    def aligned(self, train: CocoDataset, val: CocoDataset) -> CocoDataset:
        """See `Task`."""
        return val.with_classes(train.category_ids, train.class_names)

    def transform(self, config: TrainConfig) -> TrainTransform:
        """See `Task`."""
        data = config.data
        return TrainTransform(
            data.image_size,
            data.scale_jitter,
            data.horizontal_flip,
            data.vertical_flip,
            data.colour_jitter,
            data.max_objects,
        )

    def measure(self, model: Any, val: CocoDataset, options: EvalOptions) -> Evaluation:
        """See `Task`."""
        return evaluate(model, val, options)


class Segmentation(Detection):
    """Boxes and masks."""

    shown = ("AP", "AP50", "mask/AP", "mask/AP50", "mask/AP75")
    score = "mask/AP"
    masks = True


class Classification(Task):
    """One class per image."""

    shown = ("top1", "top5")
    score = "top1"

    def open(self, config: TrainConfig, split: str, run: Path | None = None) -> ClassDataset:
        """See `Task`."""
        root, cache = Path(config.data.root), config.data.cache_images
        return open_split(lambda part: ClassDataset(root, part, cache), split, config.data.division, run)

    def findings(self, config: TrainConfig, train: ClassDataset, val: ClassDataset) -> list[Finding]:
        """See `Task`; other problems of image folders are errors when they are opened."""
        del config
        return list(dict.fromkeys([*train.findings, *val.findings]))

    def transform(self, config: TrainConfig) -> ClassTrainTransform:
        """See `Task`."""
        data = config.data
        return ClassTrainTransform(
            data.image_size,
            data.crop_area,
            horizontal_flip=data.horizontal_flip,
            colour_jitter=data.colour_jitter,
            vertical_flip=data.vertical_flip,
        )

    def measure(self, model: Any, val: ClassDataset, options: EvalOptions) -> Evaluation:
        """See `Task`."""
        return evaluate_classes(model, val, options)


def evaluate_folder(
    model: Any,
    info: ModelInfo,
    root: Path,
    split: str,
    options: EvalOptions,
    where: str,
    division: Division | None = None,
    run: Path | None = None,
) -> Evaluation:
    """Evaluate a detector or classifier, also an exported one, on a split of a dataset folder.

    `division` and `run` are as in `open_split`. What was left out of the files is said, and that a dataset which is not
    the run's own was divided.
    """
    with explained(options.batch_size, options.image_size, torch.device(options.device), training=False):
        if info.kind == "classifier":
            classes = open_split(lambda part: ClassDataset(root, part), split, division, run)
            _say_findings(classes, division, options)
            return evaluate_classes(model, classes, options, label_ids(info, classes, where))
        dataset = open_split(lambda part: CocoDataset(root, part), split, division, run)
        _say_findings(dataset, division, options)
        check_classes(info, dataset, where)
        return evaluate(model, dataset, options, info.category_ids)


def _say_findings(part: ImageDataset, division: Division | None, options: EvalOptions) -> None:
    for finding in part.findings:
        if finding.severity == "warning":
            options.say(finding.text)
    if part.division and division and not division.required:
        count = of(len(part), part.division[0]["data"]["images"])
        options.say(
            f"{part.root} is not divided: the metrics are those of {count} images, the {part.split} split of the"
            f" training's data.val_share {division.share:g}; the split all has every image"
        )


def detector_settings(config: TrainConfig) -> DetectorSettings:
    """Return the settings that the dataset of a detector is checked against."""
    model, data = config.model, config.data
    levels = tuple(sorted(available_levels(load_network(model.arch))))
    shapes = AnchorShapes(model.octaves, model.aspect_ratios, levels)
    return DetectorSettings(data.image_size, model.anchor_scale, shapes, data.max_objects)


def task_of(model: ModelConfig) -> Task:
    """Return the task of a model."""
    if model.head == "classifier":
        return Classification()
    return Segmentation() if model.head in WITHOUT_MASKS else Detection()
