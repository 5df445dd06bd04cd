"""How many architectures per second `spinet.arch` can cost, each a new graph.

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


def random_genotype(rng: random.Random) -> Genotype:
    """Sample a graph from the space of SpineNet-49: 2 stem blocks, 10 intermediate blocks, 5 endpoints."""
    levels = [2, 3, 4, 4, 4, 5, 5, 5, 6, 7]
    outputs = [3, 4, 5, 6, 7]
    rng.shuffle(levels)
    rng.shuffle(outputs)
    blocks = []
    for index, level in enumerate(levels + outputs, start=2):
        nearest = max(index - 5, 0) if index < 12 else 0
        parents = tuple(rng.sample(range(nearest, index), 2))
        kind = rng.choice(["bottleneck", "residual"])
        blocks.append(BlockSpec(level, kind, parents, endpoint=index >= 12))
    return Genotype((BlockSpec(2, "bottleneck"),) * 2, tuple(blocks), rng.choice(["tf", "paper"]))


def main() -> None:
    """Print the rates."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    rng, scaling = random.Random(0), Scaling()
    architectures = [Architecture(random_genotype(rng), scaling) for _ in range(count)]
    texts = [architecture.to_json() for architecture in architectures[: count // 5]]
    model_cost(architectures[-1], 640)

    start = time.process_time()
    for architecture in architectures:
        model_cost(architecture, 640)
    print(f"costed: {count / (time.process_time() - start):,.0f} architectures per CPU second")

    start = time.process_time()
    for text in texts:
        model_cost(Architecture.from_json(text, "text"), 640)
    rate = len(texts) / (time.process_time() - start)
    print(f"read from JSON, validated and costed: {rate:,.0f} architectures per CPU second")


if __name__ == "__main__":
    main()
