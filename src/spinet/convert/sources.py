"""The publishers of weights: how to recognize their checkpoints, and their conventions."""

import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spinet.arch.genotype import Genotype
from spinet.convert import garden, mmdet, rcnn, tpu
from spinet.convert.names import Names, biased
from spinet.convert.rcnn import RcnnLayout
from spinet.convert.tf_checkpoint import Checkpoint, read_checkpoint
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError

OTHER_HEADS = "heads other than RetinaNet's"

# What else a checkpoint contains besides a backbone and a RetinaNet head: reason -> pattern of names.
TF_LEFT_OUT = {
    "optimizer state": r"(^|/)optimizer(/|$)|OPTIMIZER_SLOT|/(Momentum|Adam|Adam_1)$",
    "counters": r"^(global_step|save_counter|model/global_step)$",
    "moving averages": r"ExponentialMovingAverage|(^|/)average(/|$)",
    OTHER_HEADS: r"^(model/)?(rpn_head|fast_rcnn_head|frcnn_head|detection_head|mask_head|classification_head|"
    r"decoder)(/|$)",
}
# The same of an R-CNN.
RCNN_LEFT_OUT = {reason: pattern for reason, pattern in TF_LEFT_OUT.items() if reason != OTHER_HEADS} | {
    "other heads": r"^(model/)?(classification_head|decoder)(/|$)"
}
MMDET_LEFT_OUT = {
    "batch counters": r"\.num_batches_tracked$",
    OTHER_HEADS: r"^(rpn_head|mask_head|mask_iou_head|bbox_head\.(shared_\w+|fc_\w+|\w+_fcs))\.",
}

# Our names -> theirs of a head, from levels, number of convolutions and whether they are separable; an R-CNN's are
# counted beforehand.
HeadNames = Callable[[Iterable[int], int, bool], Names]


@dataclass(frozen=True)
class Source:
    """A recognized checkpoint: its weights by published names, in PyTorch's layout, and its conventions.

    `anchors` gives, of a number of octaves, the index in theirs of each of our anchors per location; `boxes` does so
    for our four box offsets. `backbone` and `head` map our names to theirs. `rcnn` is None for other heads. `check`
    raises if the model was another graph, or had other repeats.
    """

    name: str
    where: str
    tensors: Mapping[str, Tensor]
    left_out: Mapping[str, tuple[str, ...]]  # reason -> names of what is not converted
    mobile: bool
    settings: ModelConfig
    anchors: Callable[[int], tuple[int, ...]]
    boxes: tuple[int, ...]
    backbone: Callable[[Genotype, int], Names]
    head: HeadNames
    head_prefix: str | tuple[str, ...]
    rcnn: RcnnLayout | None = None
    classifier: bool = False
    check: Callable[[Genotype, int], None] = lambda _graph, _repeats: None


def read_source(path: Path) -> Source:
    """Recognize and read a checkpoint."""
    if path.suffix in (".pth", ".pt", ".pkl"):
        return _mmdet(path)
    checkpoint = read_checkpoint(path)
    names = [name.removesuffix(garden.SUFFIX) for name in checkpoint.tensors]
    prefix = garden.backbone_prefix(names)
    if prefix is not None:
        return _garden(checkpoint, prefix)
    if any(name.startswith(("spinenet/", "spinenet_mbconv/")) for name in names):
        return _tpu(checkpoint)
    shown = ", ".join(sorted(names)[:3])
    raise SpinetError(
        f"{checkpoint.where} is not a SpineNet checkpoint of tensorflow/models or tensorflow/tpu; "
        f"its variables are {shown}, ..."
    )


def _garden(checkpoint: Checkpoint, prefix: str) -> Source:
    tensors = _in_pytorch_layout(checkpoint)
    root = "model/" if rcnn.has_rcnn(tensors, rcnn.GARDEN_HEADS, "model/") else ""
    is_rcnn = rcnn.has_rcnn(tensors, rcnn.GARDEN_HEADS, root)
    tensors, left_out = _split(tensors, RCNN_LEFT_OUT if is_rcnn else TF_LEFT_OUT)
    layout = rcnn.garden_layout(tensors, root, checkpoint.where) if is_rcnn else None
    mobile = f"{prefix}layer_with_weights-2/_conv0/kernel" in tensors
    projection = f"{prefix}layer_with_weights-2/_shortcut/kernel" in tensors
    head_prefix = "model/head/" if any(name.startswith("model/head/") for name in tensors) else "head/"

    def check(graph: Genotype, repeats: int) -> None:
        expected = garden.backbone_names(graph, repeats, prefix, projection)[1]
        layers = garden.layer_count(checkpoint, prefix)
        if layers != expected:
            raise SpinetError(
                f"{checkpoint.where} was saved from a backbone of {layers} layers, but this graph has {expected}; "
                "layers are identified by number, so none can be matched"
            )

    return Source(
        "tensorflow/models",
        checkpoint.where,
        tensors,
        left_out,
        mobile,
        ModelConfig(
            activation="swish",
            pad_mode="same",
            pool_mode="mg",
            bn_eps=1e-3,
            squeeze_mode="mg" if mobile else "tpu",
            background=True,
        ),
        anchors=lambda octaves: tuple(range(3 * octaves)),
        boxes=(1, 0, 3, 2),
        backbone=lambda graph, repeats: garden.backbone_names(graph, repeats, prefix, projection)[0],
        head=lambda levels, convs, separable: (
            rcnn.garden_names(levels, layout, root)
            if layout
            else garden.head_names(levels, convs, separable, head_prefix)
        ),
        head_prefix=tuple(root + head for head in rcnn.GARDEN_HEADS) if layout else head_prefix,
        rcnn=layout,
        check=check,
    )


