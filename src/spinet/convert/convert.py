"""Converts published weights to a Spinet weights file, with the conventions they were trained with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.genotype import Genotype
from spinet.arch.published import usual_size
from spinet.convert.classes import WITH_BACKGROUND, class_table, classifier_table
from spinet.convert.names import Names
from spinet.convert.rcnn import RcnnLayout
from spinet.convert.shapes import ANCHORS, RATIOS, class_count, find_architecture, model_shapes, octave_count
from spinet.convert.sources import Source, read_source
from spinet.engine.build import ModelInfo, ModelKind
from spinet.engine.checkpoint import BACKBONE, save_weights
from spinet.engine.config import DataConfig, ModelConfig, TrainConfig
from spinet.errors import SpinetError
from spinet.models.options import Activation
from spinet.models.rcnn import BOX_SIDE

# The two genotypes with published weights.
MAIN, MOBILE = "spinenet49", "spinenet49-mobile"
MAX_REPEATS = 8
MAX_HEAD_CONVS = 12

# Our names of what is predicted for each anchor.
BOX_PREDICTORS = ("box_tower.predictor.", "rpn.bbox_pred.")
PREDICTORS = ("cls_tower.predictor.", "rpn.cls_logits.", *BOX_PREDICTORS)

# Image size of the published classifiers.
CLASSIFIER_SIZE = 224

# Side of the smallest anchor of the published detectors in strides, where it is not 3.
ANCHOR_SCALE = {"spinenet143": 4.0, "spinenet143l": 4.0, "spinenet190": 4.0}


@dataclass(frozen=True)
class Converted:
    """Converted weights by our names, their description, the publisher, and what was left out, by reason."""

    weights: dict[str, Tensor]
    info: ModelInfo
    source: str
    left_out: Mapping[str, tuple[str, ...]]

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        fixed = ("running_mean", "running_var", "num_batches_tracked")
        return sum(value.numel() for name, value in self.weights.items() if not name.endswith(fixed))

    def save(self, path: str | Path) -> None:
        """Write the weights file."""
        save_weights(Path(path), self.weights, self.info, {})


def convert(
    path: str | Path,
    *,
    arch: str = "",
    activation: Activation | None = None,
    bn_eps: float | None = None,
    image_size: int | None = None,
) -> Converted:
    """Convert a checkpoint of tensorflow/models or tensorflow/tpu, or a state dict of the mmdetection ports.

    Args:
        path: checkpoint prefix, one of its files or its folder; or a `.pth` file.
        arch: catalog name or file of the architecture; inferred from the weights by default.
        activation: that the model was trained with; checkpoints do not contain it. By default swish for mobile models,
            tensorflow/models (whose last configs of mobile 49S and 49 have hard_swish), cascades and tensorflow/tpu's
            Mask R-CNN on SpineNet-190, relu for the others, among them all other Mask R-CNNs.
        bn_eps: epsilon of batch norm; the publisher's by default.
        image_size: side of the training images, pixels; the published model's by default.

    Raises:
        SpinetError: the checkpoint is corrupt or unknown, or a variable is missing, unexpected or of another shape.
    """
    source = read_source(Path(path))
    wanted = load_architecture(arch) if arch else None
    graph = wanted.genotype if wanted else load_architecture(MOBILE if source.mobile else MAIN).genotype
    repeats = wanted.scaling.repeats if wanted else _repeats(source, graph)
    names = {BACKBONE + ours: theirs for ours, theirs in source.backbone(graph, repeats).items()}
    names |= _head_names(source, graph)
    _check_names(source, names)
    source.check(graph, repeats)
    weights = {ours: source.tensors[theirs] for ours, theirs in names.items()}
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    classes = class_count(shapes)
    task: ModelKind = "backbone" if not classes else "classifier" if source.classifier else "detector"
    model = _with_head(source, shapes)
    architecture = wanted or find_architecture(graph, shapes, repeats, classes, source.where, task, model)
    _complete(source, weights, model_shapes(architecture, classes, task, model), names)
    weights |= {name: _ours(source, name, weights[name]) for name in names}
    info = _info(source, model, architecture, classes, task)
    info = replace(
        info,
        model=replace(
            info.model,
            activation=activation or info.model.activation,
            bn_eps=info.model.bn_eps if bn_eps is None else bn_eps,
        ),
        image_size=info.image_size if image_size is None else image_size,
    )
    TrainConfig(model=info.model, data=DataConfig(image_size=info.image_size))  # validates the settings
    return Converted(weights, info, source.name, source.left_out)


def _with_head(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> ModelConfig:
    """Return the settings of a source, with those of an R-CNN if it is one."""
    layout = source.rcnn
    if layout is None:
        return source.settings
    return replace(
        source.settings,
        head=layout.head,
        octaves=octave_count(shapes, source.where),
        rpn_convs=layout.rpn_convs,
        roi_align="google",
        background=False,
    )


def _info(
    source: Source, settings: ModelConfig, architecture: Architecture, classes: int, task: ModelKind
) -> ModelInfo:
    if source.rcnn is not None:
        return _rcnn_info(source, source.rcnn, settings, architecture, classes)
    if task == "classifier":
        settings = replace(settings, head="classifier", box_coding="exact", background=classes == WITH_BACKGROUND)
        class_names, category_ids = classifier_table(classes)
        size = CLASSIFIER_SIZE
    else:
        settings = replace(settings, background=settings.background and classes > 0)
        class_names, category_ids = class_table(classes, settings.background)
        size = usual_size(architecture.name)
    model = replace(settings, arch=architecture.name, anchor_scale=ANCHOR_SCALE.get(architecture.name, 3.0))
    return ModelInfo(architecture, model, class_names, category_ids, size)


def _rcnn_info(
    source: Source, layout: RcnnLayout, settings: ModelConfig, architecture: Architecture, classes: int
) -> ModelInfo:
    known = layout.published(source.name, architecture.name)
    model = replace(settings, arch=architecture.name, anchor_scale=known.anchor_scale, activation=known.activation)
    class_names, category_ids = class_table(classes + 1, background=True)  # theirs, of which ours leave out the first
    size = known.image_size or usual_size(architecture.name)
    return ModelInfo(architecture, model, class_names[1:], category_ids[1:], size)


def _repeats(source: Source, graph: Genotype) -> int:
    """Return the number of repeats of each block that leaves the fewest names unmatched."""
    backbone = {name for name in source.tensors if not name.startswith(source.head_prefix)}
    return min(range(1, MAX_REPEATS + 1), key=lambda count: len(set(source.backbone(graph, count).values()) ^ backbone))


def _head_names(source: Source, graph: Genotype) -> Names:
    """Return the head's names that leave the fewest unmatched; none if the checkpoint has no head."""
    present = {name for name in source.tensors if name.startswith(source.head_prefix)}
    if not present:
        return {}
    if source.rcnn:
        return source.head(graph.endpoints, 0, False)
    kinds = [(convs, separable) for convs in range(MAX_HEAD_CONVS + 1) for separable in (False, True)]
    candidates = (source.head(graph.endpoints, *kind) for kind in kinds)
    return min(candidates, key=lambda names: len(set(names.values()) ^ present))


