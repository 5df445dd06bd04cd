"""How many blocks of each level the scale-permuted models of the paper have (its Table 1).

The connections of R35-SP18, R23-SP30 and R14-SP39 were never published: known are only the blocks that they consist of,
that is, the space in which they were searched.
"""

from dataclasses import dataclass

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import Genotype

# Every scale-permuted network has one output block at each of these levels.
OUTPUT_LEVELS = (3, 4, 5, 6, 7)


@dataclass(frozen=True)
class Budget:
    """Number of blocks of a model: in the stem of fixed order by level 2 to 5, in the permuted network by level 2 to 7.

    The permuted ones include an output block at each of the levels 3 to 7. `adjustable`: whether the search may change
    level and kind of a block (paper section 3.1, block adjustments).
    """

    stem: tuple[int, int, int, int]
    permuted: tuple[int, int, int, int, int, int]
    adjustable: bool = False

    @property
    def stem_levels(self) -> tuple[int, ...]:
        """Level of each block of the stem, in order."""
        return tuple(level for level, count in enumerate(self.stem, start=2) for _ in range(count))

    @property
    def intermediate_levels(self) -> tuple[int, ...]:
        """Levels of the permuted blocks that are not outputs, finest first."""
        counts = {level: count - (level in OUTPUT_LEVELS) for level, count in enumerate(self.permuted, start=2)}
        return tuple(level for level, count in counts.items() for _ in range(count))

    def chain(self) -> Genotype:
        """Return these blocks as bottlenecks, finest first, each with the two before it as parents.

        The dangling rule is the paper's, which does not apply to the stem.
        """
        stem = tuple(BlockSpec(level, "bottleneck") for level in self.stem_levels)
        levels = self.intermediate_levels + OUTPUT_LEVELS
        blocks = tuple(
            BlockSpec(level, "bottleneck", (index - 2, index - 1), endpoint=index >= len(stem) + len(levels) - 5)
            for index, level in enumerate(levels, start=len(stem))
        )
        return Genotype(stem, blocks, "paper")


# arXiv 1912.05027 Table 1. Its row for R35-SP18 misses a digit in our text: 18 layers of bottlenecks are six blocks,
# and every row sums to {3, 4, 6, 2, 1, 1}, ResNet-50 with one L5 block replaced by L6 and L7.
BUDGETS = {
    "r35-sp18": Budget((2, 3, 5, 1), (1, 1, 1, 1, 1, 1)),
    "r23-sp30": Budget((2, 2, 2, 1), (1, 2, 4, 1, 1, 1)),
    "r14-sp39": Budget((1, 1, 1, 1), (2, 3, 5, 1, 1, 1)),
    "r0-sp53": Budget((2, 0, 0, 0), (1, 4, 6, 2, 1, 1)),
    "spinenet49": Budget((2, 0, 0, 0), (1, 2, 4, 4, 2, 2), adjustable=True),
}
