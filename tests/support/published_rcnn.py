"""Writes R-CNNs of ours as Google's repositories do, the inverse of what the converter undoes."""

from pathlib import Path
from typing import Any

import numpy as np
from published import disturb
from tf_writer import object_graph, write_checkpoint

from spinet.arch.catalog import Architecture
from spinet.convert import garden, rcnn, tpu
from spinet.models.factory import create_rcnn
from spinet.models.rcnn import RCNN

# What a network of each publisher computes with.
SETTINGS: dict[str, dict[str, Any]] = {
    "garden": {"pad_mode": "same", "pool_mode": "mg", "roi_align": "google"},
    "tpu": {"pool_mode": "tpu", "roi_align": "google", "box_coding": "tpu"},
}
# Their order of the aspect ratios 1/2, 1, 2.
RATIOS = {"garden": [0.5, 1.0, 2.0], "tpu": [1.0, 2.0, 0.5]}


def random_rcnn(architecture: Architecture, source: str, classes: int = 4, **settings: Any) -> RCNN:
    """An R-CNN under a source's conventions; every weight and statistic is random."""
    if settings.get("cascade"):
        settings["activation"] = "swish"
    model = create_rcnn(architecture, classes, **{"octaves": 1} | SETTINGS[source] | settings).eval()
    disturb(model)
    return model


def layout_of(model: RCNN, architecture: Architecture) -> rcnn.RcnnLayout:
    """Count the parts of a network."""
    convs = architecture.scaling.head_convs
    masks = None if model.mask_head is None else convs
    return rcnn.RcnnLayout(len(model.box_heads), len(model.rpn.convs), convs, masks)


def rcnn_names(layout: rcnn.RcnnLayout, architecture: Architecture, source: str) -> dict[str, str]:
    """Our names -> theirs, without the suffix of TensorFlow's object checkpoints."""
    graph, scaling = architecture.genotype, architecture.scaling
    projection = scaling.stem_channels != scaling.out_channels(graph.stem[0])
    if source == "garden":
        names = garden.backbone_names(graph, scaling.repeats, "backbone/", projection)[0]
        heads = rcnn.garden_names(graph.endpoints, layout, "")
    else:
        names = tpu.backbone_names(graph, scaling.repeats, projection)
        heads = rcnn.tpu_names(graph.endpoints, layout)
    return {f"backbone.{ours}": theirs for ours, theirs in names.items()} | heads


def write_rcnn(
    path: Path,
    model: RCNN,
    architecture: Architecture,
    source: str,
    *,
    extra: dict[str, np.ndarray] | None = None,
    drop: tuple[str, ...] = (),
) -> Path:
    """Write `model` as `source` would; `extra` arrays are added and the names in `drop` left out."""
    state = model.state_dict()
    names = rcnn_names(layout_of(model, architecture), architecture, source)
    arrays = {theirs: _theirs(ours, state[ours].numpy(), source) for ours, theirs in names.items()}
    arrays = {name: value for name, value in (arrays | (extra or {})).items() if name not in drop}
    if source == "tpu":
        return write_checkpoint(path, arrays)
    layers = garden.backbone_names(architecture.genotype, architecture.scaling.repeats, "backbone/", True)[1]
    arrays = {name + garden.SUFFIX: value for name, value in arrays.items()}
    return write_checkpoint(path, arrays, strings={garden.GRAPH: object_graph(layers)})


def _theirs(name: str, value: np.ndarray, source: str) -> np.ndarray:
    """An array in their layout and order: y before x, their ratios, and dense inputs with the channels last."""
    if name.startswith(("rpn.cls_logits.", "rpn.bbox_pred.")):
        values = 4 if "bbox" in name else 1
        grid = value.reshape(-1, 3, values, *value.shape[1:])  # sizes, ratios, offsets
        grid = grid[:, [[0.5, 1.0, 2.0].index(ratio) for ratio in RATIOS[source]]]
        value = (grid[:, :, [1, 0, 3, 2]] if values == 4 else grid).reshape(value.shape)
    elif ".bbox_pred." in name:
        rows = value.reshape(-1, 4, *value.shape[1:])
        value = np.stack([rows[:, 1], rows[:, 0], rows[:, 3], rows[:, 2]], axis=1).reshape(value.shape)
    elif name.endswith(".fc.weight"):
        value = np.moveaxis(value.reshape(len(value), -1, 7, 7), 1, 3).reshape(value.shape)
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.transpose() if value.ndim == 2 else value
