"""One block of a graph, as plain data."""

from dataclasses import dataclass

MIN_LEVEL, MAX_LEVEL = 1, 7

# Output channels of each kind of block, relative to the channels of its level. A new kind is one entry here, one in
# `models.backbone.BLOCKS` and one in `arch.cost.BLOCK_COSTS`.
EXPANSION = {"residual": 1, "bottleneck": 4, "resnext32x4d": 4, "resnext32x8d": 4, "mbconv": 1}


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """One block: `level` (stride `2 ** level`), `kind`, the two blocks that feed it, and whether it is an endpoint.

    Stem blocks have no parents. `merges` are further blocks that are added to it if no rule determines them
    (`dangling="none"`).
    """

    level: int
    kind: str
    parents: tuple[int, ...] = ()
    endpoint: bool = False
    merges: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parents", tuple(self.parents))
        object.__setattr__(self, "merges", tuple(self.merges))

    @property
    def expansion(self) -> int:
        """Output channels divided by the channels of the level (`Scaling.channels`)."""
        return EXPANSION[self.kind]
