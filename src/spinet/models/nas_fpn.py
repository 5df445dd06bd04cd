"""NAS-FPN: a searched feature pyramid (arXiv 1904.07392 Figure 6; tensorflow/models decoders/nasfpn.py)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinet.models.blocks import ACTIVATIONS, ConvBN
from spinet.models.options import BackboneOptions
from spinet.models.resample import Size, resize


class Node(NamedTuple):
    """A merging cell: `level` of its output, its two inputs, and whether one gates the other or they are summed.

    Inputs 0 to 4 are levels 3 to 7 of the input pyramid, 5 and up are the nodes in order.
    """

    level: int
    inputs: tuple[int, int]
    attention: bool
    output: bool


# NASFPN_BLOCK_SPECS of tensorflow/models; the last five are levels 3, 4, 5, 7 and 6 of the new pyramid.
NODES = (
    Node(4, (1, 3), attention=True, output=False),
    Node(4, (1, 5), attention=False, output=False),
    Node(3, (0, 6), attention=False, output=True),
    Node(4, (6, 7), attention=False, output=True),
    Node(5, (7, 8), attention=True, output=True),
    Node(7, (6, 9), attention=True, output=True),
    Node(6, (9, 10), attention=True, output=True),
)
FIRST_LEVEL = 3


class Cell(nn.Module):
    """Maps a pyramid of levels 3 to 7 to the next."""

    def __init__(self, channels: int, options: BackboneOptions) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(ConvBN(channels, channels, options, kernel_size=3) for _ in NODES)
        self.activation = ACTIVATIONS[options.activation]

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Map features of levels 3 to 7, finest first, to the same."""
        sizes = [(x.shape[-2], x.shape[-1]) for x in pyramid]
        features = [(index + FIRST_LEVEL, x) for index, x in enumerate(pyramid)]
        used: set[int] = set()
        for node, conv in zip(NODES, self.nodes, strict=True):
            (one_level, one), (other_level, other) = (features[index] for index in node.inputs)
            size = sizes[node.level - FIRST_LEVEL]
            one, other = to_level(one, one_level, node.level, size), to_level(other, other_level, node.level, size)
            used.update(node.inputs)
            if node.attention:
                # The coarser of the two gates the other by its global maxima.
                gate, gated = (one, other) if one_level >= other_level else (other, one)
                total = gate + gated * torch.sigmoid(gate.amax(dim=(2, 3), keepdim=True))
            else:
                total = one + other
            if node.output:
                for index, (level, x) in enumerate(features):
                    if level == node.level and index not in used:
                        used.add(index)
                        total = total + x
            features.append((node.level, conv(self.activation(total))))
        return [x for _, x in sorted(features[-5:], key=lambda item: item[0])]


class NasFpn(nn.Module):
    """The cell, `repeats` times, on features of levels 3, 4 and 5; levels 6 and 7 start as max-pools of level 5."""

    def __init__(self, widths: Sequence[int], channels: int, repeats: int, options: BackboneOptions) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            ConvBN(width, channels, options) if width != channels else nn.Identity() for width in widths
        )
        self.cells = nn.ModuleList(Cell(channels, options) for _ in range(repeats))

    def forward(self, features: Sequence[Tensor]) -> dict[int, Tensor]:
        """Map features of levels 3, 4 and 5 to `{level: (N, channels, H, W)}` of levels 3 to 7."""
        pyramid = [lateral(x) for lateral, x in zip(self.lateral, features, strict=True)]
        for _ in range(2):
            pyramid.append(F.max_pool2d(pyramid[-1], 2, ceil_mode=True))
        for cell in self.cells:
            pyramid = cell(pyramid)
        return dict(enumerate(pyramid, start=FIRST_LEVEL))


def to_level(features: Tensor, level: int, target: int, size: Size) -> Tensor:
    """Resize `(N, C, H, W)` of `level` to the `size` of `target`: max-pool down, nearest neighbour up."""
    if target > level:
        features = F.max_pool2d(features, 2 ** (target - level), ceil_mode=True)
    return resize(features, size)
