"""Networks for inference: the same function, computed with less work.

All rewriting is exact up to rounding. Batch norms are folded into the layers before them. The last 1x1 convolution of a
connection moves before nearest upsampling, because copying pixels and mixing channels commute. 1x1 convolutions whose
outputs are added become one on concatenated features, those of one source block become one, and parents of one level
are added before they are upsampled.
"""

import copy
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import nn

from spinet.errors import SpinetError
from spinet.fuse.backbone import FusedBlock, FusedMBConv, fuse_baseline, fuse_conv, fuse_pyramid, fuse_spinenet
from spinet.fuse.heads import FusedRpn, FusedTower, fuse_box_head, fuse_mask_head, fuse_roi_convs
from spinet.fuse.rewriting import Rewriter
from spinet.models.backbone import SpineNet
from spinet.models.baselines import BaselineBackbone, FeaturePyramid
from spinet.models.blocks import Block, ConvBN
from spinet.models.mbconv import MBConv
from spinet.models.roi_heads import BoxHead, MaskHead, RoiConvs
from spinet.models.rpn import RegionProposalNetwork
from spinet.models.towers import Tower

M = TypeVar("M", bound=nn.Module)

FORMS: dict[type[nn.Module], Callable[[Any, Rewriter], nn.Module]] = {
    ConvBN: fuse_conv,
    Block: FusedBlock,
    MBConv: FusedMBConv,
    SpineNet: fuse_spinenet,
    BaselineBackbone: fuse_baseline,
    FeaturePyramid: fuse_pyramid,
    Tower: FusedTower,
    RegionProposalNetwork: FusedRpn,
    RoiConvs: fuse_roi_convs,
    BoxHead: fuse_box_head,
    MaskHead: fuse_mask_head,
}


def fuse(model: M, *, dtype: torch.dtype | None = None, channels_last: bool = False) -> M:
    """Return a copy of a network that computes the same faster and can no longer be trained.

    In float32 outputs agree within 1e-5 of their maximum, in float64 within 1e-12. bfloat16 has 8 bits of precision, to
    which every layer rounds: features and logits change by a few percent.

    Args:
        model: a detector, classifier or backbone in evaluation mode; it is not changed.
        dtype: of weights and features, by default the model's; images may have any floating-point type.
        channels_last: whether features are in channels-last (NHWC) layout, which is faster on most CPUs and GPUs;
            `spinet.fuse.formats.best_format` measures it.

    Raises:
        SpinetError: the model is in training mode, or `dtype` is not a floating-point type.
    """
    if model.training:
        raise SpinetError(
            "the network is in training mode, in which batch norms depend on the batch; call eval() first"
        )
    if dtype is not None and not dtype.is_floating_point:
        raise SpinetError(f"dtype must be a floating-point type, not {dtype}")
    dtype = dtype or next(model.parameters(), torch.empty(0)).dtype
    fused = cast(M, Rewriter(FORMS, dtype, channels_last)(copy.deepcopy(model)))
    fused.eval().requires_grad_(False).to(dtype=dtype)
    if channels_last:
        fused.to(memory_format=torch.channels_last)
    return fused
