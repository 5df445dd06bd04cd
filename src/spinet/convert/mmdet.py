"""Tensor names in the mmdetection 1.1 ports of SpineNet.

All ports share mmdet/models/backbones/spinenet.py of lucifer443/SpineNet-Pytorch; yan-roo/SpineNet-Pytorch publishes
weights. The head is mmdetection's own `RetinaSepBNHead`.
"""

import re
from collections.abc import Iterable

from spinet.arch.genotype import Genotype
from spinet.convert.names import Names, branch

LEAVES = ("weight", "bias", "running_mean", "running_var")


def backbone_names(graph: Genotype, repeats: int, projection: bool) -> Names:
    """Return our names -> theirs for a backbone; with `projection` the first block's shortcut has a convolution."""
    names = _module("stem.conv", "backbone.conv1")
    for index, spec in enumerate(graph.all_blocks):
        position = index - len(graph.stem)
        theirs = f"backbone.scale_permuted_blocks.{position}" if spec.parents else f"backbone.init_block{index + 1}"
        ours = f"blocks.{index}.body" if spec.parents else f"blocks.{index}"
        for repeat in range(repeats):
            first = projection and index == repeat == 0
            names |= _block(f"{ours}.{repeat}", f"{theirs}.{repeat}", spec.kind, projection=first)
        for side, parent in enumerate(spec.parents):
            resample = f"backbone.merge_ops.{position}.resample_ops.{side}"
            down = graph.all_blocks[parent].level < spec.level
            names |= _resample(f"blocks.{index}.parents.{parent}", resample, down=down)
    for level in graph.endpoints:
        names |= _module(f"endpoints.{level}", f"backbone.endpoint_convs.{level}")
    return names


def head_names(levels: Iterable[int], convs: int) -> Names:
    """Return our names -> theirs for the RetinaNet head; every level stores the shared convolutions again."""
    names: Names = {}
    for ours, short in (("cls_tower", "cls"), ("box_tower", "reg")):
        names |= {f"{ours}.predictor.{leaf}": f"bbox_head.retina_{short}.{leaf}" for leaf in ("weight", "bias")}
        for index in range(convs):
            names[f"{ours}.convs.{index}.weight"] = f"bbox_head.{short}_convs.0.{index}.conv.weight"
            for position, level in enumerate(sorted(levels)):
                theirs = f"bbox_head.{short}_convs.{position}.{index}.bn"
                names |= {f"{ours}.norms.{level}.{index}.{leaf}": f"{theirs}.{leaf}" for leaf in LEAVES}
    return names


def shared_copies(names: Iterable[str]) -> set[str]:
    """Return the names of the copies of the first level's tower convolutions."""
    pattern = re.compile(r"bbox_head\.(cls|reg)_convs\.(?!0\.)\d+\.\d+\.conv\.\w+")
    return {name for name in names if pattern.fullmatch(name)}


def _resample(ours: str, theirs: str, *, down: bool) -> Names:
    names = _module(f"{ours}.reduce", f"{theirs}.squeeze_conv") | _module(f"{ours}.expand", f"{theirs}.expand_conv")
    return names | (_module(f"{ours}.down", f"{theirs}.downsample_conv") if down else {})


def _block(ours: str, theirs: str, kind: str, *, projection: bool) -> Names:
    names = _pair(f"{ours}.shortcut", f"{theirs}.downsample.0", f"{theirs}.downsample.1") if projection else {}
    for index in range(len(branch(kind, mobile=False))):
        names |= _pair(f"{ours}.convs.{index}", f"{theirs}.conv{index + 1}", f"{theirs}.bn{index + 1}")
    return names


def _module(ours: str, theirs: str) -> Names:
    """Return the names of mmdetection's `ConvModule`."""
    return _pair(ours, f"{theirs}.conv", f"{theirs}.bn")


def _pair(ours: str, conv: str, bn: str) -> Names:
    return {f"{ours}.conv.weight": f"{conv}.weight"} | {f"{ours}.norm.{leaf}": f"{bn}.{leaf}" for leaf in LEAVES}
