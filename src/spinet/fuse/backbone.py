"""Backbone parts for inference; see `spinet.fuse.fuse`."""

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
from spinet.models.options import PoolMode
from spinet.models.resample import Resample, SeparableResample, Size, downsample, resize


def fuse_conv(module: ConvBN, _rewrite: Rewriter) -> nn.Module:
    """Fold the batch norm into the convolution."""
    return FoldedConv(fold_conv(module.conv, module.norm), module.activation)


class FusedBlock(nn.Module):
    """`Block`, with the sum and its activation in place."""

    def __init__(self, block: Block, rewrite: Rewriter) -> None:
        super().__init__()
        self.branch = nn.Sequential(*(rewrite(conv) for conv in block.convs))
        self.shortcut = rewrite(block.shortcut)
        self.activation = in_place(block.activation)

    def forward(self, features: Tensor) -> Tensor:
        """Map `(N, in, H, W)` to `(N, out, H, W)`."""
        return self.activation(self.branch(features).add_(self.shortcut(features)))


class FusedMBConv(nn.Module):
    """`MBConv`, with the gate and the sum in place."""

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


# Canonical connections. A resampling connection is conv 1x1 -> down or up -> conv 1x1, and a block adds up several of
# them. Here each is cut in three parts, so that equal work is done once:
#   SourceConv       the first 1x1 convolution, at the source's resolution; all that leave one block become one
#                    convolution with their output channels side by side, of which each connection takes a slice;
#   FusedConnection  SourceConv and the downsampling, if any;
#   ConnectionGroup  the last 1x1 convolutions of all connections that end at one resolution, as one convolution on
#                    their concatenated inputs, and one upsampling of the sum. That a 1x1 convolution may go before
#                    nearest upsampling, and a sum too, is what makes this exact: copying pixels and mixing channels
#                    commute.
class SourceConv(nn.Module):
    """The first 1x1 convolution of a connection, if it has one.

    Connections from one block may share a convolution, each taking a slice of its output: the first one computes it and
    keeps it among the features for the others, under a negative index.
    """

    def __init__(self, source: int, conv: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.conv = conv
        self.channels: slice | None = None

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        """Map the blocks' `(N, in, H, W)` to `(N, inner, H, W)` of this connection."""
        if self.channels is None:
            x: Tensor = self.conv(features[self.source])
            return x
        shared = -1 - self.source
        if shared not in features:
            features[shared] = self.conv(features[self.source])
        # A contiguous copy, in the memory format of the whole: convolutions on a strided slice are slow.
        return features[shared][:, self.channels].clone()


class FusedConnection(nn.Module):
    """A connection without its last 1x1 convolution, downsampled to the target's resolution if that is coarser."""

    def __init__(self, source: int, resample: Resample | SeparableResample, rewrite: Rewriter) -> None:
        super().__init__()
        self.first = SourceConv(source, nn.Identity())
        self.down: nn.Module = nn.Identity() if resample.down is None else rewrite(resample.down)
        self.pool_mode: PoolMode | None = None
        if isinstance(resample, Resample):
            self.first = SourceConv(source, rewrite(resample.reduce))
            self.pool_mode = None if resample.down is None else resample.pool_mode

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Map the blocks' `(N, in, H, W)` to `(N, inner, *size)`, or to `(N, inner, H, W)` if it is to be upsampled."""
        x: Tensor = self.first(features)
        return self.down(x) if self.pool_mode is None else downsample(x, self.down, size, self.pool_mode)


def share_source_convs(convs: Iterable[SourceConv]) -> None:
    """Merge the first convolutions of all connections from one block: its features are then read once."""
    # All connections of a network have the same activation.
    by_source: dict[int, list[Any]] = {}
    for conv in convs:
        if isinstance(conv.conv, FoldedConv) and conv.channels is None:
            by_source.setdefault(conv.source, []).append(conv)
    for group in by_source.values():
        if len(group) > 1:
            parts = [member.conv.conv for member in group]
            weight, bias = (torch.cat([part.get_parameter(name) for part in parts]) for name in ("weight", "bias"))
            shared = FoldedConv(with_weights(parts[0], weight, bias), group[0].conv.activation)
            ends = list(accumulate(part.out_channels for part in parts))
            for member, start, end in zip(group, [0, *ends], ends, strict=False):
                member.conv, member.channels = shared, slice(start, end)


class ConnectionGroup(nn.Module):
    """Connections that end at one resolution: their sum, upsampled once.

    Their last convolutions become one on concatenated inputs, unless these are wider than the output, as in mobile
    networks: then the concatenation would cost more than the addition.
    """

    def __init__(self, resamples: dict[str, Resample | SeparableResample], down: bool, rewrite: Rewriter) -> None:
        super().__init__()
        self.connections = nn.ModuleList(
            FusedConnection(int(source), resample, rewrite) for source, resample in resamples.items()
        )
        convs = [fold_conv(resample.expand.conv, resample.expand.norm) for resample in resamples.values()]
        inner = sum(conv.in_channels for conv in convs)
        self.concatenated = len(convs) > 1 and inner <= convs[0].out_channels
        if self.concatenated:
            weight = torch.cat([conv.weight for conv in convs], dim=1)
            bias = torch.stack([conv.get_parameter("bias") for conv in convs]).sum(dim=0)
            convs = [with_weights(convs[0], weight, bias)]
        self.expand = nn.ModuleList(convs)
        self.down = down

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`, in newly allocated memory."""
        inputs = [connection(features, size) for connection in self.connections]
        if self.down:
            inputs = [resize(x, size) for x in inputs]
        if self.concatenated:
            inputs = [torch.cat(inputs, dim=1)]
        total, *others = (conv(x) for conv, x in zip(self.expand, inputs, strict=True))
        for other in others:
            total.add_(other)
        return resize(total, size)


class FusedPermutedBlock(nn.Module):
    """`PermutedBlock`, its connections grouped by the resolution at which they can be added."""

    def __init__(self, block: PermutedBlock, index: int, genotype: Genotype, rewrite: Rewriter) -> None:
        super().__init__()
        target = genotype.all_blocks[index].level
        by_level: dict[int, dict[str, Resample | SeparableResample]] = {}
        for name, resample in block.parents.items():
            assert isinstance(resample, Resample | SeparableResample)
            level = max(genotype.all_blocks[int(name)].level, target)
            by_level.setdefault(level, {})[name] = resample
        # The group at the target's own level comes first: the others are added to it in place.
        self.groups = nn.ModuleList(
            ConnectionGroup(by_level[level], level == target, rewrite) for level in sorted(by_level)
        )
        self.direct = block.direct
        self.body = rewrite(block.body)
        self.activation = in_place(block.activation)

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`."""
        total, *others = [group(features, size) for group in self.groups] or [features[self.direct[0]].clone()]
        others += [features[index] for index in self.direct[0 if len(self.groups) else 1 :]]
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
    share_source_convs(part for part in module.modules() if isinstance(part, SourceConv))
    stem = nn.Sequential(rewrite.input_format(), rewrite(module.stem))
    return exchange(module, stem=stem, endpoints=rewrite(module.endpoints))


def fuse_baseline(module: BaselineBackbone, rewrite: Rewriter) -> nn.Module:
    """Rewrite body and neck of a baseline."""
    body = nn.Sequential(rewrite.input_format(), fold_traced(module.body))
    return exchange(module, body=body, neck=rewrite(module.neck))


def fuse_pyramid(module: FeaturePyramid, _rewrite: Rewriter) -> nn.Module:
    """Fold all norms but those of levels 5 and 6, whose inputs levels 6 and 7 are computed from."""
    for name in module.norms.keys() - {"5", "6"}:
        module.convs[name] = fold_conv(module.convs[name], module.norms[name])
        module.norms[name] = nn.Identity()
    return module
