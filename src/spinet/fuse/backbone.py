"""Parts of backbones for inference only; see `spinet.fuse.fuse`."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from spinet.arch.genotype import Genotype
from spinet.fuse.folding import FoldedConv, fold_conv, fold_traced, in_place, with_weights
from spinet.fuse.rewriting import Rewriter, exchange
from spinet.models.backbone import PermutedBlock, SpineNet
from spinet.models.baselines import BaselineBackbone, FeaturePyramid
from spinet.models.blocks import Block, ConvBN
from spinet.models.mbconv import MBConv
from spinet.models.resample import ONE_POOL, PoolMode, Resample, SeparableResample, Size, pool_to, resize, tpu_pool


def fuse_conv(module: ConvBN, _rewrite: Rewriter) -> nn.Module:
    """Fold the batch norm into the convolution."""
    return FoldedConv(fold_conv(module.conv, module.norm), module.activation)


class FusedBlock(nn.Module):
    """`Block`: the sum and its activation are written over the branch."""

    def __init__(self, block: Block, rewrite: Rewriter) -> None:
        super().__init__()
        self.branch = nn.Sequential(*(rewrite(conv) for conv in block.convs))
        self.shortcut = rewrite(block.shortcut)
        self.activation = in_place(block.activation)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H, W)`."""
        return self.activation(self.branch(features).add_(self.shortcut(features)))


