"""Networks for inference only: the same function, computed with less work.

All rewriting is exact but for rounding. Batch norms go into the layers before them. The last 1x1 convolution of a
connection goes before nearest upsampling, because picking pixels and mixing channels commute. 1x1 convolutions whose
results are added become one on features side by side, those that leave one block become one that is shared, and parents
of one level are added before they are upsampled.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import nn

from spinet.errors import SpinetError
from spinet.fuse.backbone import (
    FusedBlock,
    FusedMBConv,
    fuse_baseline,
    fuse_conv,
    fuse_pyramid,
    fuse_spinenet,
)
from spinet.fuse.heads import FusedProposals, FusedTower, fuse_box_head, fuse_mask_head, fuse_region_convs
from spinet.fuse.rewriting import Rewriter
from spinet.models.backbone import SpineNet
from spinet.models.baselines import BaselineBackbone, FeaturePyramid
from spinet.models.blocks import Block, ConvBN
from spinet.models.mbconv import MBConv
from spinet.models.retinanet import Tower
from spinet.models.roi_heads import BoxHead, MaskHead, RegionConvs
from spinet.models.rpn import RegionProposals

M = TypeVar("M", bound=nn.Module)

FORMS: dict[type[nn.Module], Callable[[Any, Rewriter], nn.Module]] = {
    ConvBN: fuse_conv,
    Block: FusedBlock,
    MBConv: FusedMBConv,
    SpineNet: fuse_spinenet,
    BaselineBackbone: fuse_baseline,
    FeaturePyramid: fuse_pyramid,
    Tower: FusedTower,
    RegionProposals: FusedProposals,
    RegionConvs: fuse_region_convs,
    BoxHead: fuse_box_head,
    MaskHead: fuse_mask_head,
}


def fuse(model: M, *, dtype: torch.dtype | None = None, channels_last: bool = False) -> M:
    """Return a copy of a network that computes the same faster and can no longer be trained.

    In float32 outputs agree within 1e-5 of their maximum, in float64 within 1e-12. bfloat16 has 8 bits of precision:
    each of a network's layers rounds to them, which changes features and logits by some percent.

    Args:
        model: a detector, classifier or backbone in evaluation mode; it is left as it is.
        dtype: of weights and features, by default the model's; images of any floating point type go in.
        channels_last: whether features lie pixel by pixel in memory, which most CPUs and GPUs are faster with. See
            `spinet.fuse.formats.best_format` for the choice.

    Raises:
        SpinetError: the model is in training mode, or the type is not one of floating point numbers.
    """
    if model.training:
        raise SpinetError("the network is in training mode, where batch norms depend on the batch; call eval() first")
    if dtype is not None and not dtype.is_floating_point:
        raise SpinetError(f"a network cannot compute in {dtype}; allowed are floating point types")
    kind = dtype or next(model.parameters(), torch.empty(0)).dtype
    fused = cast(M, Rewriter(FORMS, kind, channels_last)(copy.deepcopy(model)))
    fused.eval().requires_grad_(False).to(dtype=kind)
    if channels_last:
        fused.to(memory_format=torch.channels_last)
    return fused
