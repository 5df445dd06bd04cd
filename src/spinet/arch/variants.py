"""Variants of a graph: other block kinds (paper appendix B, Table 3), cut connections (section 5.5)."""

from dataclasses import replace
from typing import Literal, get_args

from spinet.arch.block_spec import EXPANSION
from spinet.arch.genotype import Damage, Genotype
from spinet.errors import SpinetError, unknown_name

DamageDangling = Literal["drop", "keep", "recompute"]


def with_kind(genotype: Genotype, kind: str) -> Genotype:
    """Return the graph with all blocks, including the stem's, of one kind, like `block_fn_override` of tensorflow/tpu.

    Raises:
        SpinetError: the kind is unknown.
    """
    if kind not in EXPANSION:
        raise unknown_name("kind", kind, EXPANSION)
    stem = tuple(replace(block, kind=kind) for block in genotype.stem)
    blocks = tuple(replace(block, kind=kind) for block in genotype.blocks)
    return replace(genotype, stem=stem, blocks=blocks)


def damage(genotype: Genotype, how: Damage, dangling: DamageDangling = "drop") -> Genotype:
    """Return the graph with one connection per block, as in the paper's Table 8.

    Args:
        genotype: a graph whose blocks have two parents.
        how: `"short"` removes the short-range connection (the parent nearer in the ordering), `"long"` the
            long-range one, `"sequential"` both, and connects every block to the one before it. The caption of
            Table 8 swaps the first two; the text and the table's marks agree with this reading.
        dangling: `"drop"` removes the merges of dangling blocks too ("in all three cases, one block only connects to
            one other block"); `"keep"` keeps the original graph's merges, except those that have become parents;
            `"recompute"` applies the graph's own rule to the damaged graph.

    Raises:
        SpinetError: an argument is unknown, or the graph already has damage.
    """
    if how not in get_args(Damage) or how == "none":
        raise unknown_name("damage", str(how), [name for name in get_args(Damage) if name != "none"])
    if dangling not in get_args(DamageDangling):
        raise unknown_name("dangling option", dangling, get_args(DamageDangling))
    if genotype.damage != "none":
        raise SpinetError(f"the genotype already has damage {genotype.damage!r}; start from the original graph")
    blocks = []
    for index, block in enumerate(genotype.blocks, start=len(genotype.stem)):
        parent = {"sequential": index - 1, "short": min(block.parents), "long": max(block.parents)}[how]
        kept = genotype.merges.get(index, ()) if dangling == "keep" else ()
        merges = tuple(merged for merged in kept if merged != parent)
        blocks.append(replace(block, parents=(parent,), merges=merges))
    rule = genotype.dangling if dangling == "recompute" else "none"
    return Genotype(genotype.stem, tuple(blocks), rule, how)
