"""Heads for inference; see `spinet.fuse.fuse`."""

from collections.abc import Callable

from torch import Tensor, nn

from spinet.fuse.folding import FoldedConv, fold_conv, fold_linear
from spinet.fuse.rewriting import Rewriter, exchange
from spinet.models.roi_heads import BoxHead, MaskHead, RoiConvs
from spinet.models.rpn import RegionProposalNetwork
from spinet.models.towers import SeparableConv, SharedConvs, Tower


class LevelConvs(nn.Module):
    """`SharedConvs` with the batch norms folded, hence with separate weights for each level.

    That takes more memory than a scale and a shift per level, but saves a pass over the features.
    """

    def __init__(self, module: SharedConvs) -> None:
        super().__init__()
        self.levels = nn.ModuleDict()
        for level, norms in module.norms.items():
            assert isinstance(norms, nn.ModuleList)
            pairs = zip(module.convs, norms, strict=True)
            self.levels[level] = nn.Sequential(*(_folded(conv, norm, module.activation) for conv, norm in pairs))

    def level_features(self, features: dict[int, Tensor]) -> dict[int, Tensor]:
        """Map `{level: (N, in, H, W)}` to `{level: (N, out, H, W)}`."""
        return {level: self.levels[str(level)](x) for level, x in features.items()}


def _folded(conv: nn.Module, norm: nn.Module, activation: Callable[[Tensor], Tensor]) -> FoldedConv:
    assert isinstance(norm, nn.BatchNorm2d)
    if not isinstance(conv, SeparableConv):
        return FoldedConv(fold_conv(conv, norm), activation)
    return FoldedConv(nn.Sequential(conv.depthwise, fold_conv(conv.pointwise, norm)), activation)


class FusedTower(LevelConvs):
    """`Tower` with its batch norms folded."""

    def __init__(self, tower: Tower, _rewrite: Rewriter) -> None:
        super().__init__(tower)
        self.predictor = tower.predictor

    forward = Tower.forward


class FusedRpn(LevelConvs):
    """`RegionProposalNetwork` with its batch norms folded."""

    def __init__(self, rpn: RegionProposalNetwork, _rewrite: Rewriter) -> None:
        super().__init__(rpn)
        self.cls_logits, self.bbox_pred = rpn.cls_logits, rpn.bbox_pred

    forward = RegionProposalNetwork.forward


def fuse_roi_convs(module: RoiConvs, rewrite: Rewriter) -> nn.Module:
    """Fold the batch norms of the convolutions on RoI features."""
    pairs = zip(module.convs, module.norms, strict=True)
    return nn.Sequential(rewrite.input_format(), *(_folded(conv, norm, module.activation) for conv, norm in pairs))


def fuse_box_head(module: BoxHead, rewrite: Rewriter) -> nn.Module:
    """Fold all batch norms of a box head."""
    fc = fold_linear(module.fc, module.norm)
    return exchange(module, convs=rewrite(module.convs), fc=fc, norm=nn.Identity())


def fuse_mask_head(module: MaskHead, rewrite: Rewriter) -> nn.Module:
    """Fold all batch norms of a mask head."""
    deconv = fold_conv(module.deconv, module.norm)
    return exchange(module, convs=rewrite(module.convs), deconv=deconv, norm=nn.Identity())
