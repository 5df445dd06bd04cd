"""Positions and shapes of the blocks of a drawing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import Architecture

Point = tuple[float, float]

COLUMN = 52.0  # minimum; drawings of few blocks have wider columns
ROW = 64.0
LEFT = 98.0  # room for the labels of the levels
RIGHT = 74.0  # room for the channels of the levels
STACK = 2.5  # offset of each outline of a repeated block
MAX_COPIES = 3

# Corners of each kind's shape around (0, 0), in units of the block's half side; y points down. Kinds are matched by
# prefix.
SHAPES: dict[str, tuple[Point, ...]] = {
    "bottleneck": ((-1.0, -0.84), (1.0, -0.84), (1.0, 0.84), (-1.0, 0.84)),
    "residual": ((-1.22, 0.0), (0.0, -1.22), (1.22, 0.0), (0.0, 1.22)),
    "mbconv": ((-1.2, 0.0), (-0.62, -0.95), (0.62, -0.95), (1.2, 0.0), (0.62, 0.95), (-0.62, 0.95)),
    "resnext": ((-0.72, -0.88), (1.22, -0.88), (0.72, 0.88), (-1.22, 0.88)),
}
_CIRCLE = tuple((math.cos(k * math.pi / 12), math.sin(k * math.pi / 12)) for k in range(24))


@dataclass(frozen=True, slots=True)
class Box:
    """One block of a drawing: center, half side, corners of its front shape, and edges with all that belongs to it."""

    x: float
    y: float
    half: float
    corners: list[Point]
    copies: int
    left: float
    right: float
    top: float
    bottom: float

    def port(self, side: int, offset: float) -> Point:
        """Return where a curve meets the front shape `offset` below its center, on the left (-1) or the right (1)."""
        edge = self.x
        for (ax, ay), (bx, by) in zip(self.corners, self.corners[1:] + self.corners[:1], strict=True):
            y = self.y + offset
            if ay != by and min(ay, by) <= y <= max(ay, by):
                x = ax + (bx - ax) * (y - ay) / (by - ay)
                edge = min(edge, x) if side < 0 else max(edge, x)
        return edge, self.y + offset


@dataclass(frozen=True)
class Layout:
    """Boxes of one architecture, the heights of its levels, and the ends of the area for curves and columns."""

    boxes: tuple[Box, ...]
    rows: dict[int, float]
    column: float
    right: float
    top: float
    bottom: float


def lay_out(architecture: Architecture, levels: Sequence[int], top: float, column: float = COLUMN) -> Layout:
    """Place the blocks in building order from left to right, each at the height of its level; high levels on top."""
    rows = {level: top + 0.62 * ROW + row * ROW for row, level in enumerate(sorted(levels, reverse=True))}
    blocks = architecture.genotype.all_blocks
    boxes = (_box(architecture, block, LEFT + column * (i + 0.5), rows[block.level]) for i, block in enumerate(blocks))
    low, right = max(rows.values()), LEFT + column * len(blocks)
    return Layout(tuple(boxes), rows, column, right, min(rows.values()) - 0.62 * ROW, low + 0.56 * ROW)


def shape_of(kind: str) -> tuple[Point, ...]:
    """Return the corners of a kind's shape; a circle for unknown kinds."""
    return next((shape for prefix, shape in SHAPES.items() if kind.startswith(prefix)), _CIRCLE)


def outline(corners: Sequence[Point], radius: float) -> str:
    """Return the path of a polygon with rounded corners."""
    corners, parts = list(corners), list[str]()
    for before, corner, after in zip(corners[-1:] + corners[:-1], corners, corners[1:] + corners[:1], strict=True):
        start, end = _towards(corner, before, radius), _towards(corner, after, radius)
        parts.append(f"{'L' if parts else 'M'}{pair(start)}Q{pair(corner)} {pair(end)}")
    return "".join(parts) + "Z"


def pair(point: Point) -> str:
    """Return a point as an SVG string with two decimals."""
    return " ".join(f"{round(value, 2):g}" for value in point)


def _box(architecture: Architecture, block: BlockSpec, x: float, y: float) -> Box:
    half = min(max(9 + 1.55 * (math.log2(architecture.scaling.channels(block.level)) - 4), 11.5), 15.6)
    copies = min(architecture.scaling.repeats - 1, MAX_COPIES)
    corners = [(x + half * fx, y + half * fy) for fx, fy in shape_of(block.kind)]
    across, down = zip(*corners, strict=True)
    label = 17 if block.endpoint else 0
    right, top = max(across) + copies * STACK, min(down) - copies * STACK - label
    return Box(x, y, half, corners, copies, min(across), right, top, max(down))


def _towards(corner: Point, other: Point, radius: float) -> Point:
    fraction = min(radius / (math.dist(corner, other) or 1.0), 0.45)
    return corner[0] + fraction * (other[0] - corner[0]), corner[1] + fraction * (other[1] - corner[1])
