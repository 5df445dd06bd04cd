"""Draws many points of a search space: how many are invalid, how many lie in its window of cost, and how fast.

usage: python benchmarks/sample_space.py [--space spinenet49] [--draws 1000000]
"""

import time
from random import Random

import tyro

from spinet.arch.catalog import Architecture
from spinet.errors import SpinetError
from spinet.nas.constraints import default_constraints
from spinet.nas.spaces import load_space


def main(space: str = "spinenet49", draws: int = 1_000_000, seed: int = 0) -> None:
    """Draw, decode and count.

    Args:
        space: name or file of a space.
        draws: how many.
        seed: of the draws.
    """
    searched, random = load_space(space), Random(seed)
    constraints = default_constraints(searched)
    invalid = accepted = 0
    started = time.perf_counter()
    for _ in range(draws):
        try:
            architecture = Architecture(searched.decode(searched.sample(random)), searched.scaling)
        except SpinetError:
            invalid += 1
            continue
        accepted += all(constraint.accepts(constraint.value(architecture)) for constraint in constraints)
    seconds = time.perf_counter() - started
    print(f"{space}: {invalid} of {draws:,} draws invalid, {1e6 * seconds / draws:.0f} microseconds each")
    for constraint in constraints:
        print(f"{accepted / draws:.2%} have {constraint}")


if __name__ == "__main__":
    tyro.cli(main)
