"""Writes networks of ours as the publishers of weights do, the inverse of what the converters undo."""

from pathlib import Path

import numpy as np
import torch
from tf_writer import object_graph, write_checkpoint
from torch import Tensor, nn

from spinet.arch.catalog import Architecture
from spinet.convert import garden, mmdet, tpu
from spinet.convert.names import biased
from spinet.engine.config import ModelConfig
from spinet.models.classifier import Classifier
from spinet.models.factory import create_classifier, create_retinanet
from spinet.models.retinanet import RetinaNet

# Where each anchor (octave first, then width / height of 1/2, 1, 2) stands among theirs, and each of x, y, w, h.
ORDERS = {
    "garden": ([0, 1, 2, 3, 4, 5, 6, 7, 8], [1, 0, 3, 2]),
    "tpu": ([2, 0, 1, 5, 3, 4, 8, 6, 7], [1, 0, 3, 2]),
    "mmdet": ([6, 3, 0, 7, 4, 1, 8, 5, 2], [0, 1, 2, 3]),
}
SETTINGS = {
    "garden": ModelConfig(activation="swish", pad_mode="same", pool_mode="mg", squeeze_mode="mg"),
    "tpu": ModelConfig(pool_mode="tpu"),
    "mmdet": ModelConfig(pool_mode="mmdet", endpoint_activation=False),
}


def random_detector(architecture: Architecture, source: str, classes: int = 91) -> RetinaNet:
    """A detector under a source's conventions; every weight and statistic is random."""
    settings = SETTINGS[source]
    model = create_retinanet(
        architecture,
        classes,
        activation=settings.activation,
        pad_mode=settings.pad_mode,
        pool_mode=settings.pool_mode,
        squeeze_mode=settings.squeeze_mode,
        endpoint_activation=settings.endpoint_activation,
    ).eval()
    disturb(model)
    if source == "mmdet":
        for tower in (model.cls_tower, model.box_tower):
            for conv in tower.convs:
                torch.nn.init.zeros_(conv.bias)
    return model


def random_classifier(architecture: Architecture, classes: int = 1001) -> Classifier:
    """A classifier under the conventions of tensorflow/tpu; every weight and statistic is random."""
    model = create_classifier(architecture, classes, pool_mode="tpu", bn_eps=1e-5).eval()
    disturb(model)
    return model


def disturb(model: nn.Module) -> None:
    """Add noise to every weight and statistic."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(value + 0.1 * (noise.abs() if name.endswith("running_var") else noise))


def published_names(
    architecture: Architecture, source: str, *, head: bool = True, classifier: bool = False
) -> dict[str, str]:
    """Our names -> theirs, without the suffix of TensorFlow's object checkpoints."""
    graph, scaling = architecture.genotype, architecture.scaling
    projection = scaling.stem_channels != scaling.out_channels(graph.stem[0])
    kind = (graph.endpoints, scaling.head_convs)
    if source == "garden":
        names = garden.backbone_names(graph, scaling.repeats, "backbone/", projection)[0]
        heads = garden.head_names(*kind, scaling.head_separable, "head/")
    elif source == "tpu":
        names = tpu.backbone_names(graph, scaling.repeats, projection)
        heads = (
            biased("fc", "classification_head/dense") if classifier else tpu.head_names(*kind, scaling.head_separable)
        )
    else:
        names = mmdet.backbone_names(graph, scaling.repeats, projection)
        heads = mmdet.head_names(*kind)
    return {f"backbone.{ours}": theirs for ours, theirs in names.items()} | (heads if head else {})


def write_published(
    path: Path,
    model: RetinaNet | Classifier,
    architecture: Architecture,
    source: str,
    *,
    head: bool = True,
    extra=None,
    drop=(),
) -> Path:
    """Write `model` as `source` would; `extra` arrays are added and the names in `drop` left out."""
    state = model.state_dict()
    names = published_names(architecture, source, head=head, classifier=isinstance(model, Classifier))
    theirs = {names[ours]: _their_order(ours, state[ours], source) for ours in names}
    if source == "mmdet":
        for name, value in list(theirs.items()):
            if "_convs.0." in name and ".conv." in name:
                theirs |= {
                    name.replace("_convs.0.", f"_convs.{level}."): value
                    for level in range(1, len(model.backbone.levels))
                }
        theirs = {name: value for name, value in (theirs | (extra or {})).items() if name not in drop}
        torch.save({"state_dict": theirs, "meta": {"epoch": 350}}, path)
        return path
    arrays = {name: _tf_layout(name, value.numpy()) for name, value in theirs.items()}
    arrays = {name: value for name, value in (arrays | (extra or {})).items() if name not in drop}
    if source == "tpu":
        return write_checkpoint(path, arrays)
    layers = garden.backbone_names(architecture.genotype, architecture.scaling.repeats, "backbone/", True)[1]
    arrays = {name + garden.SUFFIX: value for name, value in arrays.items()}
    return write_checkpoint(path, arrays, strings={garden.GRAPH: object_graph(layers)})


def _their_order(name: str, value: Tensor, source: str) -> Tensor:
    if ".predictor." not in name or "depthwise" in name:
        return value
    anchors, boxes = ORDERS[source]
    cells = value.reshape(9, -1, *value.shape[1:])
    theirs = torch.empty_like(cells)
    for ours, place in enumerate(anchors):
        theirs[place] = cells[ours]
    if name.startswith("box_tower"):
        cells = theirs.clone()
        for ours, place in enumerate(boxes):
            theirs[:, place] = cells[:, ours]
    return theirs.reshape(value.shape)


def _tf_layout(name: str, value: np.ndarray) -> np.ndarray:
    if value.ndim != 4:
        return value.transpose() if value.ndim == 2 else value
    return value.transpose(2, 3, 0, 1) if name.endswith("depthwise_kernel") else value.transpose(2, 3, 1, 0)
