"""The sources of published weights: how to recognise each, and its conventions."""

import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spinet.arch.genotype import Genotype
from spinet.convert import garden, mmdet, tpu
from spinet.convert.names import Names
from spinet.convert.tf_checkpoint import Checkpoint, read_checkpoint
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError

OTHER_HEADS = "heads other than RetinaNet's"

# What a checkpoint holds beside the weights of a backbone and a RetinaNet head: reason -> pattern of names.
TF_LEFT_OUT = {
    "slots and counters of the optimizer": r"(^|/)optimizer(/|$)|OPTIMIZER_SLOT|/(Momentum|Adam|Adam_1)$",
    "counters": r"^(global_step|save_counter|model/global_step)$",
    "moving averages": r"ExponentialMovingAverage|(^|/)average(/|$)",
    OTHER_HEADS: r"^(model/)?(rpn_head|fast_rcnn_head|frcnn_head|detection_head|mask_head|classification_head|"
    r"decoder)(/|$)",
}
MMDET_LEFT_OUT = {
    "counters of batches": r"\.num_batches_tracked$",
    OTHER_HEADS: r"^(rpn_head|mask_head|mask_iou_head|bbox_head\.(shared_\w+|fc_\w+|\w+_fcs))\.",
}


@dataclass(frozen=True)
class Source:
    """A checkpoint that was recognised.

    Args:
        name: who wrote it.
        where: the file, for errors.
        tensors: weights by their names, in PyTorch's layout.
        left_out: reason -> names that are no weights of a network we have.
        mobile: whether its blocks are mobile ones.
        settings: its conventions.
        anchors: for each of our nine anchors of a cell, the place of it in theirs.
        boxes: for each of our four box offsets, the place of it in theirs.
        backbone: graph and repeats -> our names -> theirs.
        head: levels, convolutions, separable -> our names -> theirs.
        head_prefix: how the names of its variables begin.
        classifier: whether that is the dense layer of a classifier, without levels and convolutions.
        check: raises if a graph with these repeats is not what was saved.
    """

    name: str
    where: str
    tensors: Mapping[str, Tensor]
    left_out: Mapping[str, tuple[str, ...]]
    mobile: bool
    settings: ModelConfig
    anchors: tuple[int, ...]
    boxes: tuple[int, ...]
    backbone: Callable[[Genotype, int], Names]
    head: Callable[[Iterable[int], int, bool], Names]
    head_prefix: str
    classifier: bool = False
    check: Callable[[Genotype, int], None] = lambda _graph, _repeats: None


def read_source(path: Path) -> Source:
    """Recognise and read a checkpoint.

    Raises:
        SpinetError: it is none that is known, or it is damaged.
    """
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
    raise SpinetError(f"{checkpoint.where} holds no SpineNet of tensorflow/models or tensorflow/tpu ({shown}, ...)")


def _garden(checkpoint: Checkpoint, prefix: str) -> Source:
    tensors, left_out = _split(_in_pytorch_layout(checkpoint), TF_LEFT_OUT)
    mobile = f"{prefix}layer_with_weights-2/_conv0/kernel" in tensors
    projection = f"{prefix}layer_with_weights-2/_shortcut/kernel" in tensors
    head_prefix = "model/head/" if any(name.startswith("model/head/") for name in tensors) else "head/"

    def check(graph: Genotype, repeats: int) -> None:
        expected = garden.backbone_names(graph, repeats, prefix, projection)[1]
        found = garden.layer_count(checkpoint, prefix)
        if found != expected:
            raise SpinetError(
                f"{checkpoint.where} was saved from a backbone of {found} layers, not the {expected} that this graph "
                "has; since layers are known by their numbers alone, nothing can be told of them"
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
        anchors=tuple(range(9)),
        boxes=(1, 0, 3, 2),
        backbone=lambda graph, repeats: garden.backbone_names(graph, repeats, prefix, projection)[0],
        head=lambda levels, convs, separable: garden.head_names(levels, convs, separable, head_prefix),
        head_prefix=head_prefix,
        check=check,
    )