def _tpu(checkpoint: Checkpoint) -> Source:
    classifier = not any(name.startswith(("retinanet/", "rpn_head/")) for name in checkpoint.tensors)
    classifier &= any(name.startswith("classification_head/") for name in checkpoint.tensors)
    is_rcnn = rcnn.has_rcnn(checkpoint.tensors, rcnn.TPU_HEADS)
    patterns = RCNN_LEFT_OUT if is_rcnn else TF_LEFT_OUT
    if classifier:
        patterns = {reason: pattern for reason, pattern in TF_LEFT_OUT.items() if reason != OTHER_HEADS}
    tensors, left_out = _split(_in_pytorch_layout(checkpoint), patterns)
    layout = rcnn.tpu_layout(tensors) if is_rcnn else None
    mobile = any(name.startswith("spinenet_mbconv/") for name in tensors)
    # Batch norm as in the configs of the first release; the RetinaNets of the last one have 1e-4 and 0.003.
    bn_eps, bn_momentum = (1e-5, 0.1) if classifier else (1e-3, 0.01 if is_rcnn else 0.003)
    return Source(
        "tensorflow/tpu",
        checkpoint.where,
        tensors,
        left_out,
        mobile,
        ModelConfig(
            activation="swish" if mobile else "relu",
            pool_mode="tpu",
            bn_eps=bn_eps,
            bn_momentum=bn_momentum,
            box_coding="tpu",
            background=True,
        ),
        # Their aspect ratios are ordered 1, 2, 1/2.
        anchors=lambda octaves: tuple(3 * octave + ratio for octave in range(octaves) for ratio in (2, 0, 1)),
        boxes=(1, 0, 3, 2),
        backbone=lambda graph, repeats: tpu.backbone_names(graph, repeats, _tpu_projection(tensors)),
        head=_tpu_head(classifier, layout),
        head_prefix="classification_head/" if classifier else rcnn.TPU_HEADS if layout else "retinanet/",
        rcnn=layout,
        classifier=classifier,
    )


def _tpu_head(classifier: bool, layout: RcnnLayout | None) -> HeadNames:
    if classifier:
        return lambda *_: biased("fc", "classification_head/dense")
    return (lambda levels, *_: rcnn.tpu_names(levels, layout)) if layout else tpu.head_names


def _tpu_projection(tensors: Mapping[str, Tensor]) -> bool:
    """Whether conv2d_1 belongs to a shortcut: then conv2d_2 takes the same input instead of its output."""
    first, second = (tensors.get(f"spinenet/conv2d_{number}/kernel") for number in (1, 2))
    if first is None or second is None or first.shape[0] == first.shape[1]:
        return False
    return first.shape[1] == second.shape[1]


def _mmdet(path: Path) -> Source:
    tensors, left_out = _split(_state_dict(path), MMDET_LEFT_OUT)
    if "backbone.init_block1.0.conv1.weight" not in tensors:
        shown = ", ".join(sorted(tensors)[:3])
        raise SpinetError(f"{path} is not a SpineNet checkpoint of the mmdetection ports; its tensors are {shown}, ...")
    copies = mmdet.shared_copies(tensors)
    for name in copies:
        first = re.sub(r"_convs\.\d+", "_convs.0", name)
        if first not in tensors or not torch.equal(tensors[name], tensors[first]):
            raise SpinetError(f"{path}: {name} must be equal to {first}, which shares its weights")
    projection = "backbone.init_block1.0.downsample.0.weight" in tensors
    return Source(
        "mmdetection",
        str(path),
        {name: value for name, value in tensors.items() if name not in copies},
        left_out,
        False,
        ModelConfig(pool_mode="mmdet", endpoint_activation=False, box_coding="mmdet"),
        # Their aspect ratios are the outer loop, as height / width.
        anchors=lambda octaves: tuple(
            octaves * (2 - ratio) + octave for octave in range(octaves) for ratio in range(3)
        ),
        boxes=(0, 1, 2, 3),
        backbone=lambda graph, repeats: mmdet.backbone_names(graph, repeats, projection),
        head=lambda levels, convs, _separable: mmdet.head_names(levels, convs),
        head_prefix="bbox_head.",
    )


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):  # torch.load does not verify checksums
            with zipfile.ZipFile(path) as archive:
                if corrupt := archive.testzip():
                    raise ValueError(f"wrong checksum of its part {corrupt}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any error raised by a corrupt archive
        reason = str(error).split("\n")[0]
        raise SpinetError(f"could not read the state dict {path}: {reason}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise SpinetError(f"{path} contains no state dict")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _in_pytorch_layout(checkpoint: Checkpoint) -> dict[str, Tensor]:
    tensors = {}
    for name, value in checkpoint.tensors.items():
        name = name.removesuffix(garden.SUFFIX)
        if value.ndim == 4:
            # Depthwise kernels are (height, width, channels, 1), others (height, width, in, out).
            value = value.transpose((2, 3, 0, 1) if name.endswith("depthwise_kernel") else (3, 2, 0, 1))
        elif value.ndim == 2:
            value = value.transpose()
        tensors[name] = torch.from_numpy(np.array(value, order="C"))
    return tensors


def _split(
    tensors: Mapping[str, Tensor], patterns: Mapping[str, str]
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Separate the weights from what is not converted."""
    reasons = {name: next((why for why in patterns if re.search(patterns[why], name)), None) for name in tensors}
    kept = {name: value for name, value in tensors.items() if reasons[name] is None}
    left_out = {why: tuple(name for name in tensors if reasons[name] == why) for why in patterns}
    left_out = {why: names for why, names in left_out.items() if names}
    return kept, left_out
