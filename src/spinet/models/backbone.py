"""The scale-permuted backbone of a genotype (paper section 3)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError
from spinet.models.blocks import ACTIVATIONS, ConvBN, bottleneck_block, residual_block
from spinet.models.mbconv import MBConv
from spinet.models.options import BACKBONE_DEFAULTS, Activation, BackboneOptions, change_options
from spinet.models.resample import Resample, SeparableResample, Size, level_size, max_pool

# A block of each kind from (in_channels, channels=, options=, stride=, stochastic_depth=, dropblock=).
BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "residual": residual_block,
    "bottleneck": bottleneck_block,
    "resnext32x4d": partial(bottleneck_block, cardinality=32, widening=2),
    "resnext32x8d": partial(bottleneck_block, cardinality=32, widening=4),
    "mbconv": MBConv,
}


class Parts(NamedTuple):
    """The modules of a backbone in building order, each of its parameters in exactly one of them.

    Attributes:
        stem: everything up to stride 4.
        blocks: the blocks after that.
        endpoints: what makes features of one width, also called a neck.
    """

    stem: list[nn.Module]
    blocks: list[nn.Module]
    endpoints: list[nn.Module]


class Backbone(nn.Module):
    """Interface of all backbones: an image in, `{level: features}` out, all of the same width.

    Attributes:
        levels: levels of the feature maps, finest first.
        out_channels: channels of each of them.
    """

    levels: tuple[int, ...]
    out_channels: int

    def parts(self) -> Parts:
        """Return its modules by depth."""
        raise NotImplementedError

    def __call__(self, images: Tensor) -> dict[int, Tensor]:
        """Map images `(N, in, H, W)` to `{level: (N, out_channels, H / 2**level, W / 2**level)}`, rounded up."""
        features: dict[int, Tensor] = super().__call__(images)
        return features


def choose_levels(
    levels: Sequence[int] | None, available: tuple[int, ...], name: str = "the architecture"
) -> tuple[int, ...]:
    """Return `levels`, by default all that are available, finest first.

    Raises:
        SpinetError: there are none, or the architecture called `name` does not have one of them.
    """
    known = ", ".join(map(str, available))
    chosen = available if levels is None else tuple(sorted(set(levels)))
    if not chosen:
        raise SpinetError(f"levels is empty; {name}'s levels are {known}")
    missing = [level for level in chosen if level not in available]
    if missing:
        asked = ", ".join(map(str, missing))
        raise SpinetError(f"{name} has no features of level {asked}; its levels are {known}, and levels=None takes all")
    return chosen


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad `(N, C, H, W)` with zeros, right and below, until both sides are multiples."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))


class Stem(nn.Module):
    """First convolution, of stride 2, and a max-pool unless the blocks after it start at level 1."""

    def __init__(self, in_channels: int, scaling: Scaling, options: BackboneOptions, pool: bool) -> None:
        super().__init__()
        kernel_size = 3 if scaling.family == "mobile" else 7
        self.conv = ConvBN(in_channels, scaling.stem_channels, options, kernel_size, stride=2, activation=True)
        self.pool_mode = options.pool_mode
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(N, in, H, W)` to `(N, stem_channels, H / 4, W / 4)`, or half that without the pool."""
        features: Tensor = self.conv(images)
        return max_pool(features, 3, 2, self.pool_mode) if self.pool else features


class PermutedBlock(nn.Module):
    """Resampled parents, their sum and activation, then the stacked blocks of one graph node, its `body`.

    `parents` are connections by the index of their source block; `direct` sources are added unchanged: merged dangling
    blocks, and parents without convolutions.
    """

    def __init__(
        self, parents: dict[str, nn.Module], direct: Sequence[int], body: nn.Sequential, activation: Activation
    ) -> None:
        super().__init__()
        self.parents = nn.ModuleDict(parents)
        self.direct = tuple(direct)
        self.body = body
        self.activation = ACTIVATIONS[activation]

    def forward(self, features: dict[int, Tensor], size: Size) -> Tensor:
        """Fuse earlier `features` into `(N, out, *size)`."""
        inputs = [resample(features[int(parent)], size) for parent, resample in self.parents.items()]
        inputs += [features[index] for index in self.direct]
        total = inputs[0]
        for addend in inputs[1:]:
            total = total + addend
        output: Tensor = self.body(self.activation(total))
        return output


