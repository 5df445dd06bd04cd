"""An architecture as a picture: SVG text, in the manner of the paper's Figure 3.

Blocks stand in building order from left to right, each at the height of its level; rectangles are bottleneck blocks
and diamonds residual ones, a red border marks an endpoint (arXiv 1912.05027 Figure 3), outlines behind a block its
repeats (Figure 5).
"""

from collections.abc import Collection, Iterable, Sequence
from html import escape

from spinet.arch.catalog import Architecture
from spinet.arch.draw_layout import COLUMN, LEFT, RIGHT, ROW, STACK, Box, Layout, lay_out, outline, pair, shape_of
from spinet.arch.draw_routes import Curve, Edge, edges_of, route
from spinet.arch.genotype import BlockSpec

FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, GREY, FAINT, PAPER, LINE = "#1b2430", "#667282", "#a9b2be", "#ffffff", "#e6eaf0"
RED, MARK = "#d7263d", "#ffe08a"
# Levels from fine to coarse, pale to deep.
TINTS = {1: "#f3f7fb", 2: "#e9f1f9", 3: "#dceaf6", 4: "#cbe0f1", 5: "#b6d2ea", 6: "#9fc2e1", 7: "#86b0d6"}
# What a connection does -> its colour and its words in the legend.
COLOURS = {
    "coarser": ("#2f6fb7", "to a coarser level"),
    "finer": ("#15937b", "to a finer level"),
    "same": ("#5d6775", "same level"),
    "merge": ("#8e44ad", "merged into an endpoint"),
    "unused": ("#c9cfd7", "unused, never built"),
}
_NARROWEST = 660.0
_HEADER, _FOOTER_LINE, _PAD = 66.0, 18.0, 28.0
_WIDE_LETTER = 0.62  # of the font size: DejaVu Sans, the widest of the fonts


def draw(architecture: Architecture) -> str:
    """Return the picture of an architecture as SVG text; the same architecture gives the same text."""
    levels = _levels([architecture])
    layout = lay_out(architecture, levels, _HEADER)
    width = max(layout.right + RIGHT, _NARROWEST)
    body = _heading(architecture, 34) + _panel(architecture, layout, width)
    foot, bottom = _footer(_legend([architecture]), [_numbers(architecture)], layout.bottom + 30, width)
    return _svg(architecture.name, architecture.source, width, bottom, body + foot)


def _panel(
    architecture: Architecture,
    layout: Layout,
    width: float,
    changed: Collection[int] = (),
    muted: Collection[Edge] = (),
    kept: Collection[int] = (),
) -> list[str]:
    """One architecture without heading and legend; `changed` blocks are marked, `muted` edges and `kept` ones pale."""
    parts = _grid(architecture, layout, width)
    parts += [_halo(layout, index) for index in sorted(changed)]
    curves = route(layout, edges_of(architecture.genotype))
    # Pale ones first, so that no grey curve crosses a coloured one above it.
    curves.sort(key=lambda curve: curve.edge not in muted)
    parts += [_curve(architecture, curve, curve.edge in muted) for curve in curves]
    parts += [_block(architecture, index, box, index in kept) for index, box in enumerate(layout.boxes)]
    return parts


def _grid(architecture: Architecture, layout: Layout, width: float) -> list[str]:
    stem = len(architecture.genotype.stem)
    top, height = layout.top, layout.bottom - layout.top
    parts = [
        f'<rect x="{LEFT:g}" y="{top:g}" width="{COLUMN * stem:g}" height="{height:g}" rx="8" fill="#f5f7fa"/>',
        _text(LEFT + COLUMN * stem / 2, top + 15, "stem", 11, GREY, anchor="middle"),
    ]
    right = width - RIGHT
    used = {block.level for block in architecture.genotype.all_blocks}
    for level, y in layout.rows.items():
        parts.append(f'<path d="M{LEFT:g} {y:g}H{right:g}" stroke="{LINE}"/>')
        parts.append(_text(_PAD, y - 1, f"L{level}", 14, INK, weight=600))
        parts.append(_text(_PAD, y + 13, f"stride {2**level}", 10.5, GREY))
        if level in used:
            parts.append(_text(right + 10, y + 4, f"{architecture.scaling.channels(level)} ch", 10.5, GREY))
    return parts


