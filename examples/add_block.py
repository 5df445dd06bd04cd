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
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in_channels, H, W)` to `(N, channels, H / stride, W / stride)`."""
        x = self.shrink(x)
        return x + self.layers(x)


def convnext_costs(in_channels: int, channels: int, stride: int, in_area: int, area: int) -> list[spinet.Cost]:
    """Parameters and multiply-adds of every layer; areas are in pixels, and `norms=0` stands for a bias instead."""
    del stride, in_area
    return [
        spinet.layer_cost(in_channels, channels, area, norms=0),
        spinet.layer_cost(channels, channels, area, 7, groups=channels),
        spinet.layer_cost(channels, 4 * channels, area, norms=0),
        spinet.layer_cost(4 * channels, channels, area, norms=0),
    ]


# A kind of block is one entry in each of three tables: what builds it, the channels of its output in channels of its
# level, and what it costs.
spinet.BLOCKS["convnext"] = ConvNextBlock
spinet.EXPANSION["convnext"] = 1
spinet.BLOCK_COSTS["convnext"] = convnext_costs

architecture = spinet.load_architecture("spinenet49-quarter")
blocks = tuple(
    replace(block, kind="convnext") if block.level == 5 and not block.endpoint else block
    for block in architecture.genotype.blocks
)
genotype = spinet.Genotype(architecture.genotype.stem, blocks, dangling="paper")
scaling = spinet.Scaling(width=0.25)
backbone = spinet.SpineNet(genotype, scaling)
for level, features in backbone(torch.zeros(2, 3, 128, 128)).items():
    print(f"P{level}: {tuple(features.shape)}")
print(f"{sum(isinstance(module, ConvNextBlock) for module in backbone.modules())} blocks of the new kind")

counted = spinet.backbone_cost(spinet.Architecture(genotype, scaling), image_size=128)
assert counted.parameters == sum(parameter.numel() for parameter in backbone.parameters())
print(f"{counted.parameters:,} parameters, {counted.multiply_adds / 1e6:,.0f} M multiply-adds at 128 px")
