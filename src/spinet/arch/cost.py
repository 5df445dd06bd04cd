"""Exact parameters and multiply-adds of a backbone, computed from its architecture without building it.

Counted are trainable parameters, and the multiply-adds of convolutions and dense layers, which the paper calls FLOPs;
batch norms, activations, biases and sums are not, as in PyTorch's own counter.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling

Size = tuple[int, int]
PartKind = Literal["stem", "block", "connection", "endpoint", "head"]


class Cost(NamedTuple):
    """Trainable parameters, and multiply-adds for one image."""

    parameters: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a cost table; a connection leads from block `source` to block `index`, a head has neither."""

    kind: PartKind
    name: str
    cost: Cost
    index: int | None = None
    source: int | None = None


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum.

    >>> total([Cost(1, 20), Cost(3, 40)])
    Cost(parameters=4, multiply_adds=60)
    """
    parameters = multiply_adds = 0
    for cost in costs:
        parameters += cost[0]
        multiply_adds += cost[1]
    return Cost(parameters, multiply_adds)


def layer_cost(
    in_channels: int, out_channels: int, pixels: int, kernel_size: int = 1, *, groups: int = 1, norms: int = 1
) -> Cost:
    """Cost of a convolution followed by `norms` batch norms, or with a bias if there is none.

    `pixels` is the area of its output; a dense layer is a 1x1 convolution on one pixel.
    """
    weights = kernel_size * kernel_size * in_channels * out_channels // groups
    return Cost(weights + (2 * norms if norms else 1) * out_channels, weights * pixels)


def image_area(image_size: int | Size, level: int) -> int:
    """Pixels of a level's features: both sides are halved `level` times, rounded up each time."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    stride = 1 << level
    return -(-height // stride) * -(-width // stride)


class BackboneCosts:
    """Costs of blocks, connections and endpoints for one scaling and image size, each computed once."""

    def __init__(self, scaling: Scaling, image_size: int | Size, in_channels: int) -> None:
        self.scaling = scaling
        self.image_size = image_size
        self.in_channels = in_channels
        self.areas = [image_area(image_size, level) for level in range(8)]
        self._blocks: dict[tuple[int, str], Cost] = {}
        self._connections: dict[tuple[int, str, int, str], Cost | None] = {}
        self._stems: dict[tuple[BlockSpec, ...], list[Cost]] = {}

    def steps(self, genotype: Genotype, levels: Iterable[int]) -> Iterator[tuple[PartKind, int, int, Cost]]:
        """Yield (kind, block, source, cost) of all parts that the endpoints of `levels` need, in building order."""
        blocks, merges, first = genotype.all_blocks, genotype.merges, len(genotype.stem)
        needed = genotype.needed_for(levels)
        kernel_size = 3 if self.scaling.family == "mobile" else 7
        yield "stem", 0, 0, layer_cost(self.in_channels, self.scaling.stem_channels, self.areas[1], kernel_size)
        for index, cost in enumerate(self._stem(genotype.stem)):
            if index in needed:
                yield "block", index, index, cost
        for index in range(first, len(blocks)):
            if index not in needed:
                continue
            spec = blocks[index]
            for source in spec.parents:
                connection = self._connection(blocks[source], spec)
                if connection is not None:
                    yield "connection", index, source, connection
            for source in merges.get(index, ()):
                # A merged block is added unchanged, unless its channels differ.
                if blocks[source].expansion != spec.expansion:
                    yield "connection", index, source, self._resample(blocks[source], spec)
            yield "block", index, index, self._block(spec)
        for level in levels:
            index = genotype.endpoints[level]
            width = self.scaling.out_channels(blocks[index])
            yield "endpoint", index, index, layer_cost(width, self.scaling.endpoint_channels, self.areas[level])

    def _stem(self, stem: tuple[BlockSpec, ...]) -> list[Cost]:
        if stem not in self._stems:
            costs, width, level = [], self.scaling.stem_channels, stem[0].level
            for spec in stem:
                costs.append(self._stacked(spec, width, level))
                width, level = self.scaling.out_channels(spec), spec.level
            self._stems[stem] = costs
        return self._stems[stem]

    def _block(self, spec: BlockSpec) -> Cost:
        key = (spec.level, spec.kind)
        if key not in self._blocks:
            self._blocks[key] = self._stacked(spec, self.scaling.out_channels(spec), spec.level)
        return self._blocks[key]

    def _connection(self, parent: BlockSpec, child: BlockSpec) -> Cost | None:
        key = (parent.level, parent.kind, child.level, child.kind)
        if key not in self._connections:
            direct = self.scaling.is_direct(parent, child)
            self._connections[key] = None if direct else self._resample(parent, child)
        return self._connections[key]

    def _stacked(self, spec: BlockSpec, in_channels: int, in_level: int) -> Cost:
        """Cost of a block stacked `repeats` times, the first with `in_channels` at `in_level`."""
        channels, area, costs = self.scaling.channels(spec.level), self.areas[spec.level], BLOCK_COSTS[spec.kind]
        first = costs(in_channels, channels, 1 << spec.level - in_level, self.areas[in_level], area)
        repeated = costs(self.scaling.out_channels(spec), channels, 1, area, area)
        return total(first + repeated * (self.scaling.repeats - 1))

    def _resample(self, parent: BlockSpec, child: BlockSpec) -> Cost:
        width, out = self.scaling.out_channels(parent), self.scaling.out_channels(child)
        areas, down = self.areas, range(parent.level + 1, child.level + 1)
        if self.scaling.family == "mobile":
            halvings = [layer_cost(width, width, areas[level], 3, groups=width) for level in down]
            return total([*halvings, layer_cost(width, out, areas[child.level])])
        inner = self.scaling.resample_channels(parent, child)
        layers = [layer_cost(width, inner, areas[parent.level]), layer_cost(inner, out, areas[child.level])]
        if down:
            layers.append(layer_cost(inner, inner, areas[parent.level + 1], 3))
        return total(layers)


def _residual(in_channels: int, channels: int, stride: int, in_area: int, area: int) -> list[Cost]:
    del in_area
    shortcut = [] if (in_channels, stride) == (channels, 1) else [layer_cost(in_channels, channels, area)]
    return [layer_cost(in_channels, channels, area, 3), layer_cost(channels, channels, area, 3), *shortcut]


def _bottleneck(
    in_channels: int, channels: int, stride: int, in_area: int, area: int, cardinality: int = 1, widening: int = 1
) -> list[Cost]:
    inner, out = channels * widening, 4 * channels
    grouped = layer_cost(inner, inner, area, 3, groups=math.gcd(cardinality, inner))
    shortcut = [] if (in_channels, stride) == (out, 1) else [layer_cost(in_channels, out, area)]
    return [layer_cost(in_channels, inner, in_area), grouped, layer_cost(inner, out, area), *shortcut]


def _mbconv(in_channels: int, channels: int, stride: int, in_area: int, area: int) -> list[Cost]:
    del stride
    inner, squeezed = 6 * in_channels, max(1, int(0.2 * in_channels))
    return [
        layer_cost(in_channels, inner, in_area),
        layer_cost(inner, inner, area, 3, groups=inner),
        layer_cost(inner, squeezed, 1, norms=0),
        layer_cost(squeezed, inner, 1, norms=0),
        layer_cost(inner, channels, area),
    ]


# Kind of block -> the costs of its layers, shortcut included, from (in_channels, channels, stride, pixels of its input,
# pixels of its output). Built by `models.backbone.BLOCKS`.
BLOCK_COSTS: dict[str, Callable[[int, int, int, int, int], list[Cost]]] = {
    "residual": _residual,
    "bottleneck": _bottleneck,
    "resnext32x4d": partial(_bottleneck, cardinality=32, widening=2),
    "resnext32x8d": partial(_bottleneck, cardinality=32, widening=4),
    "mbconv": _mbconv,
}


@lru_cache(maxsize=16)
def backbone_costs(scaling: Scaling, image_size: int | Size, in_channels: int = 3) -> BackboneCosts:
    """Return the cost tables of a scaling, cached."""
    return BackboneCosts(scaling, image_size, in_channels)


def backbone_cost(architecture: Architecture, image_size: int | Size, levels: Iterable[int] | None = None) -> Cost:
    """Return the cost of a backbone with features of `levels`, by default of all.

    >>> from spinet.arch.catalog import load_architecture
    >>> backbone_cost(load_architecture("spinenet49"), 640).parameters
    21831488
    """
    genotype = architecture.genotype
    levels = genotype.endpoints if levels is None else sorted(levels)
    steps = backbone_costs(architecture.scaling, image_size).steps(genotype, levels)
    return total(step[3] for step in steps)


def backbone_parts(
    architecture: Architecture, image_size: int | Size, levels: Iterable[int] | None = None
) -> list[Part]:
    """Return the cost of the first convolution, and of every block, connection and endpoint."""
    genotype = architecture.genotype
    levels = genotype.endpoints if levels is None else sorted(levels)
    parts = []
    for kind, index, source, cost in backbone_costs(architecture.scaling, image_size).steps(genotype, levels):
        block = genotype.all_blocks[index]
        names = {
            "stem": "first convolution",
            "block": f"block {index}, level {block.level} {block.kind}",
            "connection": f"connection {source} -> {index}",
            "endpoint": f"endpoint P{block.level}",
        }
        start = source if kind == "connection" else None
        parts.append(Part(kind, names[kind], cost, None if kind == "stem" else index, start))
    return parts
