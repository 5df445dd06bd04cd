"""The spaces of the papers, by name (paper v1 Table 1, section 5.4; google/vertex-ai-nas `search_spaces.py`)."""

from dataclasses import replace
from pathlib import Path

from spinet.arch.block_spec import BlockSpec
from spinet.arch.budgets import BUDGETS
from spinet.arch.catalog import load_architecture
from spinet.errors import unknown_name
from spinet.files import read_json
from spinet.nas.space import Space

_ADJUSTMENTS = (-1, 0, 1, 2)
_BOTH_KINDS = ("residual", "bottleneck")
_STEM = (BlockSpec(2, "bottleneck"), BlockSpec(2, "bottleneck"))
_MOBILE_STEM = (BlockSpec(1, "mbconv"), BlockSpec(2, "mbconv"))


def _table1(name: str) -> Space:
    budget = BUDGETS[name]
    stem = tuple(BlockSpec(level, "bottleneck") for level in budget.stem_levels)
    return Space(name, stem, budget.intermediate_levels, source="arXiv 1912.05027v1 section 3.1, Table 1")


_R0_SP53 = _table1("r0-sp53")
_PLUS = replace(_R0_SP53, name="r0-sp53-plus", offsets=_ADJUSTMENTS, source="arXiv 1912.05027v1 Table 3: scale only")
_SPINENET49 = replace(_PLUS, name="spinenet49", kinds=_BOTH_KINDS, source="arXiv 1912.05027v1 section 3.1")
_VERTEX = replace(
    _SPINENET49,
    name="vertex-spinenet",
    intermediates=(2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5),
    window=4,
    source="google/vertex-ai-nas search_spaces.py, 'spinenet'",
)
_VERTEX_V2 = replace(
    _VERTEX,
    name="vertex-spinenet-v2",
    intermediates=_R0_SP53.intermediates,
    offsets=(-1, 0, 1),
    kinds=("bottleneck",),
    source="google/vertex-ai-nas search_spaces.py, 'spinenet_v2'",
)
_VERTEX_MBCONV = replace(
    _VERTEX,
    name="vertex-mbconv",
    stem=_MOBILE_STEM,
    intermediates=(2, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5),
    kinds=("mbconv",),
    scaling=load_architecture("spinenet49-mobile").scaling,
    source="google/vertex-ai-nas search_spaces.py, 'spinenet_mbconv'",
)


def _fixed(name: str) -> Space:
    """The ordering of a catalogue entry; only the connections are searched."""
    blocks = load_architecture(name).genotype.blocks
    return replace(
        _R0_SP53,
        name=name,
        intermediates=tuple(block.level for block in blocks if not block.endpoint),
        outputs=tuple(block.level for block in blocks if block.endpoint),
        permuted=False,
        source="arXiv 1912.05027v1 section 5.5, Table 7",
    )


SPACES: dict[str, Space] = {
    space.name: space
    for space in (
        _SPINENET49,
        *(_table1(name) for name in ("r35-sp18", "r23-sp30", "r14-sp39")),
        _R0_SP53,
        _PLUS,
        _fixed("hourglass"),
        _fixed("fish"),
        replace(_VERTEX_MBCONV, name="mbconv", window=5, source="the mobile blocks in the paper's window of 5"),
        _VERTEX,
        _VERTEX_V2,
        _VERTEX_MBCONV,
    )
}


def load_space(name_or_path: str | Path) -> Space:
    """Return a space by name, or from a JSON file.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not a valid space.
    """
    if str(name_or_path) in SPACES:
        return SPACES[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix != ".json" and not path.is_file():
        raise unknown_name("space", str(name_or_path), SPACES)
    return read_json(path, "space", Space.from_dict)
