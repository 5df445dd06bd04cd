"""How many architectures a second `spinet.arch` counts, each a graph never seen before.

usage: python benchmarks/cost_speed.py [ARCHITECTURES]
"""

import random
import sys
import time

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.head_cost import model_cost
from spinet.arch.scaling import Scaling


def random_genotype(draw: random.Random) -> Genotype:
    """Draw a graph from the space of SpineNet-49: 2 stem blocks, 10 intermediate blocks, 5 endpoints."""
    levels = [2, 3, 4, 4, 4, 5, 5, 5, 6, 7]
    outputs = [3, 4, 5, 6, 7]
    draw.shuffle(levels)
    draw.shuffle(outputs)
    blocks = []
    for index, level in enumerate(levels + outputs, start=2):
        nearest = max(index - 5, 0) if index < 12 else 0
        parents = tuple(draw.sample(range(nearest, index), 2))
        kind = draw.choice(["bottleneck", "residual"])
        blocks.append(BlockSpec(level, kind, parents, endpoint=index >= 12))
    return Genotype((BlockSpec(2, "bottleneck"),) * 2, tuple(blocks), draw.choice(["tf", "paper"]))


def main() -> None:
    """Print the rates."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    draw, scaling = random.Random(0), Scaling()
    architectures = [Architecture(random_genotype(draw), scaling) for _ in range(count)]
    texts = [each.to_json() for each in architectures[: count // 5]]
    model_cost(architectures[-1], 640)

    start = time.process_time()
    for each in architectures:
        model_cost(each, 640)
    print(f"counted: {count / (time.process_time() - start):,.0f} architectures a second of processor time")

    start = time.process_time()
    for text in texts:
        model_cost(Architecture.from_json(text, "text"), 640)
    rate = len(texts) / (time.process_time() - start)
    print(f"read from JSON, checked and counted: {rate:,.0f} architectures a second of processor time")


if __name__ == "__main__":
    main()
