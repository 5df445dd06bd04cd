"""What the training loop has to know of the kind of network that it trains."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from spinet.arch.catalog import load_network
from spinet.data.class_data import ClassDataset
from spinet.data.class_loader import class_train_loader
from spinet.data.class_transforms import ClassTrainTransform
from spinet.data.coco import CocoDataset
from spinet.data.findings import Finding
from spinet.data.loader import train_loader
from spinet.data.stream import Batch
from spinet.data.transforms import TrainTransform
from spinet.doctor.anchors import AnchorShapes
from spinet.doctor.annotations import quick_findings
from spinet.engine.build import MASK_HEADS, Detector
from spinet.engine.classify import evaluate_classes
from spinet.engine.config import ModelConfig, TrainConfig
from spinet.engine.distributed import Processes
from spinet.engine.evaluate import evaluate
from spinet.models.classifier import Classifier
from spinet.models.factory import available_levels


class Photos(Protocol):
    """One split of a data set."""

    root: Path
    split: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        ...


class Task(ABC):
    """A kind of network: which data it takes, and how it is measured.

    Attributes:
        shown: metrics that are printed after an evaluation.
        score: the one of them that the best weights have the most of.
    """

    shown: ClassVar[tuple[str, ...]]
    score: ClassVar[str]

    @abstractmethod
    def open(self, config: TrainConfig, split: str) -> Photos:
        """Open the split, "train" or "val", of the data that the settings name."""

    @abstractmethod
    def findings(self, config: TrainConfig, train: Any, val: Any) -> list[Finding]:
        """Look for what ruins a training, without opening images."""

    @abstractmethod
    def loader(self, config: TrainConfig, train: Any) -> Callable[..., Iterator[Batch]]:
        """Return the loader of augmented batches, which is still to be told which batches, and how."""

    def batches(
        self, config: TrainConfig, train: Any, *, part_size: int, first_batch: int, group: Processes
    ) -> Iterator[Batch]:
        """Return this process's endless stream of batches of `part_size` images."""
        return self.loader(config, train)(
            batch_size=part_size,
            seed=config.seed,
            first_batch=first_batch,
            rank=group.rank,
            world_size=group.count,
            workers=config.data.workers,
            rendered=config.data.augment_on == "workers",
        )

    @abstractmethod
    def evaluate(
        self, model: Any, val: Any, config: TrainConfig, *, part_size: int, device: torch.device, group: Processes
    ) -> dict[str, float]:
        """Return the metrics of `model`, the same in every process."""


class Detection(Task):
    """Boxes."""

    shown: ClassVar[tuple[str, ...]] = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    score: ClassVar[str] = "AP"
    masks: ClassVar[bool] = False

    def open(self, config: TrainConfig, split: str) -> CocoDataset:
        """See `Task`."""
        return CocoDataset(Path(config.data.root), split, config.data.cache_images, self.masks)

    def findings(self, config: TrainConfig, train: CocoDataset, val: CocoDataset) -> list[Finding]:
        """See `Task`."""
        return quick_findings(
            train,
            val,
            image_size=config.data.image_size,
            anchor_scale=config.model.anchor_scale,
            shapes=anchor_shapes(config.model),
            max_objects=config.data.max_objects,
        )

    def loader(self, config: TrainConfig, train: CocoDataset) -> Callable[..., Iterator[Batch]]:
        """See `Task`."""
        data = config.data
        transform = TrainTransform(
            data.image_size, data.scale_jitter, data.horizontal_flip, data.vertical_flip, data.colour_jitter
        )
        return partial(train_loader, train, transform, max_objects=data.max_objects)

    def evaluate(
        self,
        model: Detector,
        val: CocoDataset,
        config: TrainConfig,
        *,
        part_size: int,
        device: torch.device,
        group: Processes,
    ) -> dict[str, float]:
        """See `Task`."""
        return evaluate(
            model,
            val,
            image_size=config.data.image_size,
            batch_size=part_size,
            device=device,
            workers=config.data.workers,
            bf16=config.uses_bf16(device.type),
            processes=group,
        )


class Segmentation(Detection):
    """Boxes, and the masks of the objects in them."""

    shown = ("AP", "AP50", "mask/AP", "mask/AP50", "mask/AP75")
    score = "mask/AP"
    masks = True


class Classification(Task):
    """One class for every image."""

    shown = ("top1", "top5")
    score = "top1"

    def open(self, config: TrainConfig, split: str) -> ClassDataset:
        """See `Task`."""
        return ClassDataset(Path(config.data.root), split, config.data.cache_images)

    def findings(self, config: TrainConfig, train: ClassDataset, val: ClassDataset) -> list[Finding]:
        """See `Task`; what is wrong with image folders is refused when they are opened."""
        del config, train, val
        return []

    def loader(self, config: TrainConfig, train: ClassDataset) -> Callable[..., Iterator[Batch]]:
        """See `Task`."""
        data = config.data
        transform = ClassTrainTransform(
            data.image_size,
            data.crop_area,
            horizontal_flip=data.horizontal_flip,
            colour_jitter=data.colour_jitter,
            vertical_flip=data.vertical_flip,
        )
        return partial(class_train_loader, train, transform)

    def evaluate(
        self,
        model: Classifier,
        val: ClassDataset,
        config: TrainConfig,
        *,
        part_size: int,
        device: torch.device,
        group: Processes,
    ) -> dict[str, float]:
        """See `Task`."""
        return evaluate_classes(
            model,
            val,
            image_size=config.data.image_size,
            batch_size=part_size,
            device=device,
            workers=config.data.workers,
            bf16=config.uses_bf16(device.type),
            processes=group,
        )


def anchor_shapes(model: ModelConfig) -> AnchorShapes:
    """Return the anchors of a detector with these settings, but for their scale.

    Raises:
        SpinetError: the architecture is unknown, or its file is missing or not valid.
    """
    levels = available_levels(load_network(model.arch))
    return AnchorShapes(model.octaves, model.aspect_ratios, tuple(sorted(levels)))


def task_of(model: ModelConfig) -> Task:
    """Return the task of a network with these settings."""
    if model.head == "classifier":
        return Classification()
    return Segmentation() if model.head in MASK_HEADS else Detection()