class FusedMBConv(nn.Module):
    """`MBConv`: the gate and the sum are written over what they change."""

    def __init__(self, block: MBConv, rewrite: Rewriter) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(rewrite(block.expand), rewrite(block.depthwise))
        squeeze = block.squeeze_excite
        self.reduce, self.expand = squeeze.reduce, squeeze.expand
        self.squeeze_activation, self.gate = squeeze.activation, squeeze.gate
        self.project = rewrite(block.project)
        self.residual = block.residual

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, channels, ceil(H / stride), ceil(W / stride))`."""
        branch = self.depthwise(features)
        squeezed = self.squeeze_activation(self.reduce(branch.mean(dim=(2, 3), keepdim=True)))
        output: Tensor = self.project(branch.mul_(self.gate(self.expand(squeezed))))
        return output.add_(features) if self.residual else output


class Exit(nn.Module):
    """What a connection does to the features of the block that it leaves: its first 1x1 convolution, if it has one.

    Connections that leave one block may share it, each taking a part of its output: then it is computed by the first
    and kept for the others among the features, under a number below 0.
    """

    def __init__(self, source: int, conv: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.conv = conv
        self.part: slice | None = None

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        """Map the blocks' `(N, in, H, W)` to `(N, inner, H, W)` of this connection."""
        if self.part is None:
            found: Tensor = self.conv(features[self.source])
            return found
        place = -1 - self.source
        if place not in features:
            features[place] = self.conv(features[self.source])
        # A copy without gaps, in the format of the whole: convolutions on a part of something are slow.
        return features[place][:, self.part].clone()


class Path(nn.Module):
    """A connection without its last 1x1 convolution: to the target's resolution where that is coarser."""

    def __init__(self, source: int, resample: Resample | SeparableResample, rewrite: Rewriter) -> None:
        super().__init__()
        self.exit = Exit(source, nn.Identity())
        self.down: nn.Module = nn.Identity() if resample.down is None else rewrite(resample.down)
        self.pool_mode: PoolMode | None = None
        if isinstance(resample, Resample):
            self.exit = Exit(source, rewrite(resample.reduce))
            self.pool_mode = None if resample.down is None else resample.pool_mode

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Map the blocks' `(N, in, H, W)` to `(N, inner, *size)`, or to `(N, inner, H, W)` on the way up."""
        flow: Tensor = self.exit(features)
        before = flow.shape[-1]
        flow = self.down(flow)
        if self.pool_mode is None:
            return flow
        if self.pool_mode in ONE_POOL:
            flow = tpu_pool(flow, before, size[1], self.pool_mode)
        return pool_to(flow, size, self.pool_mode)


def share_exits(exits: Iterable[Exit]) -> None:
    """Make one convolution of those of all connections that leave a block: its features are then read once."""
    # All connections of a network have one activation.
    leaving: dict[int, list[Any]] = {}
    for each in exits:
        if isinstance(each.conv, FoldedConv) and each.part is None:
            leaving.setdefault(each.source, []).append(each)
    for group in leaving.values():
        if len(group) > 1:
            convs = [each.conv.conv for each in group]
            weight, bias = (torch.cat([conv.get_parameter(name) for conv in convs]) for name in ("weight", "bias"))
            shared = FoldedConv(with_weights(convs[0], weight, bias), group[0].conv.activation)
            ends = list(accumulate(conv.out_channels for conv in convs))
            for each, start, end in zip(group, [0, *ends], ends, strict=False):
                each.conv, each.part = shared, slice(start, end)


class Joint(nn.Module):
    """Connections whose paths end at one resolution: their sum, upsampled once.

    Their last convolutions are one on features side by side, unless these are wider than the result, as in mobile
    networks: then putting them side by side would cost more than the addition.
    """

    def __init__(self, resamples: dict[str, Resample | SeparableResample], down: bool, rewrite: Rewriter) -> None:
        super().__init__()
        self.paths = nn.ModuleList(Path(int(name), resample, rewrite) for name, resample in resamples.items())
        convs = [fold_conv(resample.expand.conv, resample.expand.norm) for resample in resamples.values()]
        inner = sum(conv.in_channels for conv in convs)
        self.joined = len(convs) > 1 and inner <= convs[0].out_channels
        if self.joined:
            weight = torch.cat([conv.weight for conv in convs], dim=1)
            bias = torch.stack([conv.get_parameter("bias") for conv in convs]).sum(dim=0)
            convs = [with_weights(convs[0], weight, bias)]
        self.expand = nn.ModuleList(convs)
        self.down = down

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`, in memory of its own."""
        flows = [path(features, size) for path in self.paths]
        if self.down:
            flows = [resize(flow, size) for flow in flows]
        if self.joined:
            flows = [torch.cat(flows, dim=1)]
        total, *others = (conv(flow) for conv, flow in zip(self.expand, flows, strict=True))
        for other in others:
            total.add_(other)
        return resize(total, size)


class FusedPermutedBlock(nn.Module):
    """`PermutedBlock`, its connections grouped by the resolution at which they can be added."""

    def __init__(self, block: PermutedBlock, index: int, genotype: Genotype, rewrite: Rewriter) -> None:
        super().__init__()
        target = genotype.all_blocks[index].level
        groups: dict[int, dict[str, Resample | SeparableResample]] = {}
        for name, resample in block.parents.items():
            assert isinstance(resample, Resample | SeparableResample)
            level = max(genotype.all_blocks[int(name)].level, target)
            groups.setdefault(level, {})[name] = resample
        # What needs no upsampling comes first: the others are added to it.
        self.joints = nn.ModuleList(Joint(groups[level], level == target, rewrite) for level in sorted(groups))
        self.direct = block.direct
        self.body = rewrite(block.body)
        self.activation, self.in_place = block.activation, in_place(block.activation)

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`."""
        total, *others = [joint(features, size) for joint in self.joints] or [features[self.direct[0]].clone()]
        others += [features[index] for index in self.direct[0 if len(self.joints) else 1 :]]
        for other in others:
            total.add_(other)
        output: Tensor = self.body(self.activation(total))
        return output


def fuse_spinenet(module: SpineNet, rewrite: Rewriter) -> nn.Module:
    """Rewrite all parts of a SpineNet."""
    for name, block in module.blocks.items():
        if isinstance(block, PermutedBlock):
            module.blocks[name] = FusedPermutedBlock(block, int(name), module.genotype, rewrite)
        else:
            module.blocks[name] = rewrite(block)
    share_exits(part for part in module.modules() if isinstance(part, Exit))
    stem = nn.Sequential(rewrite.entry(), rewrite(module.stem))
    return exchange(module, stem=stem, endpoints=rewrite(module.endpoints))


def fuse_baseline(module: BaselineBackbone, rewrite: Rewriter) -> nn.Module:
    """Rewrite body and neck of a baseline."""
    body = nn.Sequential(rewrite.entry(), fold_traced(module.body))
    return exchange(module, body=body, neck=rewrite(module.neck))


def fuse_pyramid(module: FeaturePyramid, _rewrite: Rewriter) -> nn.Module:
    """Fold what can be; levels 6 and 7 are made from levels 5 and 6 before their norms, which therefore stay."""
    for name in module.norms.keys() - {"5", "6"}:
        module.convs[name] = fold_conv(module.convs[name], module.norms[name])
        module.norms[name] = nn.Identity()
    return module
