"""The inverse of `Space.decode`: from a genotype to the choices that give it."""

from spinet.arch.genotype import Genotype
from spinet.errors import SpinetError
from spinet.nas.space import Choices, Space


def encode(space: Space, genotype: Genotype) -> Choices:
    """Return choices that decode to the blocks of `genotype`: the first ones, if there are several.

    Raises:
        SpinetError: the space does not hold the genotype; the sentence names the block.
    """
    if genotype.stem != space.stem or len(genotype.blocks) != space.blocks or genotype.damage != "none":
        raise _outside(space, f"it has another stem or not {space.blocks} blocks")
    inner = len(space.intermediates)
    for index, spec in enumerate(genotype.blocks, start=len(space.stem)):
        if spec.endpoint != (index >= inner + len(space.stem)):
            raise _outside(space, f"block {index}: intermediate blocks come first, then the endpoints")
        if spec.kind not in space.kinds:
            raise _outside(space, f"block {index}: kind {spec.kind} is none of {', '.join(space.kinds)}")
    levels = [spec.level for spec in genotype.blocks]
    base = _base_levels(space, levels[:inner])
    if base is None or sorted(levels[inner:]) != sorted(space.outputs):
        raise _outside(space, f"no ordering gives levels {levels}")
    if not space.permuted and (base != space.intermediates or tuple(levels[inner:]) != space.outputs):
        raise _outside(space, "its ordering is fixed")
    choices: list[int] = []
    if space.permuted:
        choices += [space.levels[0].index(level) for level in base]
        choices += [space.levels[1].index(level) for level in levels[inner:]]
    choices += [_pair_number(space, block, spec.parents) for block, spec in enumerate(genotype.blocks)]
    if len(space.offsets) > 1:
        choices += [space.offsets.index(level - start) for level, start in zip(levels, base, strict=False)]
    if len(space.kinds) > 1:
        choices += [space.kinds.index(spec.kind) for spec in genotype.blocks]
    return tuple(choices)


def _pair_number(space: Space, block: int, parents: tuple[int, ...]) -> int:
    candidates = [space.back(block, steps) for steps in range(1, space.reach(block) + 1)]
    if not set(parents) <= set(candidates):
        index = block + len(space.stem)
        raise _outside(space, f"block {index}: parents {parents} are not among the candidates {sorted(candidates)}")
    near, far = sorted(candidates.index(parent) for parent in parents)
    return far * (far - 1) // 2 + near


def _base_levels(space: Space, levels: list[int]) -> tuple[int, ...] | None:
    """Levels before offsets: the first ordering of the space's levels that the offsets turn into `levels`."""
    if not space.permuted:
        fits = all(level - base in space.offsets for level, base in zip(levels, space.intermediates, strict=True))
        return space.intermediates if fits else None
    left = dict(zip(space.levels[0], space.counts["intermediate"], strict=True))

    # Depth first: a level may come from several bases by several offsets, and every base may be used only so often.
    def settle(block: int) -> tuple[int, ...] | None:
        if block == len(levels):
            return ()
        for level in left:
            if left[level] and levels[block] - level in space.offsets:
                left[level] -= 1
                rest = settle(block + 1)
                if rest is not None:
                    return (level, *rest)
                left[level] += 1
        return None

    return settle(0)


def _outside(space: Space, why: str) -> SpinetError:
    return SpinetError(f"space {space.name!r} does not hold this genotype: {why}")
