"""How many images and objects of each class a run was trained and evaluated on."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spinet.analysis.records import DetectionRecord
from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.data.digest import differences, digest
from spinet.engine.state_file import read_state
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.report.training_run import TrainingRun


@dataclass(frozen=True)
class SplitCounts:
    """Images of a split, objects in them (classifiers: 0), and objects or images of each label, if known."""

    images: int
    objects: int
    classes: tuple[int, ...] = ()


def train_counts(run: TrainingRun) -> SplitCounts | None:
    """Count the training images and what is in them.

    The dataset is counted if it is there and still what the run was trained on; else the totals are those that the
    run has recorded, if any.
    """
    recorded = _recorded(run)
    with suppress(SpinetError):
        if run.images is not None:
            config = replace(run.config, data=replace(run.config.data, root=str(run.images), cache_images=False))
            train = task_of(config.model).open(config, "train", run.folder)
            if not recorded or not differences({"train": recorded}, {"train": digest(train)}):
                return _counted(train, len(run.info.class_names))
    images, objects = recorded.get("images"), recorded.get("objects", 0)
    return SplitCounts(images, objects) if isinstance(images, int) and isinstance(objects, int) else None


def val_counts(run: TrainingRun) -> SplitCounts:
    """Count what is in the val images, from the run's record."""
    record, number = run.record, len(run.record.class_names)
    if not isinstance(record, DetectionRecord):
        return SplitCounts(len(record.images), 0, _by_label(record.labels, number))
    labels = record.truth.labels[~record.truth.crowd]
    return SplitCounts(len(record.images), len(labels), _by_label(labels, number))


def _counted(dataset: ImageDataset, classes: int) -> SplitCounts:
    if not isinstance(dataset, CocoDataset):
        return SplitCounts(len(dataset), 0, _by_label([sample.label for sample in dataset.samples], classes))
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.labels.numpy() for sample in dataset.samples)])
    return SplitCounts(len(dataset), len(labels), _by_label(labels, classes))


def _by_label(labels: Any, number: int) -> tuple[int, ...]:
    return tuple(np.bincount(np.asarray(labels, dtype=np.int64), minlength=number).tolist())


def _recorded(run: TrainingRun) -> Mapping[str, Any]:
    """Return the digest of the training images in the checkpoint; nothing without one."""
    with suppress(SpinetError):
        if (run.folder / "state.pt").is_file():
            origin = read_state(run.folder / "state.pt", run.info.architecture).get("origin", {})
            found = origin.get("data", {}).get("train", {}) if isinstance(origin, Mapping) else {}
            return found if isinstance(found, Mapping) else {}
    return {}
