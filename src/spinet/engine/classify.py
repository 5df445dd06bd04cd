"""Guesses over a classification data set, and the share of them that is right."""

import math
import re
from collections import Counter

import torch

from spinet.data.class_data import ClassDataset
from spinet.data.class_loader import class_eval_loader
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.findings import some
from spinet.engine.build import AnyClassifier
from spinet.engine.checkpoint import ModelInfo
from spinet.engine.distributed import Processes
from spinet.errors import SpinetError

TOP = 5
# What stands for a class of the model that the data set has not.
OTHER = -1


def evaluate_classes(
    model: AnyClassifier,
    dataset: ClassDataset,
    *,
    image_size: int,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    bf16: bool = False,
    processes: Processes | None = None,
    category_ids: tuple[int, ...] | None = None,
) -> dict[str, float]:
    """Return how often `model` is right about the images of `dataset`; the same in every process.

    Args:
        model: its `predict` leaves out a background class.
        dataset: the images, of which every process takes a share.
        image_size: side of the square images, pixels.
        batch_size: images at once.
        device: where the model is.
        workers: processes that load images.
        bf16: compute in bfloat16 where that is safe.
        processes: this process among all.
        category_ids: the data set's id of each label of the model, where they are not in the data set's order; see
            `label_ids`.

    Returns:
        Shares from 0 to 1: `top1` and `top5` (the true class is the best guess, or among the best five), and
        `top1/<class>`, the share of a class's images that is recognised, NaN for a class without images.
    """
    processes = processes or Processes()
    ids = torch.tensor(category_ids or dataset.category_ids)
    true_ids = torch.tensor(dataset.category_ids)
    loader = class_eval_loader(
        dataset,
        ClassEvalTransform(image_size),
        batch_size=batch_size,
        rank=processes.rank,
        world_size=processes.count,
        workers=workers,
    )
    training = model.training
    model.eval()
    places: list[tuple[int, int]] = []
    for batch in loader:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            guesses = model.predict(batch.images.to(device), top=TOP)
        labels = batch.targets["labels"]
        right = ids[guesses["labels"].cpu()] == true_ids[labels][:, None]
        # The place of the true class among the guesses, TOP if it is not there.
        place = torch.where(right.any(dim=1), right.int().argmax(dim=1), TOP)
        places += zip(labels.tolist(), place.tolist(), strict=True)
    model.train(training)
    return class_metrics(processes.gather(places), dataset)


def class_metrics(places: list[tuple[int, int]], dataset: ClassDataset) -> dict[str, float]:
    """Return `top1`, `top5` and `top1/<class>` from (label, place of the true class among the guesses, from 0)."""
    firsts: list[list[bool]] = [[] for _ in dataset.class_names]
    for label, place in places:
        firsts[label].append(place == 0)
    metrics = {
        "top1": _share([place == 0 for _, place in places]),
        "top5": _share([place < TOP for _, place in places]),
    }
    twice = {name for name, count in Counter(dataset.class_names).items() if count > 1}
    for name, category_id, right in zip(dataset.class_names, dataset.category_ids, firsts, strict=True):
        metrics[f"top1/{name} ({category_id})" if name in twice else f"top1/{name}"] = _share(right)
    return metrics


def label_ids(info: ModelInfo, dataset: ClassDataset, where: str) -> tuple[int, ...]:
    """Return the data set's category id of each label of a model, -1 for classes that the data set has not.

    Ids and names are compared first; then names alone, because a part of a data set numbers its folders anew. Folders
    that are called after all of ImageNet's WordNet ids are in the order of the published classifiers.

    Args:
        info: what the weights file says.
        dataset: the images.
        where: the weights file, for messages.

    Raises:
        SpinetError: the data set has a class that the model does not know.
    """
    own = list(zip(info.category_ids, info.class_names, strict=True))
    asked = list(zip(dataset.category_ids, dataset.class_names, strict=True))
    both = set(asked)
    if both <= set(own):
        return tuple(pair[0] if pair in both else OTHER for pair in own)
    id_of = {name: category_id for category_id, name in asked}
    if id_of.keys() <= set(info.class_names) and len(id_of) == len(asked) and len(set(info.class_names)) == len(own):
        return tuple(id_of.get(name, OTHER) for name in info.class_names)
    synsets = all(re.fullmatch(r"n\d{8}", name) for name in dataset.class_names)
    if synsets and info.class_names[0] == "background" and len(asked) == len(own) - 1:
        return (OTHER, *dataset.category_ids)
    unknown = sorted(id_of.keys() - set(info.class_names)) or sorted(id_of)
    raise SpinetError(
        f"{where} knows {len(own)} classes ({some(info.class_names, 3)}), but not all of the {len(asked)} that"
        f" {dataset.annotation_file} has: {some(unknown, 3)}"
    )


def _share(right: list[bool]) -> float:
    return sum(right) / len(right) if right else math.nan
