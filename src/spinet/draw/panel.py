"""Parts of a drawing: levels, blocks, connections and the legend."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spinet.arch.catalog import Architecture
from spinet.draw.layout import LEFT, RIGHT, STACK, Box, Layout, outline, pair, shape_of
from spinet.draw.routes import Curve, Edge, edges_of, route
from spinet.draw.text import FAINT, GREY, INK, clean, length, text

PAD = 20.0  # margin of a drawing

# Kind of a connection -> its color and its label in the legend.
CONNECTIONS = {
    "coarser": ("#2f6fb7", "to coarser"),
    "finer": ("#15937b", "to finer"),
    "same": ("#5d6775", "same level"),
    "merge": ("#8e44ad", "merged"),
    "unused": ("#c9cfd7", "unused, never built"),
}
# Levels from fine to coarse, pale to deep.
_TINTS = {1: "#f3f7fb", 2: "#e9f1f9", 3: "#dceaf6", 4: "#cbe0f1", 5: "#b6d2ea", 6: "#9fc2e1", 7: "#86b0d6"}
_BORDER, _RED, _MARK = "#33506e", "#d7263d", "#ffd95e"
_DASHED = ' stroke-dasharray="5 4"'


@dataclass(frozen=True)
class Marks:
    """What a comparison highlights: `changed` blocks and `new` connections; all else is pale."""

    changed: frozenset[int]
    new: frozenset[Edge]


def panel(architecture: Architecture, layout: Layout, width: float, marks: Marks | None = None) -> list[str]:
    """Return one architecture without heading and legend."""
    parts = _grid(architecture, layout, width)
    parts += [_halo(layout, index) for index in sorted(marks.changed if marks else ())]
    curves = route(layout, edges_of(architecture.genotype))
    pale = {curve.edge: marks is not None and curve.edge not in marks.new for curve in curves}
    # Pale ones first, so that they are drawn below colored ones.
    curves.sort(key=lambda curve: not pale[curve.edge])
    parts += [_curve(architecture, curve, pale[curve.edge]) for curve in curves]
    for index, box in enumerate(layout.boxes):
        parts.append(_block(architecture, index, box, marks is not None and index not in marks.changed))
    return parts


def connection(architecture: Architecture, edge: Edge) -> str:
    """Return the kind of a connection, a key of `CONNECTIONS`."""
    graph = architecture.genotype
    if edge.target not in graph.live:
        return "unused"
    if edge.role == "merge":
        return "merge"
    rise = graph.all_blocks[edge.target].level - graph.all_blocks[edge.source].level
    return "coarser" if rise > 0 else "finer" if rise < 0 else "same"


def legend(architectures: Sequence[Architecture], y: float, width: float) -> tuple[list[str], float]:
    """Return the legend of some architectures, broken into lines that fit, and its lower end."""
    parts, x = [], PAD
    for symbol, label in _symbols(architectures):
        step = 32 + length(label, 13) + 16
        if x + step > width - PAD + 16 and x > PAD:
            x, y = PAD, y + 26
        parts.append(
            f'<g class="sign" transform="translate({pair((x, y))})">{symbol}{text(32, 4.6, label, 13, INK)}</g>'
        )
        x += step
    return parts, y + 12


def _grid(architecture: Architecture, layout: Layout, width: float) -> list[str]:
    stem = len(architecture.genotype.stem)
    top, height, right = layout.top, layout.bottom - layout.top, width - RIGHT
    parts = [
        f'<rect x="{LEFT:g}" y="{top:g}" width="{layout.column * stem:g}" height="{height:g}" rx="8" fill="#f4f6f9"/>',
        text(LEFT + layout.column * stem / 2, top + 16, "stem", 12.5, GREY, anchor="middle"),
    ]
    used = {block.level for block in architecture.genotype.all_blocks}
    for level, y in layout.rows.items():
        parts.append(f'<path d="M{LEFT:g} {y:g}H{right:g}" stroke="#e6eaf0"/>')
        parts.append(text(PAD, y - 1, f"L{level}", 15, INK, weight=600))
        parts.append(text(PAD, y + 14, f"stride {2**level}", 12.5, GREY))
        if level in used:
            parts.append(text(right + 10, y + 4, f"{architecture.scaling.channels(level)} ch", 12.5, GREY))
    return parts


def _halo(layout: Layout, index: int) -> str:
    x, y = layout.boxes[index].x - layout.column / 2 + 1.5, layout.top
    size = f'width="{layout.column - 3:g}" height="{layout.bottom - layout.top:g}"'
    return (
        f'<rect class="changed" data-block="{index}" x="{x:g}" y="{y:g}" {size} rx="8" fill="{_MARK}" opacity="0.4"/>'
    )


def _curve(architecture: Architecture, curve: Curve, pale: bool) -> str:
    kind = connection(architecture, curve.edge)
    color = "#c8d0da" if pale else CONNECTIONS[kind][0]
    edge, width = curve.edge, 1.2 if pale or kind == "unused" else 1.7
    return (
        f'<g class="edge {edge.role} {kind}" data-from="{edge.source}" data-to="{edge.target}">'
        f'<path class="curve" d="{curve.path}" fill="none" stroke="{color}" stroke-width="{width:g}"'
        f'{_DASHED if edge.role == "merge" else ""}/><path class="head" d="{curve.head}" fill="{color}"/></g>'
    )


def _block(architecture: Architecture, index: int, box: Box, pale: bool) -> str:
    block, live = architecture.genotype.all_blocks[index], index in architecture.genotype.live
    fill, ink, border = (_TINTS[block.level], INK, _BORDER) if live else ("#f1f2f4", FAINT, "#b4bcc6")
    red = "#eb8f9b" if pale else _RED
    if pale:
        fill, ink, border = "#f6f8fa", FAINT, "#b9c3ce"
    path, size = outline(box.corners, 3.0), min(0.92 * box.half, 13)
    copies = "".join(
        f'<path class="copy" d="{path}" transform="translate({STACK * k:g} {-STACK * k:g})"/>'
        for k in range(box.copies, 0, -1)
    )
    front = f' stroke="{red}" stroke-width="2.4"' if block.endpoint else ""
    classes = ["block", block.kind, *(["endpoint"] if block.endpoint else []), *([] if live else ["unused"])]
    label = text(box.x, box.top + 12, f"P{block.level}", 13, red, "middle", 700) if block.endpoint else ""
    return (
        f'<g class="{clean(" ".join(classes))}" data-block="{index}" stroke="{border}" stroke-width="1.3" '
        f'stroke-linejoin="round" fill="{fill}"><title>{clean(tooltip(architecture, index))}</title>{copies}'
        f'<path class="shape" d="{path}"{front}/>'
        f"{text(box.x, box.y + 0.36 * size, str(index), size, ink, 'middle', 600)}{label}</g>"
    )


def tooltip(architecture: Architecture, index: int) -> str:
    """Return the text shown when hovering over a block."""
    graph = architecture.genotype
    block = graph.all_blocks[index]
    parts = [f"block {index}: {block.kind}, level {block.level}"]
    parts.append("from " + " and ".join(map(str, block.parents)) if block.parents else "stem")
    if index in graph.merges:
        parts.append("merges " + " and ".join(map(str, graph.merges[index])))
    if block.endpoint:
        parts.append(f"endpoint P{block.level}")
    if index not in graph.live:
        parts.append("unused")
    return ", ".join(parts)


def _symbols(architectures: Sequence[Architecture]) -> Iterable[tuple[str, str]]:
    blocks = [block for architecture in architectures for block in architecture.genotype.all_blocks]
    for kind in dict.fromkeys(block.kind for block in blocks):
        yield _symbol(kind), kind
    yield _symbol(next(block.kind for block in blocks if block.endpoint), endpoint=True), "endpoint"
    for repeats in sorted({architecture.scaling.repeats for architecture in architectures} - {1}):
        yield _symbol(blocks[0].kind, copies=True), f"{repeats} repeats"
    kinds = {connection(drawn, edge) for drawn in architectures for edge in edges_of(drawn.genotype)}
    for kind, (color, label) in CONNECTIONS.items():
        if kind in kinds:
            line = f'<path d="M0 0H18" stroke="{color}" stroke-width="1.8"{_DASHED if kind == "merge" else ""}/>'
            yield f'{line}<path d="M24 0L17.5 -3.2V3.2Z" fill="{color}"/>', label
    if len(architectures) > 1:
        yield f'<rect y="-8" width="24" height="16" rx="4" fill="{_MARK}" opacity="0.6"/>', "different"


def _symbol(kind: str, endpoint: bool = False, copies: bool = False) -> str:
    path = outline([(12 + 8.5 * x, 8.5 * y) for x, y in shape_of(kind)], 2)
    border, stroke = (_RED, 2.4) if endpoint else (_BORDER, 1.3)
    style = f'fill="{_TINTS[4]}" stroke="{border}" stroke-width="{stroke}" stroke-linejoin="round"'
    behind = f'<path d="{path}" transform="translate({STACK} -{STACK})" {style}/>' if copies else ""
    return f'{behind}<path d="{path}" {style}/>'
