"""Measures what the parts of a space's networks take on this machine, for constraints on latency.

Every part is timed alone, at batch 1, as PyTorch runs it; a network's latency is the sum of its parts (as MnasNet's
followers estimate it), which leaves out sums, activations between blocks, and post-processing.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import torch

from spinet.arch.catalog import Architecture
from spinet.arch.genotype import BlockSpec, Genotype
from spinet.models.backbone import PermutedBlock, SpineNet
from spinet.models.factory import create_retinanet
from spinet.models.resample import level_size
from spinet.search.constraints import LatencyTable
from spinet.search.space import Space

# What to time: the part's name in the table, the call, its inputs' shapes.
_Part = tuple[str, Callable[..., object], tuple[torch.Tensor, ...]]


def measure_latency(
    space: Space, *, image_size: int = 640, num_classes: int = 91, device: str = "cpu", seconds: float = 0.2
) -> LatencyTable:
    """Time every part that a network of `space` can have.

    Args:
        space: whose blocks, connections, endpoints and head.
        image_size: side of the images, pixels.
        num_classes: of RetinaNet's head.
        device: where to run.
        seconds: least time for each part; the median of its runs is kept.

    Returns:
        Milliseconds by `spinet.search.constraints.part_keys`.
    """
    place = torch.device(device)
    milliseconds: dict[str, float] = {}
    with torch.inference_mode():
        for part, call, inputs in _parts(space, image_size, num_classes, place):
            milliseconds[part] = 1e3 * _median_seconds(partial(call, *inputs), place, seconds)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else _processor()
    return LatencyTable(milliseconds, image_size, f"{name}, PyTorch {torch.__version__}")


def _median_seconds(call: Callable[[], object], device: torch.device, at_least: float) -> float:
    """Run after a warm-up, five times or more, until the time is up."""
    times: list[float] = []
    for run in range(1000):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if run >= 2:
            times.append(time.perf_counter() - started)
        if len(times) >= 5 and sum(times) >= at_least:
            break
    return statistics.median(times)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _parts(space: Space, image_size: int, num_classes: int, device: torch.device) -> Iterator[_Part]:
    def features(channels: int, level: int) -> torch.Tensor:
        return torch.randn(1, channels, *level_size((image_size, image_size), level), device=device)

    scaling = space.scaling
    inner = {level + offset for level in space.intermediates for offset in space.offsets}
    searched = [BlockSpec(level, kind) for level in sorted(inner | {*space.outputs}) for kind in space.kinds]
    first = _backbone(space, searched[0], searched[0], device)
    yield "stem", first.stem, (torch.randn(1, 3, image_size, image_size, device=device),)
    before = (scaling.stem_channels, space.stem[0].level)
    for index, block in enumerate(space.stem):
        yield f"stem {index}", first.blocks[str(index)], (features(*before),)
        before = (scaling.out_channels(block), block.level)
    sources = {(block.level, block.kind): block for block in (*space.stem, *searched)}.values()
    for child in searched:
        width, size = scaling.out_channels(child), level_size((image_size, image_size), child.level)
        last = str(len(space.stem) + 1)
        for parent in sources:
            network = _backbone(space, parent, child, device)
            node = network.blocks[last]
            assert isinstance(node, PermutedBlock)
            if str(len(space.stem)) in node.parents:  # not where the parent is added as it is
                connection = _sized(node.parents[str(len(space.stem))], size)
                given = features(scaling.out_channels(parent), parent.level)
                yield f"{_name(parent)} -> {_name(child)}", connection, (given,)
        yield _name(child), node.body, (features(width, child.level),)
        yield f"endpoint {_name(child)}", network.endpoints[str(child.level)], (features(width, child.level),)
    whole = Architecture(space.decode(space.sample(Random(0))), scaling)
    detector = create_retinanet(whole, num_classes).to(device).eval()
    pyramid = {level: features(scaling.endpoint_channels, level) for level in detector.backbone.levels}

    def head() -> None:
        detector.classes(pyramid, num_classes)
        detector.boxes(pyramid, 4)

    yield "head", head, ()


def _backbone(space: Space, parent: BlockSpec, child: BlockSpec, device: torch.device) -> SpineNet:
    """A stem, one block, and one that it feeds: whatever stands in between costs the same in every network."""
    count = len(space.stem)
    blocks = (
        BlockSpec(parent.level, parent.kind, (0, 1)),
        BlockSpec(child.level, child.kind, (0, count), endpoint=True),
    )
    return SpineNet(Genotype(space.stem, blocks, "none"), space.scaling).to(device).eval()


def _sized(module: torch.nn.Module, size: tuple[int, int]) -> Callable[[torch.Tensor], object]:
    return lambda given: module(given, size)


def _name(block: BlockSpec) -> str:
    return f"L{block.level} {block.kind}"