def _tpu(checkpoint: Checkpoint) -> Source:
    classifier = not any(name.startswith(("retinanet/", "rpn_head/")) for name in checkpoint.tensors)
    classifier &= any(name.startswith("classification_head/") for name in checkpoint.tensors)
    patterns = {reason: pattern for reason, pattern in TF_LEFT_OUT.items() if not classifier or reason != OTHER_HEADS}
    tensors, left_out = _split(_in_pytorch_layout(checkpoint), patterns)
    mobile = any(name.startswith("spinenet_mbconv/") for name in tensors)
    # What the first release's configurations say of batch norm; the last one's detectors have 1e-4 and 0.003.
    bn_eps, bn_momentum = (1e-5, 0.1) if classifier else (1e-3, 0.003)
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
        # Ratios come as 1, 2, 1/2 there.
        anchors=tuple(3 * octave + ratio for octave in range(3) for ratio in (2, 0, 1)),
        boxes=(1, 0, 3, 2),
        backbone=lambda graph, repeats: tpu.backbone_names(graph, repeats, _tpu_projection(tensors)),
        head=(lambda *_: tpu.classifier_names()) if classifier else tpu.head_names,
        head_prefix="classification_head/" if classifier else "retinanet/",
        classifier=classifier,
    )


def _tpu_projection(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the convolution behind the stem's is that of a shortcut: then the next has its input, not its output."""
    first, second = (tensors.get(f"spinenet/conv2d_{number}/kernel") for number in (1, 2))
    if first is None or second is None or first.shape[0] == first.shape[1]:
        return False
    return first.shape[1] == second.shape[1]


def _mmdet(path: Path) -> Source:
    tensors, left_out = _split(_state_dict(path), MMDET_LEFT_OUT)
    if "backbone.init_block1.0.conv1.weight" not in tensors:
        raise SpinetError(f"{path} holds no SpineNet of the mmdetection ports ({', '.join(sorted(tensors)[:3])}, ...)")
    copies = mmdet.shared_copies(tensors)
    for name in copies:
        first = re.sub(r"_convs\.\d+", "_convs.0", name)
        if first not in tensors or not torch.equal(tensors[name], tensors[first]):
            raise SpinetError(f"{path}: {name} should be the same tensor as {first}, but is not")
    projection = "backbone.init_block1.0.downsample.0.weight" in tensors
    return Source(
        "mmdetection",
        str(path),
        {name: value for name, value in tensors.items() if name not in copies},
        left_out,
        False,
        ModelConfig(pool_mode="mmdet", endpoint_activation=False, box_coding="mmdet"),
        # Ratios come first there, as height / width.
        anchors=tuple(3 * (2 - ratio) + octave for octave in range(3) for ratio in range(3)),
        boxes=(0, 1, 2, 3),
        backbone=lambda graph, repeats: mmdet.backbone_names(graph, repeats, projection),
        head=lambda levels, convs, _separable: mmdet.head_names(levels, convs),
        head_prefix="bbox_head.",
    )


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        damaged = None
        if zipfile.is_zipfile(path):  # torch.load does not verify checksums
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file makes the unpickler raise is anything
        reason = str(error).split("\n")[0]
        raise SpinetError(f"could not read the state dict {path}: {reason}") from None
    if damaged:
        raise SpinetError(f"could not read the state dict {path}: the checksum of its part {damaged} does not fit")
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise SpinetError(f"{path} holds no state dict")
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
    """Part the weights from what has no place in a network."""
    left_out: dict[str, tuple[str, ...]] = {}
    kept = dict(tensors)
    for reason, pattern in patterns.items():
        matching = tuple(name for name in kept if re.search(pattern, name))
        if matching:
            left_out[reason] = matching
        kept = {name: value for name, value in kept.items() if name not in matching}
    return kept, left_out