def _halo(layout: Layout, index: int) -> str:
    box = layout.boxes[index]
    x, y = box.x - COLUMN / 2 + 2, layout.top
    size = f'width="{COLUMN - 4:g}" height="{layout.bottom - layout.top:g}"'
    return f'<rect class="changed" data-block="{index}" x="{x:g}" y="{y:g}" {size} rx="8" fill="{MARK}" opacity="0.55"/>'


def _curve(architecture: Architecture, curve: Curve, muted: bool) -> str:
    kind = _connection(architecture, curve.edge)
    colour = "#d3d9e0" if muted else COLOURS[kind][0]
    dash = ' stroke-dasharray="5 4"' if kind == "merge" else ""
    edge, width = curve.edge, 1.2 if muted or kind == "unused" else 1.7
    return (
        f'<g class="edge {edge.role} {kind}" data-from="{edge.source}" data-to="{edge.target}">'
        f'<path class="curve" d="{curve.path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dash}/>'
        f'<path class="head" d="{curve.head}" fill="{colour}"/></g>'
    )


def _block(architecture: Architecture, index: int, box: Box, muted: bool) -> str:
    block = architecture.genotype.all_blocks[index]
    live = index in architecture.genotype.live
    border = "#b4bcc6" if not live else RED if block.endpoint else "#33506e"
    fill, ink = (TINTS[block.level], INK) if live else ("#f0f1f3", FAINT)
    if muted:
        fill, ink = "#f7f9fb", FAINT
        border = "#f0a3ad" if block.endpoint else "#bcc6d1"
    path = outline(box.corners, 3.0)
    copies = "".join(
        f'<path class="copy" d="{path}" transform="translate({STACK * k:g} {-STACK * k:g})"/>'
        for k in range(box.copies, 0, -1)
    )
    stroke = 2.4 if block.endpoint else 1.3
    words = ["block", block.kind, *(["endpoint"] if block.endpoint else []), *([] if live else ["unused"])]
    label = _text(box.x, box.top + 10, f"P{block.level}", 11.5, RED, "middle", 700) if block.endpoint else ""
    return (
        f'<g class="{_clean(" ".join(words))}" data-block="{index}" stroke="{border}" stroke-width="{stroke}" '
        f'stroke-linejoin="round" fill="{fill}"><title>{_clean(_sentence(architecture, index))}</title>{copies}'
        f'<path class="shape" d="{path}"/>'
        f"{_text(box.x, box.y + 3.8, str(index), 10.5, ink, 'middle', 600)}{label}</g>"
    )


def _sentence(architecture: Architecture, index: int) -> str:
    """What the picture tells when the pointer rests on a block."""
    block, graph = architecture.genotype.all_blocks[index], architecture.genotype
    parts = [f"block {index}: {block.kind}, level {block.level}"]
    parts.append("from " + " and ".join(map(str, block.parents)) if block.parents else "stem")
    if index in graph.merges:
        parts.append("merges " + " and ".join(map(str, graph.merges[index])))
    if block.endpoint:
        parts.append(f"endpoint P{block.level}")
    if index not in graph.live:
        parts.append("unused")
    return ", ".join(parts)


def _connection(architecture: Architecture, edge: Edge) -> str:
    """What a connection does: a key of `COLOURS`."""
    graph = architecture.genotype
    if edge.target not in graph.live:
        return "unused"
    if edge.role == "merge":
        return "merge"
    rise = graph.all_blocks[edge.target].level - graph.all_blocks[edge.source].level
    return "coarser" if rise > 0 else "finer" if rise < 0 else "same"


def _heading(architecture: Architecture, y: float) -> list[str]:
    graph = architecture.genotype
    levels = f"P{min(graph.endpoints)} to P{max(graph.endpoints)}"
    facts = f"{len(graph.all_blocks)} blocks, {len(graph.stem)} of them stem; endpoints {levels}"
    return [
        _text(_PAD, y, _shorten(architecture.name, 34), 21, INK, weight=700),
        _text(_PAD, y + 20, facts, 12, GREY),
    ]


def _numbers(architecture: Architecture) -> list[str]:
    return [
        f"{key.replace('_', ' ')} {value:g}" if isinstance(value, int | float) else f"{key.replace('_', ' ')} {value}"
        for key, value in architecture.scaling.to_dict().items()
    ]


def _levels(architectures: Iterable[Architecture]) -> Sequence[int]:
    """All levels from the finest to the coarsest one in use."""
    used = {block.level for found in architectures for block in found.genotype.all_blocks}
    return range(min(used), max(used) + 1)


