"""Heads for inference only; see `spinet.fuse.fuse`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spinet.fuse.folding import FoldedConv, fold_conv, fold_linear
from spinet.fuse.rewriting import Rewriter, exchange
from spinet.models.retinanet import SeparableConv, Tower
from spinet.models.roi_heads import BoxHead, MaskHead, RegionConvs
from spinet.models.rpn import RegionProposals


class LevelConvs(nn.Module):
    """Convolutions that levels share but for their batch norms, as weights of each level's own.

    That is more memory than a scale and a shift for each level, but saves a pass over the features.
    """

    def __init__(self, module: Tower | RegionProposals) -> None:
        super().__init__()
        self.levels = nn.ModuleDict()
        for level, norms in module.norms.items():
            assert isinstance(norms, nn.ModuleList)
            pairs = zip(module.convs, norms, strict=True)
            self.levels[level] = nn.Sequential(*(_folded(conv, norm, module.activation) for conv, norm in pairs))

    def forward(self, features: dict[int, Tensor]) -> dict[int, Tensor]:
        """Map `{level: (N, in, H, W)}` to `{level: (N, out, H, W)}`."""
        return {level: self.levels[str(level)](flow) for level, flow in features.items()}


def _folded(conv: nn.Module, norm: nn.Module, activation: Callable[[Tensor], Tensor]) -> FoldedConv:
    assert isinstance(norm, nn.BatchNorm2d)
    if not isinstance(conv, SeparableConv):
        return FoldedConv(fold_conv(conv, norm), activation)
    return FoldedConv(nn.Sequential(conv.depthwise, fold_conv(conv.pointwise, norm)), activation)


class FusedTower(nn.Module):
    """`Tower`, its batch norms folded."""

    def __init__(self, tower: Tower, _rewrite: Rewriter) -> None:
        super().__init__()
        self.convs = LevelConvs(tower)
        self.predictor = tower.predictor

    def forward(self, features: dict[int, Tensor], values: int) -> Tensor:
        """Map `{level: (N, in, H, W)}` to `(N, A, values)`, in the order of `Tower`."""
        predicted = [self.predictor(flow).permute(0, 2, 3, 1) for flow in self.convs(features).values()]
        return torch.cat([each.reshape(len(each), -1, values) for each in predicted], dim=1)


class FusedProposals(nn.Module):
    """`RegionProposals`, its batch norms folded."""

    def __init__(self, module: RegionProposals, _rewrite: Rewriter) -> None:
        super().__init__()
        self.convs = LevelConvs(module)
        self.cls_logits, self.bbox_pred = module.cls_logits, module.bbox_pred

    def forward(self, features: dict[int, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Map `{level: (N, in, H, W)}` to logits `(N, A)` and box offsets `(N, A, 4)` of each level's anchors."""
        flows = self.convs(features).values()
        logits = [self.cls_logits(flow).permute(0, 2, 3, 1).flatten(1).float() for flow in flows]
        deltas = [self.bbox_pred(flow).permute(0, 2, 3, 1).reshape(len(flow), -1, 4).float() for flow in flows]
        return logits, deltas


def fuse_region_convs(module: RegionConvs, rewrite: Rewriter) -> nn.Module:
    """Fold the batch norms of the convolutions of a region."""
    pairs = zip(module.convs, module.norms, strict=True)
    return nn.Sequential(rewrite.entry(), *(_folded(conv, norm, module.activation) for conv, norm in pairs))


def fuse_box_head(module: BoxHead, rewrite: Rewriter) -> nn.Module:
    """Fold all batch norms of a box head."""
    fc = fold_linear(module.fc, module.norm)
    return exchange(module, convs=rewrite(module.convs), fc=fc, norm=nn.Identity())


def fuse_mask_head(module: MaskHead, rewrite: Rewriter) -> nn.Module:
    """Fold all batch norms of a mask head."""
    deconv = fold_conv(module.deconv, module.norm)
    return exchange(module, convs=rewrite(module.convs), deconv=deconv, norm=nn.Identity())
