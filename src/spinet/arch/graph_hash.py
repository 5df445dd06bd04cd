"""One name for all genotypes that build the same network, whatever the order and numbers of their blocks."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

from spinet.arch.genotype import Genotype

# For each live block: its colour, its parents, the blocks merged into it.
_Edges = tuple[tuple[int, ...], ...]


def graph_hash(genotype: Genotype) -> str:
    """Return 20 hexadecimal digits that are equal exactly for isomorphic graphs, but for chance collisions.

    What is compared is what is built: live blocks with level, kind and role, connections, and the merges that the
    dangling rule makes of them. Numbering, dead blocks and the rule's name do not count.

    >>> from dataclasses import replace
    >>> from spinet.arch.catalog import load_architecture
    >>> published = load_architecture("spinenet49").genotype
    >>> graph_hash(published) == graph_hash(replace(published, dangling="paper"))
    True
    """
    live = sorted(genotype.live)
    place = {block: index for index, block in enumerate(live)}
    blocks = genotype.all_blocks
    labels = [
        # Stem blocks form a chain, so that each is one of a kind.
        (blocks[block].level, blocks[block].kind, blocks[block].endpoint, -1 if blocks[block].parents else block)
        for block in live
    ]
    parents = tuple(tuple(place[parent] for parent in blocks[block].parents) for block in live)
    merges = tuple(tuple(place[merged] for merged in genotype.merges.get(block, ())) for block in live)
    form = _canonical_form(_ranks(labels), labels, parents, merges)
    return hashlib.blake2b(repr(form).encode(), digest_size=10).hexdigest()


def _canonical_form(colours: list[int], labels: Sequence[Hashable], parents: _Edges, merges: _Edges) -> list[object]:
    """Refine the colours until every block has its own, branching over the members of a tied class."""
    colours = _refined(colours, parents, merges)
    tied = sorted(colour for colour, count in Counter(colours).items() if count > 1)
    if not tied:
        order = sorted(range(len(colours)), key=colours.__getitem__)
        return [
            (labels[block], sorted(colours[each] for each in parents[block]), sorted(colours[m] for m in merges[block]))
            for block in order
        ]
    forms, seen = [], set()
    for block in (each for each, colour in enumerate(colours) if colour == tied[0]):
        # Blocks with the very same neighbours may be swapped: one of them stands for all.
        neighbours = _neighbours(block, parents, merges)
        if neighbours not in seen:
            seen.add(neighbours)
            marked = [2 * colour + (each != block) for each, colour in enumerate(colours)]
            forms.append(_canonical_form(_ranks(marked), labels, parents, merges))
    return min(forms, key=repr)


def _refined(colours: list[int], parents: _Edges, merges: _Edges) -> list[int]:
    """Split classes by the colours of parents, merged blocks and consumers until nothing changes."""
    while True:
        above: list[list[tuple[int, int]]] = [[] for _ in colours]
        for kind, edges in enumerate((parents, merges)):
            for block, sources in enumerate(edges):
                for source in sources:
                    above[source].append((kind, colours[block]))
        refined = _ranks(
            [
                (
                    colours[block],
                    sorted(colours[each] for each in parents[block]),
                    sorted(colours[each] for each in merges[block]),
                    sorted(above[block]),
                )
                for block in range(len(colours))
            ]
        )
        if len(set(refined)) == len(set(colours)):
            return refined
        colours = refined


def _neighbours(block: int, parents: _Edges, merges: _Edges) -> tuple[frozenset[int], ...]:
    users = (frozenset(each for each, sources in enumerate(edges) if block in sources) for edges in (parents, merges))
    return (frozenset(parents[block]), frozenset(merges[block]), *users)


def _ranks(keys: Sequence[object]) -> list[int]:
    """Replace each key by its place among the different keys in order."""
    texts = [repr(key) for key in keys]
    order = {text: rank for rank, text in enumerate(sorted(set(texts)))}
    return [order[text] for text in texts]
