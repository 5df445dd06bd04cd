"""Measure what `fuse` gains over simpler ways to speed up a network, as ratios of interleaved medians.

    python benchmarks/fuse_gain.py [--arch spinenet49s] [--size 320] [--rounds 15]

Compared in eager fp32 on one thread, each in turn in every round: the plain network, the same in channels-last layout,
batch norms folded into the convolution before them (three lines), that in channels-last layout, and `fuse`. Times are
CPU times of the process, which other processes disturb less than they do the clock.
"""

import argparse
import copy
import statistics
import time

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spinet.fuse.fuse import fuse
from spinet.models.blocks import ConvBN
from spinet.models.factory import create_retinanet


def fold(model: nn.Module) -> nn.Module:
    """Return a copy with the batch norm of each `ConvBN` folded into its convolution."""
    model = copy.deepcopy(model)
    for part in [part for part in model.modules() if isinstance(part, ConvBN)]:
        part.conv, part.norm = fuse_conv_bn_eval(part.conv, part.norm), nn.Identity()
    return model


def channels_last(model: nn.Module) -> nn.Module:
    """Return a copy in channels-last layout."""
    return copy.deepcopy(model).to(memory_format=torch.channels_last)


@torch.inference_mode()
def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="spinenet49s")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = create_retinanet(options.arch, 91).eval()
    images = torch.randn(1, 3, options.size, options.size)
    channels_last_images = images.to(memory_format=torch.channels_last)
    networks = {
        "plain": (model, images),
        "channels-last": (channels_last(model), channels_last_images),
        "batch norms folded": (fold(model), images),
        "folded, channels-last": (channels_last(fold(model)), channels_last_images),
        "fuse": (fuse(model), images),
        "fuse, channels-last": (fuse(model, channels_last=True), images),
    }
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(options.rounds + 1):  # the first round warms up
        for name, (network, batch) in networks.items():
            start = time.process_time()
            network(batch)
            times[name].append(time.process_time() - start)
    for name in networks:
        # Ratios within a round, because the load of the machine changes between rounds.
        ratios = [time / plain for time, plain in zip(times[name][1:], times["plain"][1:], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        print(f"{name:24}{statistics.median(ratios):.2f}  (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