def _legend(architectures: Sequence[Architecture], pair_of_two: bool = False) -> list[tuple[str, str]]:
    """(symbol, words) of everything that the picture holds."""
    blocks = [block for found in architectures for block in found.genotype.all_blocks]
    items = [(_symbol(kind), kind) for kind in dict.fromkeys(block.kind for block in blocks)]
    items.append((_symbol(_first_endpoint(blocks).kind, RED, 2.4), "endpoint"))
    repeats = max(found.scaling.repeats for found in architectures)
    if repeats > 1:
        items.append((_symbol(blocks[0].kind, copies=True), f"repeated {repeats} times"))
    kinds = {_connection(found, edge) for found in architectures for edge in edges_of(found.genotype)}
    for kind, (colour, words) in COLOURS.items():
        if kind in kinds:
            dash = ' stroke-dasharray="5 4"' if kind == "merge" else ""
            line = f'<path d="M0 0H18" stroke="{colour}" stroke-width="1.8"{dash}/>'
            items.append((f'{line}<path d="M24 0L17.5 -3.2V3.2Z" fill="{colour}"/>', words))
    if pair_of_two:
        items.append((f'<rect y="-8" width="24" height="16" rx="4" fill="{MARK}" opacity="0.8"/>', "different"))
    return items


def _first_endpoint(blocks: Iterable[BlockSpec]) -> BlockSpec:
    return next(block for block in blocks if block.endpoint)


def _symbol(kind: str, border: str = "#33506e", stroke: float = 1.3, copies: bool = False) -> str:
    corners = [(12 + 8.5 * x, 8.5 * y) for x, y in shape_of(kind)]
    style = f'fill="{TINTS[4]}" stroke="{border}" stroke-width="{stroke}" stroke-linejoin="round"'
    behind = f'<path d="{outline(corners, 2)}" transform="translate({STACK} -{STACK})" {style}/>' if copies else ""
    return f'{behind}<path d="{outline(corners, 2)}" {style}/>'


def _footer(
    legend: Sequence[tuple[str, str]], numbers: Sequence[Sequence[str]], y: float, width: float
) -> tuple[list[str], float]:
    """Legend and small print, broken into lines; returns the parts and where they end."""
    parts, x = [], _PAD
    for symbol, words in legend:
        step = 32 + 11.5 * _WIDE_LETTER * len(words) + 20
        if x + step > width - _PAD + 20 and x > _PAD:
            x, y = _PAD, y + 24
        parts.append(f'<g transform="translate({pair((x, y))})">{symbol}{_text(32, 4, words, 11.5, INK)}</g>')
        x += step
    y += 12
    for line in (line for items in numbers for line in _lines(items, width)):
        y += _FOOTER_LINE
        parts.append(_text(_PAD, y, line, 10.5, GREY))
    return parts, y + 22


def _lines(items: Sequence[str], width: float) -> list[str]:
    """Join items with dots into lines that fit."""
    letters, lines = int((width - 2 * _PAD) / (10.5 * _WIDE_LETTER)), [""]
    for item in (_shorten(item, letters) for item in items):
        joined = f"{lines[-1]} \N{MIDDLE DOT} {item}" if lines[-1] else item
        if len(joined) <= letters:
            lines[-1] = joined
        else:
            lines.append(item)
    return lines


def _svg(name: str, source: str, width: float, height: float, parts: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-family="{FONT}">'
    )
    # A background of its own keeps the picture readable on a dark page.
    paper = f'<rect width="{width:g}" height="{height:g}" rx="12" fill="{PAPER}"/>'
    about = f"<title>{_clean(name)}</title>" + (f"<desc>{_clean(source)}</desc>" if source else "")
    return "\n".join([head, about, paper, *parts, "</svg>\n"])


def _text(
    x: float, y: float, words: str, size: float, colour: str, anchor: str = "start", weight: int = 400
) -> str:
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    bold = "" if weight == 400 else f' font-weight="{weight}"'
    at = f'x="{round(x, 2):g}" y="{round(y, 2):g}"'
    return f'<text {at} font-size="{size:g}" fill="{colour}" stroke="none"{place}{bold}>{_clean(words)}</text>'


def _clean(words: str) -> str:
    """Escape for XML; what XML cannot hold becomes the sign for an unreadable letter."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words))


def _shorten(words: str, letters: int) -> str:
    return words if len(words) <= letters else words[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"
