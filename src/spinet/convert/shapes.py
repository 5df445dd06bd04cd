"""Infers the architecture of a network from the shapes of its weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import LEVEL_CHANNELS, Scaling
from spinet.engine.build import ModelKind, create_model
from spinet.engine.checkpoint import BACKBONE
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError

Shapes = dict[str, tuple[int, ...]]

# Aspect ratios of the anchors of all published detectors, and anchors per location of a published RetinaNet.
RATIOS, ANCHORS = 3, 9

# Head and anchors of a published RetinaNet.
RETINANET = ModelConfig()


def model_shapes(
    architecture: Architecture, classes: int, task: ModelKind = "detector", model: ModelConfig = RETINANET
) -> Shapes:
    """Return the shapes of all tensors of a network for a task, by name; `model` has a detector's head and anchors."""
    model = replace(model, head="classifier") if task == "classifier" else model
    with torch.device("meta"):
        state = create_model(architecture, model, max(1, classes)).state_dict()
    return {
        name: tuple(value.shape) for name, value in state.items() if task != "backbone" or name.startswith(BACKBONE)
    }


def find_architecture(
    graph: Genotype,
    shapes: Shapes,
    repeats: int,
    classes: int,
    where: str,
    task: ModelKind = "detector",
    model: ModelConfig = RETINANET,
) -> Architecture:
    """Return the first catalog architecture with these shapes, or build one from them.

    `shapes` are by our names; `classes` is 0 for a backbone alone; `where` names the checkpoint in errors; `model`
    has a detector's head and anchors.

    Raises:
        SpinetError: the channels per level do not follow from one width, or those of the connections from one alpha.
    """
    for name in names():
        known = load_architecture(name)
        if (known.genotype, known.scaling.repeats) == (graph, repeats):
            wanted = model_shapes(known, classes, task, model)
            if all(wanted.get(tensor) == shape for tensor, shape in shapes.items()):
                return known
    return Architecture(graph, _scaling(graph, shapes, repeats, where), "converted", f"shapes of {where}")


def class_count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of classes of a head with these shapes, without an R-CNN's background; 0 without a head."""
    if "fc.bias" in shapes:
        return shapes["fc.bias"][0]
    if "box_heads.0.cls_score.bias" in shapes:
        return shapes["box_heads.0.cls_score.bias"][0] - 1
    biases = (shapes.get(f"cls_tower.predictor.{leaf}") for leaf in ("bias", "pointwise.bias"))
    return next((shape[0] // ANCHORS for shape in biases if shape), 0)


def octave_count(shapes: Mapping[str, tuple[int, ...]], where: str) -> int:
    """Return the number of anchor sizes per level of a region proposal network with these shapes.

    Raises:
        SpinetError: its anchors are not of three aspect ratios.
    """
    anchors = shapes["rpn.cls_logits.bias"][0]
    if anchors % RATIOS:
        raise SpinetError(f"{where}: {anchors} anchors per location are not a multiple of {RATIOS} aspect ratios")
    return anchors // RATIOS


def _scaling(graph: Genotype, shapes: Shapes, repeats: int, where: str) -> Scaling:
    mobile = graph.stem[0].kind == "mbconv"
    scaling = Scaling(
        repeats=repeats,
        family="mobile" if mobile else "spinenet",
        stem_channels=shapes["backbone.stem.conv.conv.weight"][0],
        endpoint_channels=shapes[f"backbone.endpoints.{max(graph.endpoints)}.conv.weight"][0],
        head_separable="cls_tower.predictor.pointwise.bias" in shapes,
        **_head(shapes),
    )
    levels, inner = _level_channels(graph, shapes), _inner_channels(graph, shapes)
    scaling = replace(scaling, width=_factor(levels, LEVEL_CHANNELS[scaling.family], "width", where))
    if mobile:
        return scaling
    return replace(scaling, alpha=_factor(inner, levels, "alpha", where))


def _head(shapes: Shapes) -> dict[str, Any]:
    if "rpn.cls_logits.weight" in shapes:
        start = "box_heads.0.convs.convs."
        count = len({name.removeprefix(start).split(".")[0] for name in shapes if name.startswith(start)})
        return {"head_convs": count, "head_channels": shapes["rpn.cls_logits.weight"][1]}
    convs = {name.split(".")[2] for name in shapes if name.startswith("cls_tower.convs.")}
    if not convs:
        return {}
    level = next(name for name in shapes if name.startswith("cls_tower.norms."))
    return {"head_convs": len(convs), "head_channels": shapes[level][0]}


def _level_channels(graph: Genotype, shapes: Shapes) -> dict[int, int]:
    """Return the channels inside the blocks of each level, by the branch of its first block."""
    channels: dict[int, int] = {}
    for index, spec in enumerate(graph.all_blocks):
        body = f"{BACKBONE}blocks.{index}.body.0" if spec.parents else f"{BACKBONE}blocks.{index}.0"
        part = "project" if spec.kind == "mbconv" else "convs.0"
        channels.setdefault(spec.level, shapes[f"{body}.{part}.conv.weight"][0])
    return channels


def _inner_channels(graph: Genotype, shapes: Shapes) -> dict[int, int]:
    """Return the channels between the 1x1 convolutions of the connections from each level."""
    channels: dict[int, int] = {}
    for index, spec in enumerate(graph.all_blocks):
        for parent in spec.parents:
            shape = shapes.get(f"{BACKBONE}blocks.{index}.parents.{parent}.reduce.conv.weight")
            if shape:
                channels.setdefault(graph.all_blocks[parent].level, shape[0])
    return channels


def _factor(channels: Mapping[int, int], base: Mapping[int, int], what: str, where: str) -> float:
    """Return the roundest factor with `int(base * factor) == channels` for every level.

    Truncation hides the factor: 0.65 * 64 = 41.6 gives 41. The widest level bounds it most tightly from below; from
    there the first factor with few decimals that fits all levels is taken.
    """
    widest = max(channels, key=lambda level: base[level])
    least = channels[widest] / base[widest]
    for precision in (10, 100, 1000, 10_000, 100_000):
        for step in range(2):
            factor = (int(least * precision) + step) / precision
            if all(int(base[level] * factor) == count for level, count in channels.items()):
                return factor
    raise SpinetError(f"{where}: no single {what} gives the channels per level {dict(sorted(channels.items()))}")
