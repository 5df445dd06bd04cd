"""Drawings of architectures as SVG, in the style of the paper's Figure 3.

Blocks are drawn in building order from left to right, each at the height of its level. Rectangles are bottleneck blocks
and diamonds residual ones, a red border marks an endpoint (arXiv 1912.05027 Figure 3), outlines behind a block show its
repeats (Figure 5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.draw.layout import COLUMN, LEFT, RIGHT, Layout, lay_out
from spinet.draw.panel import PAD, Marks, connection, legend, panel
from spinet.draw.routes import edges_of
from spinet.draw.text import GREY, INK, length, lines_of, shorten, svg, text

_NARROWEST = 800.0
_HEADING = 68.0
_SMALL, _LINE = 12.5, 19.0  # font size and line height of small print


def draw(architecture: Architecture) -> str:
    """Return the drawing of an architecture as an SVG string, which is deterministic."""
    layout = lay_out(architecture, _levels([architecture]), _HEADING, _column([architecture]))
    width = _width([layout])
    symbols, y = legend([architecture], layout.bottom + 30, width)
    numbers, y = _small_print(architecture, y, width)
    parts = [*_heading(architecture, 0.0), *panel(architecture, layout, width), *symbols, *numbers]
    return svg(architecture.name, architecture.source, width, y + 22, parts)


def draw_pair(one: Architecture, other: Architecture) -> str:
    """Return two architectures one above the other as an SVG string, block by block.

    Blocks that differ in level, kind, parents, merges or endpoint are highlighted; connections that both have are pale.
    The differences are listed below.
    """
    levels, column = _levels([one, other]), _column([one, other])
    first = lay_out(one, levels, _HEADING, column)
    second = lay_out(other, levels, first.bottom + 22 + _HEADING, column)
    width = _width([first, second])
    parts = [*_heading(one, 0.0), *panel(one, first, width, _marks(one, other))]
    parts += [*_heading(other, first.bottom + 22), *panel(other, second, width, _marks(other, one))]
    symbols, y = legend([one, other], second.bottom + 30, width)
    words, y = _columns(differences(one, other), y, width)
    return svg(f"{one.name} and {other.name}", "", width, y + 22, [*parts, *symbols, *words])


def differences(one: Architecture, other: Architecture) -> list[str]:
    """Return the differences of two architectures: blocks by index, then dangling rule and scaling."""
    first, second = _resolved(one.genotype), _resolved(other.genotype)
    both = enumerate(zip(first, second, strict=False))
    lines = [f"block {index}: {_change(a, b)}" for index, (a, b) in both if a != b]
    if len(first) != len(second):
        where = "first" if len(first) > len(second) else "second"
        fewer, more = sorted((len(first), len(second)))
        lines.append(f"only in the {where}: " + ", ".join(map(str, range(fewer, more))))
    if one.genotype.dangling != other.genotype.dangling:
        lines.append(f"dangling rule: {one.genotype.dangling} \N{RIGHTWARDS ARROW} {other.genotype.dangling}")
    for (key, a), b in zip(one.scaling.to_dict().items(), other.scaling.to_dict().values(), strict=True):
        if a != b:
            lines.append(f"{key.replace('_', ' ')}: {_word(a)} \N{RIGHTWARDS ARROW} {_word(b)}")
    return lines or ["no difference"]


def _change(a: BlockSpec, b: BlockSpec) -> str:
    facts = [
        ("", a.kind, b.kind),
        ("level ", a.level, b.level),
        ("from ", _commas(a.parents, "stem"), _commas(b.parents, "stem")),
        ("merges ", _commas(a.merges, "none"), _commas(b.merges, "none")),
        ("", "endpoint" if a.endpoint else "inside", "endpoint" if b.endpoint else "inside"),
    ]
    return ", ".join(f"{word}{x} \N{RIGHTWARDS ARROW} {y}" for word, x, y in facts if x != y)


def _commas(numbers: Sequence[int], nothing: str) -> str:
    return " and ".join(map(str, numbers)) or nothing


def _resolved(genotype: Genotype) -> list[BlockSpec]:
    """Blocks with their merges, whether from the dangling rule or listed."""
    return [replace(block, merges=genotype.merges.get(k, ())) for k, block in enumerate(genotype.all_blocks)]


def _marks(one: Architecture, other: Architecture) -> Marks:
    """What to highlight in `one` compared with `other`."""
    pairs = zip_longest(_resolved(one.genotype), _resolved(other.genotype))
    changed = frozenset(i for i, (a, b) in enumerate(pairs) if a != b and a is not None)
    there = {(edge, connection(other, edge)) for edge in edges_of(other.genotype)}
    new = frozenset(edge for edge in edges_of(one.genotype) if (edge, connection(one, edge)) not in there)
    return Marks(changed, new)


def _heading(architecture: Architecture, y: float) -> list[str]:
    graph = architecture.genotype
    levels = " ".join(f"P{level}" for level in graph.endpoints)
    facts = f"{len(graph.all_blocks)} blocks, {len(graph.stem)} of them stem \N{MIDDLE DOT} endpoints {levels}"
    name = shorten(architecture.name, _NARROWEST - 2 * PAD, 22)
    return [text(PAD, y + 36, name, 22, INK, weight=700), text(PAD, y + 57, facts, 13, GREY)]


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _small_print(architecture: Architecture, y: float, width: float) -> tuple[list[str], float]:
    items = (f"{key.replace('_', ' ')} {_word(value)}" for key, value in architecture.scaling.to_dict().items())
    lines = lines_of(items, width - 2 * PAD, _SMALL)
    return [text(PAD, y + _LINE * k, line, _SMALL, GREY) for k, line in enumerate(lines, 1)], y + _LINE * len(lines)


def _columns(items: Sequence[str], y: float, width: float) -> tuple[list[str], float]:
    """Lay out a list in as many columns as fit."""
    widest = min(max(length(item, _SMALL) for item in items) + 24, width - 2 * PAD)
    across = max(1, int((width - 2 * PAD) / widest))
    down = -(-len(items) // across)
    parts = []
    for k, item in enumerate(items):
        x = PAD + (k // down) * (width - 2 * PAD) / across
        parts.append(text(x, y + 4 + _LINE * (k % down + 1), shorten(item, widest, _SMALL), _SMALL, GREY))
    return parts, y + 4 + _LINE * down


def _levels(architectures: Iterable[Architecture]) -> Sequence[int]:
    """All levels from the finest to the coarsest one in use."""
    used = {block.level for architecture in architectures for block in architecture.genotype.all_blocks}
    return range(min(used), max(used) + 1)


def _column(architectures: Iterable[Architecture]) -> float:
    """Width of a column: few blocks are spread over the narrowest drawing, up to a limit."""
    most = max(len(architecture.genotype.all_blocks) for architecture in architectures)
    return min(max((_NARROWEST - LEFT - RIGHT) / most, COLUMN), 80.0)


def _width(layouts: Iterable[Layout]) -> float:
    return max(_NARROWEST, *(layout.right + RIGHT for layout in layouts))
