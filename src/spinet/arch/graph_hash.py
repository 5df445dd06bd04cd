"""One hash for all genotypes that build the same network, whatever the order and indices of their blocks.

A canonical form is found as in nauty: color refinement, then a search over the blocks that it cannot tell apart. Graphs
are small (some 20 blocks) and labelled, so refinement alone nearly always suffices.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

from spinet.arch.genotype import Genotype

# For each live block the blocks that feed it (its parents, or its merges), as indices among the live ones.
_Edges = tuple[tuple[int, ...], ...]


def graph_hash(genotype: Genotype) -> str:
    """Return 20 hexadecimal digits that are equal exactly for isomorphic graphs, except for chance collisions.

    Compared is what is built: live blocks with level, kind and role, connections, and the merges that follow from the
    dangling rule. Numbering, dead blocks and the name of the rule do not matter.

    >>> from dataclasses import replace
    >>> from spinet.arch.catalog import load_architecture
    >>> published = load_architecture("spinenet49").genotype
    >>> graph_hash(published) == graph_hash(replace(published, dangling="paper"))
    True
    """
    live = sorted(genotype.live)
    position = {block: index for index, block in enumerate(live)}
    blocks = genotype.all_blocks
    labels = [
        # Stem blocks form a chain, so that each is unique.
        (blocks[block].level, blocks[block].kind, blocks[block].endpoint, -1 if blocks[block].parents else block)
        for block in live
    ]
    parents = tuple(tuple(position[parent] for parent in blocks[block].parents) for block in live)
    merges = tuple(tuple(position[merged] for merged in genotype.merges.get(block, ())) for block in live)
    form = _canonical_form(_ranks(labels), labels, parents, merges)
    return hashlib.blake2b(repr(form).encode(), digest_size=10).hexdigest()


def _canonical_form(colors: list[int], labels: Sequence[Hashable], parents: _Edges, merges: _Edges) -> list[object]:
    """Return labels and connections in an order that does not depend on the numbering of the blocks."""
    colors = _refined(colors, parents, merges)
    ties = sorted(color for color, count in Counter(colors).items() if count > 1)
    if not ties:
        # Every block has a color of its own, so the colors are a canonical numbering.
        order = sorted(range(len(colors)), key=colors.__getitem__)
        return [
            (labels[block], sorted(colors[i] for i in parents[block]), sorted(colors[i] for i in merges[block]))
            for block in order
        ]
    # Blocks of one color may still differ (regular graphs), so none of them may be preferred arbitrarily: each in turn
    # is given the smaller color, and the smallest form wins. Which color is split does not matter, as long as it is
    # chosen by the colors alone.
    forms, seen = [], set()
    for block in (index for index, color in enumerate(colors) if color == ties[0]):
        # Swapping blocks with the very same neighbours is an automorphism, so one of them is enough. Without this,
        # k interchangeable blocks would take k! branches.
        neighbours = _neighbours(block, parents, merges)
        if neighbours not in seen:
            seen.add(neighbours)
            split = [2 * color + (index != block) for index, color in enumerate(colors)]
            forms.append(_canonical_form(_ranks(split), labels, parents, merges))
    return min(forms, key=repr)


def _refined(colors: list[int], parents: _Edges, merges: _Edges) -> list[int]:
    """Split colors by the colors of parents, merged blocks and consumers until nothing changes."""
    while True:
        consumers: list[list[tuple[int, int]]] = [[] for _ in colors]
        for kind, edges in enumerate((parents, merges)):
            for block, sources in enumerate(edges):
                for source in sources:
                    consumers[source].append((kind, colors[block]))
        around = zip(colors, parents, merges, consumers, strict=True)
        refined = _ranks(
            [
                (color, sorted(colors[i] for i in fed), sorted(colors[i] for i in merged), sorted(users))
                for color, fed, merged, users in around
            ]
        )
        if len(set(refined)) == len(set(colors)):
            return refined
        colors = refined


def _neighbours(block: int, parents: _Edges, merges: _Edges) -> tuple[frozenset[int], ...]:
    users = (frozenset(i for i, sources in enumerate(edges) if block in sources) for edges in (parents, merges))
    return (frozenset(parents[block]), frozenset(merges[block]), *users)


def _ranks(keys: Sequence[object]) -> list[int]:
    """Replace each key by its rank among the distinct keys."""
    texts = [repr(key) for key in keys]
    order = {text: rank for rank, text in enumerate(sorted(set(texts)))}
    return [order[text] for text in texts]