def _check_names(source: Source, names: Names) -> None:
    missing = sorted(set(names.values()) - set(source.tensors))
    unexpected = sorted(set(source.tensors) - set(names.values()))
    if missing or unexpected:
        faults = [_listed(missing, "missing"), _listed(unexpected, "unexpected")]
        raise SpinetError(f"{source.where}: {'; '.join(filter(None, faults))}; nothing was converted")


def _complete(source: Source, weights: dict[str, Tensor], wanted: Mapping[str, tuple[int, ...]], names: Names) -> None:
    """Add the tensors that no publisher stores, and compare all shapes with the network's."""
    for name, shape in wanted.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.zeros((), dtype=torch.int64)
        elif name not in names and name.endswith(".bias"):
            # mmdetection's tower convolutions have no bias, because a batch norm follows; ours have one, so it is zero.
            weights[name] = torch.zeros(shape)
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if wrong:
        shown = [f"{names.get(name, name)} is {found.get(name)}, not {wanted.get(name)}" for name in wrong]
        raise SpinetError(f"{source.where}: {_listed(shown, 'of another shape')}; nothing was converted")


def _listed(names: list[str], fault: str) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{len(names)} variables are {fault}: {', '.join(names[:20])}{rest}"


def _ours(source: Source, name: str, value: Tensor) -> Tensor:
    """Reorder a predictor's channels to our order of anchors and box offsets; keep other weights as they are."""
    value = value.float()
    if name.startswith(PREDICTORS) and "depthwise" not in name:
        values = 4 if name.startswith(BOX_PREDICTORS) else 1
        count = len(value) // values if name.startswith("rpn.") else ANCHORS
        anchors = value.reshape(count, -1, *value.shape[1:])[list(source.anchors(count // RATIOS))]
        if name.startswith(BOX_PREDICTORS):
            anchors = anchors[:, list(source.boxes)]
        value = anchors.flatten(0, 1)
    elif ".bbox_pred." in name:  # of a box head: for each class
        value = value.reshape(-1, 4, *value.shape[1:])[:, list(source.boxes)].flatten(0, 1)
    elif name.startswith("box_heads.") and name.endswith(".fc.weight"):
        # Its inputs are flattened with the channels last there, and first here.
        value = value.reshape(len(value), BOX_SIDE, BOX_SIDE, -1).permute(0, 3, 1, 2).flatten(1)
    return value.contiguous()
