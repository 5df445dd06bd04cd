"""Build: from a name to multi-scale features, then a graph of your own from plain data."""

from dataclasses import replace

import torch

from spinet import Genotype, Scaling, SpineNet, load_architecture

architecture = load_architecture("spinenet49-quarter")
backbone = SpineNet(architecture.genotype, architecture.scaling, activation="swish").eval()
for level, features in backbone(torch.zeros(1, 3, 224, 224)).items():
    print(f"P{level}: {tuple(features.shape)}")

# The same graph with its two L5 bottlenecks in front of P4 turned into residual blocks.
blocks = tuple(
    replace(block, kind="residual") if block.level == 5 and not block.endpoint else block
    for block in architecture.genotype.blocks
)
mine = SpineNet(Genotype(architecture.genotype.stem, blocks, dangling="paper"), Scaling(width=0.25))
print(f"{sum(parameter.numel() for parameter in mine.parameters()):,} parameters")
