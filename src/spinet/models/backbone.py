"""The scale-permuted backbone of a genotype (paper section 3)."""

from functools import partial

from torch import Tensor, nn

from spinet.arch.genotype import BlockSpec, Genotype
from spinet.arch.scaling import Scaling
from spinet.errors import unknown_name
from spinet.models.blocks import BLOCKS, Activation, ConvBN, ConvFactory, PadMode, activation_function
from spinet.models.resample import POOL_MODES, PoolMode, Resample, Size, level_size, max_pool


class Stem(nn.Module):
    """7x7 convolution of stride 2 and max-pool, then the blocks of fixed order, each a candidate parent."""

    def __init__(
        self,
        in_channels: int,
        scaling: Scaling,
        conv: ConvFactory,
        activation: Activation,
        pool_mode: PoolMode,
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, scaling.stem_channels, kernel_size=7, stride=2, activation=activation)
        self.pool_mode: PoolMode = pool_mode

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(N, in, H, W)` to level-2 features `(N, stem_channels, H / 4, W / 4)`, rounded up."""
        return max_pool(self.conv(images), 3, 2, self.pool_mode)


class PermutedBlock(nn.Module):
    """Resampled parents, their sum and activation, then the stacked blocks of one graph node."""

    def __init__(self, resamples: dict[int, Resample], blocks: nn.Sequential, activation: str) -> None:
        super().__init__()
        self.parents = nn.ModuleDict({str(parent): resample for parent, resample in resamples.items()})
        self.body = blocks
        self.activation = activation_function(activation)

    def forward(self, features: dict[int, Tensor], merged: tuple[int, ...], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`; `merged` are the dangling blocks that join."""
        fused = [resample(features[int(parent)], size) for parent, resample in self.parents.items()]
        fused += [features[index] for index in merged if str(index) not in self.parents]
        total = fused[0]
        for addend in fused[1:]:
            total = total + addend
        output: Tensor = self.body(self.activation(total))
        return output


class SpineNet(nn.Module):
    """A scale-permuted backbone; state-dict keys carry the block numbers of the genotype.

    Args:
        genotype: the graph.
        scaling: its width, depth and channel counts.
        in_channels: channels of the image.
        activation: `"relu"` or `"swish"`, everywhere alike.
        pad_mode: padding of strided convolutions, `"symmetric"` (PyTorch, tensorflow/tpu) or `"same"`
            (tensorflow/models).
        pool_mode: `"symmetric"` (PyTorch padding, repeated 3x3 pools), `"mg"` (the same with SAME padding) or
            `"tpu"` (one pool of the remaining ratio, SAME padding).
        bn_eps: epsilon of every batch norm; 1e-3 in tensorflow/models, 1e-4 in the final tensorflow/tpu.
        bn_momentum: share of the newest batch in the running statistics (one minus TensorFlow's momentum).
        stochastic_depth: drop rate of the last permuted block; block i of n has `rate * (i + 1) / n`.
        dropblock: drop probability of DropBlock in the permuted blocks (the paper's keep 0.9 is 0.1 here).

    Attributes:
        levels: levels of the feature maps, finest first.
        out_channels: channels of each of them.
    """

    def __init__(
        self,
        genotype: Genotype,
        scaling: Scaling,
        *,
        in_channels: int = 3,
        activation: Activation = "relu",
        pad_mode: PadMode = "symmetric",
        pool_mode: PoolMode = "symmetric",
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.01,
        stochastic_depth: float = 0.0,
        dropblock: float = 0.0,
    ) -> None:
        super().__init__()
        if pool_mode not in POOL_MODES:
            raise unknown_name("pooling mode", pool_mode, POOL_MODES)
        conv = partial(ConvBN, pad_mode=pad_mode, bn_eps=bn_eps, bn_momentum=bn_momentum)
        self.genotype = genotype
        self.scaling = scaling
        self.levels = tuple(genotype.endpoints)
        self.out_channels = scaling.endpoint_channels
        self.stem = Stem(in_channels, scaling, conv, activation, pool_mode)
        self.blocks = nn.ModuleDict()
        first = len(genotype.stem)
        for index, spec in enumerate(genotype.all_blocks):
            if index not in genotype.live:
                continue
            if index < first:
                self.blocks[str(index)] = self._stem_block(index, conv, activation)
                continue
            rate = stochastic_depth * (index - first + 1) / len(genotype.blocks)
            width = scaling.out_channels(spec)
            body = _stack(spec, scaling, width, conv, activation, rate, dropblock)
            resamples = {
                source: self._resample(source, spec, conv, activation, pool_mode) for source in self._sources(index)
            }
            self.blocks[str(index)] = PermutedBlock(resamples, body, activation)
        self.endpoints = nn.ModuleDict(
            {
                str(level): conv(self._width(index), scaling.endpoint_channels, activation=activation)
                for level, index in genotype.endpoints.items()
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
                features[index] = module(features, self.genotype.merges.get(index, ()), size)
        return {level: self.endpoints[str(level)](features[index]) for level, index in self.genotype.endpoints.items()}

    def _width(self, index: int) -> int:
        return self.scaling.out_channels(self.genotype.all_blocks[index])

    def _sources(self, index: int) -> list[int]:
        """Blocks that reach block `index` through a resampling: its parents, and merges of another width."""
        merged = self.genotype.merges.get(index, ())
        return [
            *self.genotype.all_blocks[index].parents,
            *(source for source in merged if self._width(source) != self._width(index)),
        ]

    def _stem_block(self, index: int, conv: ConvFactory, activation: Activation) -> nn.Sequential:
        in_channels = self._width(index - 1) if index else self.scaling.stem_channels
        return _stack(self.genotype.stem[index], self.scaling, in_channels, conv, activation)

    def _resample(
        self, source: int, spec: BlockSpec, conv: ConvFactory, activation: Activation, pool_mode: PoolMode
    ) -> Resample:
        parent = self.genotype.all_blocks[source]
        return Resample(
            self._width(source),
            self.scaling.resample_channels(parent),
            self.scaling.out_channels(spec),
            conv,
            activation,
            down=parent.level < spec.level,
            pool_mode=pool_mode,
        )


def _stack(
    spec: BlockSpec,
    scaling: Scaling,
    in_channels: int,
    conv: ConvFactory,
    activation: Activation,
    stochastic_depth: float = 0.0,
    dropblock: float = 0.0,
) -> nn.Sequential:
    """Stack a block `repeats` times; only the first may need a projection for its shortcut."""
    make = partial(
        BLOCKS[spec.kind],
        channels=scaling.channels(spec.level),
        conv=conv,
        activation=activation,
        stochastic_depth=stochastic_depth,
        dropblock=dropblock,
    )
    widths = [in_channels] + [scaling.out_channels(spec)] * (scaling.repeats - 1)
    return nn.Sequential(*(make(width) for width in widths))
