"""The scale-permuted backbone of a genotype (paper section 3)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError, unknown_name
from spinet.models.blocks import (
    Activation,
    ConvBN,
    ConvFactory,
    DropBlockPlaces,
    PadMode,
    activation_function,
    bottleneck_block,
    residual_block,
)
from spinet.models.mbconv import MBConv, SqueezeMode
from spinet.models.resample import POOL_MODES, PoolMode, Resample, SeparableResample, Size, level_size, max_pool

DepthRule = Literal["tpu", "mg"]

# A block of each kind from (in_channels, channels=, conv=, activation=, stochastic_depth=, dropblock=, stride=).
BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "residual": residual_block,
    "bottleneck": bottleneck_block,
    "resnext32x4d": partial(bottleneck_block, cardinality=32, widening=2),
    "resnext32x8d": partial(bottleneck_block, cardinality=32, widening=4),
    "mbconv": MBConv,
}


class Backbone(nn.Module):
    """What a detector asks of a backbone: an image in, `{level: features}` out, all of one width.

    Attributes:
        levels: levels of the feature maps, finest first.
        out_channels: channels of each of them.
    """

    levels: tuple[int, ...]
    out_channels: int

    def __call__(self, images: Tensor) -> dict[int, Tensor]:
        """Map images `(N, in, H, W)` to `{level: (N, out_channels, H / 2**level, W / 2**level)}`, rounded up."""
        features: dict[int, Tensor] = super().__call__(images)
        return features


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad `(N, C, H, W)` with zeros, right and below, until both sides are multiples."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))


class Stem(nn.Module):
    """First convolution, of stride 2, and a max-pool unless the blocks behind it begin at level 1."""

    def __init__(
        self,
        in_channels: int,
        scaling: Scaling,
        conv: ConvFactory,
        activation: Activation,
        pool_mode: PoolMode,
        pool: bool = True,
    ) -> None:
        super().__init__()
        kernel_size = 3 if scaling.family == "mobile" else 7
        self.conv = conv(in_channels, scaling.stem_channels, kernel_size=kernel_size, stride=2, activation=activation)
        self.pool_mode: PoolMode = pool_mode
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(N, in, H, W)` to `(N, stem_channels, H / 4, W / 4)`, or half that without the pool."""
        features: Tensor = self.conv(images)
        return max_pool(features, 3, 2, self.pool_mode) if self.pool else features


