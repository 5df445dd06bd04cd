"""A block kind of your own, and a graph that uses it."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import spinet


class ConvNextBlock(nn.Module):
    """A large depthwise convolution and two pointwise ones, around which the input is added (ConvNeXt, 2022)."""

    def __init__(self, in_channels: int, *, channels: int, stride: int, **_: Any) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(in_channels, channels, 1, stride)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W)` to `(N, channels, H / stride, W / stride)`."""
        x = self.shrink(x)
        return x + self.layers(x)


# Two tables know the kinds: what builds a block, and how many channels it gives, in channels of its level. (Costs are
# counted by a third, in `spinet.arch.cost`.)
spinet.BLOCKS["convnext"] = ConvNextBlock
spinet.EXPANSION["convnext"] = 1

architecture = spinet.load_architecture("spinenet49-quarter")
blocks = tuple(
    replace(block, kind="convnext") if block.level == 5 and not block.endpoint else block
    for block in architecture.genotype.blocks
)
genotype = spinet.Genotype(architecture.genotype.stem, blocks, dangling="paper")
backbone = spinet.SpineNet(genotype, spinet.Scaling(width=0.25))
for level, features in backbone(torch.zeros(2, 3, 128, 128)).items():
    print(f"P{level}: {tuple(features.shape)}")
print(f"{sum(isinstance(module, ConvNextBlock) for module in backbone.modules())} blocks of the new kind")
