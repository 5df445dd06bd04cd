"""Top-1 and top-5 accuracy of a classifier on a dataset."""

import math
import re
from functools import partial

import torch

from spinet.data.class_data import ClassDataset
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.transforms import shape_of
from spinet.data.unread import Unread
from spinet.engine.build import AnyClassifier, ModelInfo
from spinet.engine.evaluate import EvalOptions, Evaluation
from spinet.engine.record import class_record, unique_classes
from spinet.engine.tta import Views
from spinet.errors import SpinetError
from spinet.formats.findings import some

TOP = 5
# The category id of a model's class that the dataset does not have.
OTHER = -1


def evaluate_classes(
    model: AnyClassifier, dataset: ClassDataset, options: EvalOptions, category_ids: tuple[int, ...] | None = None
) -> Evaluation:
    """Return the accuracy of `model` on `dataset`, as fractions from 0 to 1, and its predictions.

    These are `top1` and `top5` (the true class is the best or among the best five predictions), and `top1/<class>`, NaN
    for a class without images. Images that cannot be read are left out as in `evaluate`. `category_ids` are the
    dataset's id of each label of the model, if their order differs; see `label_ids`. Test-time augmentation is for
    detectors, so options with `views` are an error.
    """
    if options.views != Views():
        raise SpinetError("test-time augmentation is for detectors")
    # Labels of the dataset, because ids may be too large for tensors.
    label_of = {id_: label for label, id_ in enumerate(dataset.category_ids)}
    known = torch.tensor([label_of.get(id_, OTHER) for id_ in category_ids or dataset.category_ids])
    training, device = model.training, torch.device(options.device)
    unread = Unread(dataset.split, len(dataset))
    model.eval()
    rows: list[tuple[int, list[int], list[float]]] = []
    loader = options.loader(dataset, ClassEvalTransform(shape_of(options.image_size)[0]), unread)
    for done, batch in enumerate(loader, 1):
        with options.autocast():
            predictions = model.predict(batch.images.to(device), top=TOP)
        labels, scores = known[predictions["labels"].cpu()], predictions["scores"].float().cpu()
        rows += zip(batch.image_ids.tolist(), labels.tolist(), scores.tolist(), strict=True)
        options.progress(done, options.batches(dataset))
    model.train(training)
    read = options.measured(dataset, unread)
    rows = options.group.gather(rows)
    truth = {sample.number: sample.label for sample in read.samples}
    ranks = [(truth[number], _rank(truth[number], labels)) for number, labels, _ in rows]
    return Evaluation(class_metrics(ranks, dataset), partial(class_record, read, rows))


def _rank(label: int, predicted: list[int]) -> int:
    return predicted.index(label) if label in predicted else TOP


def class_metrics(ranks: list[tuple[int, int]], dataset: ClassDataset) -> dict[str, float]:
    """Return `top1`, `top5` and `top1/<class>` from (label, rank of the true class), ranks from 0, TOP if missing."""
    firsts: list[list[bool]] = [[] for _ in dataset.class_names]
    for label, rank in ranks:
        firsts[label].append(rank == 0)
    metrics = {
        "top1": _fraction([rank == 0 for _, rank in ranks]),
        "top5": _fraction([rank < TOP for _, rank in ranks]),
    }
    for name, correct in zip(unique_classes(dataset), firsts, strict=True):
        metrics[f"top1/{name}"] = _fraction(correct)
    return metrics


def label_ids(info: ModelInfo, dataset: ClassDataset, where: str) -> tuple[int, ...]:
    """Return the dataset's category id of each label of the model in file `where`, -1 for other classes.

    Ids and names are compared first, then names alone, because a subset of a dataset numbers its folders anew. Folders
    named by all of ImageNet's WordNet ids are in the order of the published classifiers.
    """
    known = list(zip(info.category_ids, info.class_names, strict=True))
    wanted = list(zip(dataset.category_ids, dataset.class_names, strict=True))
    shared = set(wanted)
    if shared <= set(known):
        return tuple(pair[0] if pair in shared else OTHER for pair in known)
    id_of = {name: category_id for category_id, name in wanted}
    if id_of.keys() <= set(info.class_names) and len(id_of) == len(wanted) and len(set(info.class_names)) == len(known):
        return tuple(id_of.get(name, OTHER) for name in info.class_names)
    synsets = all(re.fullmatch(r"n\d{8}", name) for name in dataset.class_names)
    if synsets and info.class_names[0] == "background" and len(wanted) == len(known) - 1:
        return (OTHER, *dataset.category_ids)
    unknown = sorted(id_of.keys() - set(info.class_names)) or sorted(id_of)
    raise SpinetError(
        f"{where} knows {len(known)} classes ({some(info.class_names, 3)}), but not all of the {len(wanted)} that"
        f" {dataset.annotation_file} has: {some(unknown, 3)}"
    )


def _fraction(correct: list[bool]) -> float:
    return sum(correct) / len(correct) if correct else math.nan