class SpineNet(Backbone):
    """A scale-permuted backbone; state-dict keys carry the block indices of the genotype.

    Args:
        genotype: the graph.
        scaling: its width, depth, channel counts and rules.
        options: see `BackboneOptions`.
        levels: levels of the output features; None gives all that the graph has. Blocks that none of them depends on
            are not built.
        in_channels: channels of the image.
        **settings: single fields of `options` to change, as in `SpineNet(genotype, scaling, activation="swish")`.

    Raises:
        SpinetError: the graph has no endpoint at one of the levels, or an option is invalid.
    """

    def __init__(
        self,
        genotype: Genotype,
        scaling: Scaling,
        options: BackboneOptions = BACKBONE_DEFAULTS,
        *,
        levels: Sequence[int] | None = None,
        in_channels: int = 3,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.genotype, self.scaling = genotype, scaling
        self.options = options = change_options(options, settings)
        self.levels = choose_levels(levels, tuple(genotype.endpoints))
        self.out_channels = scaling.endpoint_channels
        self.stem = Stem(in_channels, scaling, options, pool=genotype.stem[0].level == 2)
        needed = genotype.needed_for(self.levels)
        self.blocks = nn.ModuleDict(
            {
                str(index): (self._stem_block if index < len(genotype.stem) else self._permuted_block)(index)
                for index in range(len(genotype.all_blocks))
                if index in needed
            }
        )
        widths = {str(level): self._width(genotype.endpoints[level]) for level in self.levels}
        last = options.endpoint_activation
        self.endpoints = nn.ModuleDict(
            {level: ConvBN(width, self.out_channels, options, activation=last) for level, width in widths.items()}
        )

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Map images `(N, in, H, W)` to `{level: (N, out_channels, H / 2**level, W / 2**level)}`, rounded up."""
        image_size = (images.shape[-2], images.shape[-1])
        x = self.stem(images)
        features: dict[int, Tensor] = {}
        for name, block in self.blocks.items():
            index = int(name)
            if index < len(self.genotype.stem):
                features[index] = x = block(x)
            else:
                size = level_size(image_size, self.genotype.all_blocks[index].level)
                features[index] = block(features, size)
        ends = self.genotype.endpoints
        return {level: self.endpoints[str(level)](features[ends[level]]) for level in self.levels}

    def parts(self) -> Parts:
        """See `Backbone`; the stem's blocks are part of the stem."""
        stem = {str(index) for index in range(len(self.genotype.stem))}
        blocks = [block for name, block in self.blocks.items() if name not in stem]
        return Parts(
            [self.stem, *(self.blocks[name] for name in self.blocks if name in stem)], blocks, [self.endpoints]
        )

    def _width(self, index: int) -> int:
        return self.scaling.out_channels(self.genotype.all_blocks[index])

    def _stem_block(self, index: int) -> nn.Sequential:
        spec = self.genotype.stem[index]
        dropblock = self.options.dropblock if self.options.dropblock_places == "tpu" else 0.0
        if index == 0:
            return self._stack(spec, self.scaling.stem_channels, dropblock)
        stride = 2 ** (spec.level - self.genotype.stem[index - 1].level)
        return self._stack(spec, self._width(index - 1), dropblock, stride=stride)

    def _permuted_block(self, index: int) -> PermutedBlock:
        spec = self.genotype.all_blocks[index]
        body = self._stack(spec, self._width(index), self.options.dropblock, self._drop_rate(index))
        sources = (*spec.parents, *self.genotype.merges.get(index, ()))
        direct = [source for source in sources if self._is_direct(source, index)]
        parents = {str(source): self._resample(source, spec) for source in sources if source not in direct}
        return PermutedBlock(parents, direct, body, self.options.activation)

    def _drop_rate(self, index: int) -> float:
        """Stochastic depth of a block: linear in its position among the permuted ones."""
        count = len(self.genotype.blocks)
        # tensorflow/models counts an output block of level 2 whether or not it is built, except in mobile networks.
        if self.options.depth_rule == "mg" and self.scaling.family == "spinenet" and 2 not in self.genotype.endpoints:
            count += 1
        return self.options.stochastic_depth * (index - len(self.genotype.stem) + 1) / count

    def _is_direct(self, source: int, index: int) -> bool:
        """Whether block `source` is added to block `index` unchanged."""
        parent, child = self.genotype.all_blocks[source], self.genotype.all_blocks[index]
        if source in child.parents:
            return self.scaling.is_direct(parent, child)
        return self._width(source) == self._width(index)

    def _resample(self, source: int, spec: BlockSpec) -> nn.Module:
        parent = self.genotype.all_blocks[source]
        in_channels, out_channels = self._width(source), self.scaling.out_channels(spec)
        if self.scaling.family == "mobile":
            return SeparableResample(in_channels, out_channels, self.options, max(spec.level - parent.level, 0))
        inner = self.scaling.resample_channels(parent, spec)
        return Resample(in_channels, inner, out_channels, self.options, down=parent.level < spec.level)

    def _stack(
        self, spec: BlockSpec, in_channels: int, dropblock: float, stochastic_depth: float = 0.0, stride: int = 1
    ) -> nn.Sequential:
        """Stack a block `repeats` times; only the first may change channels and resolution."""
        make = partial(
            BLOCKS[spec.kind],
            channels=self.scaling.channels(spec.level),
            options=self.options,
            stochastic_depth=stochastic_depth,
            dropblock=dropblock,
        )
        widths = [in_channels] + [self.scaling.out_channels(spec)] * (self.scaling.repeats - 1)
        strides = [stride] + [1] * (self.scaling.repeats - 1)
        return nn.Sequential(*(make(width, stride=step) for width, step in zip(widths, strides, strict=True)))
