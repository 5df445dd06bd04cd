"""Random valid genotypes for the property tests of this folder."""

from hypothesis import strategies as st

from spinet.arch.block_spec import EXPANSION, BlockSpec
from spinet.arch.genotype import Genotype

_KINDS = st.sampled_from(sorted(EXPANSION))


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    stem_levels = [draw(st.integers(1, 2))]
    for _ in range(draw(st.integers(1, 2))):
        stem_levels.append(stem_levels[-1] + draw(st.integers(0, 1)))
    stem = tuple(BlockSpec(level, draw(_KINDS)) for level in stem_levels)
    count = draw(st.integers(1, 9))
    levels = [draw(st.integers(1, 7)) for _ in range(count)]
    endpoint_levels = draw(st.sets(st.sampled_from(sorted(set(levels))), min_size=1))
    owners = {draw(st.sampled_from([i for i in range(count) if levels[i] == level])) for level in endpoint_levels}
    blocks = []
    for i, level in enumerate(levels):
        earlier = st.integers(0, len(stem) + i - 1)
        parents = tuple(draw(st.lists(earlier, min_size=2, max_size=2, unique=True)))
        blocks.append(BlockSpec(level, draw(_KINDS), parents, endpoint=i in owners))
    return Genotype(stem, tuple(blocks), draw(st.sampled_from(["tf", "paper"])))
