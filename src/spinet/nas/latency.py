"""Measures the latency of every part of a space's networks on a device, for constraints on latency.

Parts depend on levels and kinds alone, so a few hundred measurements predict every network of the space as a sum. What
the sum leaves out, such as the additions between connections, is small; measure the network you choose.
"""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.engine.machine import device_name
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.models.backbone import PermutedBlock, SpineNet
from spinet.models.factory import create_retinanet
from spinet.models.resample import level_size
from spinet.nas.config import spinet_version
from spinet.nas.constraints import LatencyTable
from spinet.nas.space import Space
from spinet.timing import medians


def measure_latency(
    space: Space,
    path: str | Path,
    *,
    image_size: int = 640,
    device: str | torch.device = "cpu",
    num_classes: int = 91,
    repeats: int = 50,
    warm_up: int = 10,
) -> LatencyTable:
    """Measure all parts of a space's networks for one image; write and return the table.

    Args:
        space: its levels, kinds and scaling define the parts.
        path: JSON file to write, with the device and the versions.
        image_size: side of the image; padded to the coarsest stride, as the detector does.
        device: `cpu`, `cuda` ...
        num_classes: of the RetinaNet head.
        repeats: timed runs of each part.
        warm_up: untimed runs of each part before.

    Raises:
        SpinetError: the device or the image size is invalid, or the file cannot be written.
    """
    if image_size < 1:
        raise SpinetError(f"latency: image_size must be at least 1 pixel, got {image_size}")
    try:
        device_ = torch.device(device)
        torch.zeros(1, device=device_)
    except (RuntimeError, AssertionError) as error:
        raise SpinetError(f"latency: the device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from None
    stride = 2 ** max(space.outputs)
    parts = _Parts(space, -(-image_size // stride) * stride, device_, repeats, warm_up)
    times = {**parts.stem(), **parts.blocks(), **parts.connections(), "head": parts.head(num_classes)}
    name = device_name(device_)
    table = LatencyTable(times, image_size, name)
    versions = {"torch": torch.__version__, "spinet": spinet_version()}
    plain = {"space": space.name, "device": name, "image_size": image_size, "versions": versions}
    write_atomically(Path(path), json.dumps({**plain, "milliseconds": times}, indent=1) + "\n")
    return table


def space_of(architecture: Architecture) -> Space:
    """Return the smallest space with all blocks of an architecture, to measure its parts.

    Raises:
        SpinetError: no space can hold its graph.
    """
    genotype = architecture.genotype
    return Space(
        f"blocks of {architecture.name}",
        genotype.stem,
        tuple(block.level for block in genotype.blocks if not block.endpoint),
        tuple(block.level for block in genotype.blocks if block.endpoint),
        window=0,
        kinds=tuple(dict.fromkeys(block.kind for block in genotype.blocks)),
        dangling=genotype.dangling,
        scaling=architecture.scaling,
    )


class _Parts:
    """Builds each part inside a network of two permuted blocks, and times it alone."""

    def __init__(self, space: Space, image_size: int, device: torch.device, repeats: int, warm_up: int) -> None:
        self.space, self.image_size = space, image_size
        self.device, self.repeats, self.warm_up = device, repeats, warm_up
        levels = {level + offset for level in space.intermediates for offset in space.offsets} | {*space.outputs}
        self.nodes = [(level, kind) for level in sorted(levels) for kind in space.kinds]

    def stem(self) -> dict[str, float]:
        """Time the first convolution and the blocks of the stem."""
        network, features = self._network(self.nodes[0], self.nodes[0]), self._random(3, 0)
        blocks = [network.blocks[str(index)] for index in range(len(self.space.stem))]
        times = {}
        for name, module in (("stem", network.stem), *((f"stem {i}", block) for i, block in enumerate(blocks))):
            times[name], features = self._time(module, features), module(features).detach()
        return times

    def blocks(self) -> dict[str, float]:
        """Time the permuted blocks of each level and kind, and the convolutions after endpoints."""
        times = {}
        for node in self.nodes:
            network, name = self._network(self.nodes[0], node), f"L{node[0]} {node[1]}"
            features = self._features(node)
            times[name] = self._time(self._last(network).body, features)
            if node[0] in self.space.outputs:
                times[f"endpoint {name}"] = self._time(network.endpoints[str(node[0])], features)
        return times

    def connections(self) -> dict[str, float]:
        """Time the resampling between every two levels and kinds; a connection that only adds has no entry."""
        times = {}
        parents = dict.fromkeys([*((block.level, block.kind) for block in self.space.stem), *self.nodes])
        for parent in parents:
            features = self._features(parent)
            for child in self.nodes:
                resamples = self._last(self._network(parent, child)).parents
                size = level_size((self.image_size, self.image_size), child[0])
                name = f"L{parent[0]} {parent[1]} -> L{child[0]} {child[1]}"
                source = str(len(self.space.stem))
                if source in resamples:
                    times[name] = self._time(resamples[source], features, size)
        return times

    def head(self, num_classes: int) -> float:
        """Time both towers of RetinaNet over all levels."""
        architecture = Architecture(self.space.decode(self.space.sample(Random(0))), self.space.scaling)
        model = create_retinanet(architecture, num_classes).eval().to(self.device)
        width = self.space.scaling.endpoint_channels
        features = {level: self._random(width, level) for level in sorted(self.space.outputs)}
        return self._time(lambda: (model.cls_tower(features, num_classes), model.box_tower(features, 4)))

    def _network(self, parent: tuple[int, str], child: tuple[int, str]) -> SpineNet:
        first = len(self.space.stem)
        blocks = (BlockSpec(*parent, (0, 1)), BlockSpec(*child, (1, first), endpoint=True))
        return SpineNet(Genotype(self.space.stem, blocks, "none"), self.space.scaling).eval().to(self.device)

    @staticmethod
    def _last(network: SpineNet) -> PermutedBlock:
        block = [*network.blocks.values()][-1]
        assert isinstance(block, PermutedBlock)
        return block

    def _features(self, node: tuple[int, str]) -> Tensor:
        return self._random(self.space.scaling.out_channels(BlockSpec(*node)), node[0])

    def _random(self, channels: int, level: int) -> Tensor:
        size = level_size((self.image_size, self.image_size), level)
        return torch.rand(1, channels, *size, device=self.device)

    @torch.inference_mode()
    def _time(self, call: Callable[..., object], *inputs: object) -> float:
        """Median time of a call, ms."""
        return round(1000 * medians({"": lambda: call(*inputs)}, self.device, self.repeats, self.warm_up)[""], 4)