class PermutedBlock(nn.Module):
    """Resampled parents, their sum and activation, then the stacked blocks of one graph node.

    Args:
        resamples: connections by the number of the block they come from.
        direct: blocks that are added as they are: dangling ones that join, and parents without convolutions.
        blocks: what follows the sum.
        activation: between the sum and them.
    """

    def __init__(
        self, resamples: dict[int, nn.Module], direct: Sequence[int], blocks: nn.Sequential, activation: str
    ) -> None:
        super().__init__()
        self.parents = nn.ModuleDict({str(parent): resample for parent, resample in resamples.items()})
        self.direct = tuple(direct)
        self.body = blocks
        self.activation = activation_function(activation)

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`."""
        fused = [resample(features[int(parent)], size) for parent, resample in self.parents.items()]
        fused += [features[index] for index in self.direct]
        total = fused[0]
        for addend in fused[1:]:
            total = total + addend
        output: Tensor = self.body(self.activation(total))
        return output


class SpineNet(Backbone):
    """A scale-permuted backbone; state-dict keys carry the block numbers of the genotype.

    Args:
        genotype: the graph.
        scaling: its width, depth, channel counts and rules.
        levels: levels of the features to give; None gives all that the graph has. Blocks that no asked level
            depends on are not built.
        in_channels: channels of the image.
        activation: `"relu"`, `"swish"` or `"hard_swish"`, everywhere alike.
        pad_mode: padding of strided convolutions, `"symmetric"` (PyTorch, tensorflow/tpu) or `"same"`
            (tensorflow/models).
        pool_mode: `"symmetric"` (PyTorch padding, repeated 3x3 pools), `"mg"` (the same with SAME padding),
            `"tpu"` (one pool of the remaining ratio, SAME padding) or `"mmdet"` (one pool, PyTorch padding).
        bn_eps: epsilon of every batch norm; 1e-3 in tensorflow/models, 1e-4 in the final tensorflow/tpu.
        bn_momentum: share of the newest batch in the running statistics (one minus TensorFlow's momentum).
        stochastic_depth: drop rate of the last permuted block; block i of n has `rate * (i + 1) / n`.
        depth_rule: what n is. `"tpu"`: the permuted blocks, 15 in SpineNet-49. `"mg"`: one more where no output is of
            level 2, because tensorflow/models lists that block too, built or not; not in mobile networks.
        dropblock: drop probability of DropBlock in the permuted blocks (the paper's keep 0.9 is 0.1 here).
        dropblock_places: `"v1"`: after every convolution of the permuted blocks, projections included, as in
            tensorflow/tpu's first release (block_zoo.py). `"tpu"`: as in its later code (spinenet.py, nn_blocks.py)
            in the stem's blocks too, and on bare shortcuts, which mobile blocks never drop. Never in connections.
        endpoint_activation: whether the activation follows the last convolution of each level; the ports in
            mmdetection have none there.
        squeeze_mode: activations of squeeze and excitation in mobile blocks, `"tpu"` (swish, sigmoid) or `"mg"`
            (relu, piecewise linear), as in tensorflow/tpu and tensorflow/models.

    Raises:
        SpinetError: the graph has no endpoint of an asked level, or a mode is unknown.
    """

    def __init__(
        self,
        genotype: Genotype,
        scaling: Scaling,
        *,
        levels: Sequence[int] | None = None,
        in_channels: int = 3,
        activation: Activation = "relu",
        pad_mode: PadMode = "symmetric",
        pool_mode: PoolMode = "symmetric",
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        stochastic_depth: float = 0.0,
        depth_rule: DepthRule = "tpu",
        dropblock: float = 0.0,
        dropblock_places: DropBlockPlaces = "v1",
        endpoint_activation: bool = True,
        squeeze_mode: SqueezeMode = "tpu",
    ) -> None:
        super().__init__()
        if pool_mode not in POOL_MODES:
            raise unknown_name("pooling mode", pool_mode, POOL_MODES)
        if dropblock_places not in get_args(DropBlockPlaces):
            raise unknown_name("choice of dropblock_places", dropblock_places, get_args(DropBlockPlaces))
        conv = partial(ConvBN, pad_mode=pad_mode, bn_eps=bn_eps, bn_momentum=bn_momentum)
        self.genotype = genotype
        self.scaling = scaling
        self.levels = _levels(genotype, levels)
        self.out_channels = scaling.endpoint_channels
        self.squeeze_mode: SqueezeMode = squeeze_mode
        self.dropblock_places: DropBlockPlaces = dropblock_places
        needed = genotype.needed_for(self.levels)
        self.stem = Stem(in_channels, scaling, conv, activation, pool_mode, pool=genotype.stem[0].level == 2)
        self.blocks = nn.ModuleDict()
        first = len(genotype.stem)
        count = _depth_count(genotype, scaling, depth_rule)
        for index, spec in enumerate(genotype.all_blocks):
            if index not in needed:
                continue
            if index < first:
                drop = dropblock if dropblock_places == "tpu" else 0.0
                self.blocks[str(index)] = self._stem_block(index, conv, activation, drop)
                continue
            rate = stochastic_depth * (index - first + 1) / count
            body = self._stack(spec, scaling.out_channels(spec), conv, activation, rate, dropblock)
            sources = (*spec.parents, *genotype.merges.get(index, ()))
            direct = [source for source in sources if self._is_direct(source, index)]
            resamples = {
                source: self._resample(source, spec, conv, activation, pool_mode)
                for source in sources
                if source not in direct
            }
            self.blocks[str(index)] = PermutedBlock(resamples, direct, body, activation)
        last = activation if endpoint_activation else None
        self.endpoints = nn.ModuleDict(
            {
                str(level): conv(self._width(genotype.endpoints[level]), scaling.endpoint_channels, activation=last)
                for level in self.levels
            }
        )

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Map images `(N, in, H, W)` to `{level: (N, out_channels, H / 2**level, W / 2**level)}`, rounded up."""
        image_size = (images.shape[-2], images.shape[-1])
        flow = self.stem(images)
        features: dict[int, Tensor] = {}
        for name, module in self.blocks.items():
            index = int(name)
            if index < len(self.genotype.stem):
                flow = module(flow)
                features[index] = flow
            else:
                size = level_size(image_size, self.genotype.all_blocks[index].level)
                features[index] = module(features, size)
        ends = self.genotype.endpoints
        return {level: self.endpoints[str(level)](features[ends[level]]) for level in self.levels}

    def _width(self, index: int) -> int:
        return self.scaling.out_channels(self.genotype.all_blocks[index])

    def _is_direct(self, source: int, index: int) -> bool:
        """Whether block `source` is added to block `index` as it is."""
        parent, child = self.genotype.all_blocks[source], self.genotype.all_blocks[index]
        if source in child.parents:
            return self.scaling.is_direct(parent, child)
        return self._width(source) == self._width(index)

    def _stem_block(self, index: int, conv: ConvFactory, activation: Activation, dropblock: float) -> nn.Sequential:
        spec = self.genotype.stem[index]
        if index == 0:
            return self._stack(spec, self.scaling.stem_channels, conv, activation, dropblock=dropblock)
        stride = 2 ** (spec.level - self.genotype.stem[index - 1].level)
        return self._stack(spec, self._width(index - 1), conv, activation, dropblock=dropblock, stride=stride)

    def _resample(
        self, source: int, spec: BlockSpec, conv: ConvFactory, activation: Activation, pool_mode: PoolMode
    ) -> nn.Module:
        parent = self.genotype.all_blocks[source]
        if self.scaling.family == "mobile":
            levels_down = max(spec.level - parent.level, 0)
            widths = (self._width(source), self.scaling.out_channels(spec))
            return SeparableResample(*widths, conv, activation, levels_down=levels_down)
        return Resample(
            self._width(source),
            self.scaling.resample_channels(parent, spec),
            self.scaling.out_channels(spec),
            conv,
            activation,
            down=parent.level < spec.level,
            pool_mode=pool_mode,
        )

    def _stack(
        self,
        spec: BlockSpec,
        in_channels: int,
        conv: ConvFactory,
        activation: Activation,
        stochastic_depth: float = 0.0,
        dropblock: float = 0.0,
        stride: int = 1,
    ) -> nn.Sequential:
        """Stack a block `repeats` times; only the first may change channels and resolution."""
        make = partial(
            BLOCKS[spec.kind],
            channels=self.scaling.channels(spec.level),
            conv=conv,
            activation=activation,
            stochastic_depth=stochastic_depth,
            dropblock=dropblock,
        )
        if spec.kind == "mbconv":
            make = partial(make, squeeze_mode=self.squeeze_mode)
        else:
            make = partial(make, drop_shortcut=self.dropblock_places == "tpu")
        widths = [in_channels] + [self.scaling.out_channels(spec)] * (self.scaling.repeats - 1)
        strides = [stride] + [1] * (self.scaling.repeats - 1)
        return nn.Sequential(*(make(width, stride=step) for width, step in zip(widths, strides, strict=True)))


def _depth_count(genotype: Genotype, scaling: Scaling, rule: DepthRule) -> int:
    """Blocks over which stochastic depth grows to its full rate."""
    if rule not in get_args(DepthRule):
        raise unknown_name("depth rule", rule, get_args(DepthRule))
    unbuilt = rule == "mg" and scaling.family == "spinenet" and 2 not in genotype.endpoints
    return len(genotype.blocks) + int(unbuilt)


def _levels(genotype: Genotype, asked: Sequence[int] | None) -> tuple[int, ...]:
    known = ", ".join(map(str, genotype.endpoints))
    for level in asked if asked is not None else ():
        if level not in genotype.endpoints:
            raise SpinetError(f"the architecture has no features of level {level}; its levels are {known}")
    if asked is not None and not asked:
        raise SpinetError(f"no level was asked for; the architecture's levels are {known}")
    return tuple(level for level in genotype.endpoints if asked is None or level in asked)
