"""Curves from block to block that keep clear of the blocks between them.

Every block has a column of its own, so a curve meets at most one block a column and passes above or below it. The
way is the cheapest one over horizontal lanes, found column by column.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spinet.arch.draw_layout import COLUMN, REACH_LEFT, REACH_RIGHT, Box, Layout, Point, pair
from spinet.arch.genotype import Genotype

HEAD = 6.5  # length of an arrowhead

_LANE = 6.0
_CLEAR = 6.0
_NEAR = 9.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection: `role` is "parent", "stem" (the chain of stem blocks) or "merge" (a dangling block)."""

    source: int
    target: int
    role: str = "parent"


@dataclass(frozen=True, slots=True)
class Curve:
    """The path of a connection, its arrowhead included in `points` as the last one."""

    edge: Edge
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """SVG path from the source to the foot of the arrowhead."""
        *points, (x, y) = self.points
        return _smooth([*points, (x - HEAD + 1, y)])

    @property
    def head(self) -> str:
        """SVG path of the arrowhead."""
        x, y = self.points[-1]
        return f"M{pair((x, y))}L{pair((x - HEAD, y - 3.2))}L{pair((x - HEAD, y + 3.2))}Z"


def edges_of(genotype: Genotype) -> list[Edge]:
    """Every connection of a genotype: the stem's chain, the parents and the merges."""
    edges = [Edge(index - 1, index, "stem") for index in range(1, len(genotype.stem))]
    for index, block in enumerate(genotype.all_blocks):
        edges += [Edge(parent, index) for parent in block.parents]
        edges += [Edge(merged, index, "merge") for merged in genotype.merges.get(index, ())]
    return edges


def route(layout: Layout, edges: Sequence[Edge]) -> list[Curve]:
    """Return a curve for each edge, in the order of `edges`; short ones choose their way first."""
    router = _Router(layout)
    order = sorted(edges, key=lambda edge: (edge.target - edge.source, edge.source))
    ways = {edge: router.way(edge) for edge in order}
    starts = _ports(layout, edges, ways, side=1)
    ends = _ports(layout, edges, ways, side=-1)
    return [Curve(edge, (starts[edge], *ways[edge], ends[edge])) for edge in edges]


class _Router:
    """Finds ways one after the other; each keeps away from the ones before it."""

    def __init__(self, layout: Layout) -> None:
        self.boxes = layout.boxes
        count = int((layout.bottom - layout.top) / _LANE)
        self.lanes = [layout.top + _LANE * (k + 0.5) for k in range(count)]
        self.used: dict[float, list[tuple[float, int]]] = {}

    def way(self, edge: Edge) -> list[Point]:
        """The points between the two blocks: one where the way enters a column and one where it leaves it."""
        source, target = self.boxes[edge.source], self.boxes[edge.target]
        between = self.boxes[edge.source + 1 : edge.target]
        if not between:
            return []
        x, costs, steps = source.x + REACH_RIGHT, [_climb(y - source.y, 8) for y in self.lanes], []
        for box in between:
            for at in (box.x - REACH_LEFT, box.x + REACH_RIGHT):
                costs, came = self._advance(costs, at - x, self._tolls(box, at, edge), box if at > box.x else None)
                steps.append((at, came))
                x = at
        last = min(range(len(self.lanes)), key=lambda k: costs[k] + _climb(self.lanes[k] - target.y, 8))
        points = self._trace(steps, last)
        for at, y in points:
            self.used.setdefault(at, []).append((y, edge.source))
        return _relax(source, points, target, between)

    def _tolls(self, box: Box, at: float, edge: Edge) -> list[float]:
        """What each lane costs at one place: closed by a block, dear near other curves."""
        tolls = []
        for lane in self.lanes:
            if box.top - _CLEAR < lane < box.bottom + _CLEAR:
                tolls.append(math.inf)
                continue
            toll = 0.0
            for y, source in self.used.get(at, ()):
                nearness = max(0.0, 1 - abs(lane - y) / _NEAR)
                toll += nearness * (4 if source == edge.source else 20)
            tolls.append(toll)
        return tolls

    def _advance(
        self, costs: list[float], dx: float, tolls: list[float], beside: Box | None
    ) -> tuple[list[float], list[int]]:
        """One step of the search; a way that runs `beside` a block stays on its side of it."""
        reached, came = [], []
        for lane, toll in zip(self.lanes, tolls, strict=True):
            best, best_from = math.inf, 0
            if toll < math.inf:
                for k, (other, cost) in enumerate(zip(self.lanes, costs, strict=True)):
                    total = cost + _climb(lane - other, dx)
                    if total < best and (beside is None or (lane < beside.y) == (other < beside.y)):
                        best, best_from = total, k
            reached.append(best + toll)
            came.append(best_from)
        return reached, came

    def _trace(self, steps: list[tuple[float, list[int]]], last: int) -> list[Point]:
        points = []
        for at, came in reversed(steps):
            points.append((at, self.lanes[last]))
            last = came[last]
        return points[::-1]


def _climb(dy: float, dx: float) -> float:
    """The cost of a rise: its length beyond the level way, so that steep and gentle ways compare fairly."""
    return math.hypot(dy, dx) - dx + 0.01 * dy * dy / dx


def _relax(source: Box, points: list[Point], target: Box, between: Sequence[Box]) -> list[Point]:
    """Straighten a way a little: each point moves towards the line of its neighbours, but not into a block."""
    ways = [(source.right, source.y), *points, (target.left, target.y)]
    for _ in range(6):
        for k in range(1, len(ways) - 1):
            (ax, ay), (x, y), (bx, by) = ways[k - 1 : k + 2]
            box, home = between[(k - 1) // 2], points[k - 1][1]
            wanted = ay + (by - ay) * (x - ax) / (bx - ax)
            wanted = min(max(wanted, home - _LANE), home + _LANE)
            wanted = min(wanted, box.top - _CLEAR) if home < box.y else max(wanted, box.bottom + _CLEAR)
            ways[k] = (x, y + 0.7 * (wanted - y))
    return ways[1:-1]


def _ports(layout: Layout, edges: Sequence[Edge], ways: dict[Edge, list[Point]], side: int) -> dict[Edge, Point]:
    """Share the left (-1) or right (1) side of each block among its curves, so that they do not cross there."""
    ends: dict[int, list[Edge]] = {}
    for edge in edges:
        ends.setdefault(edge.source if side > 0 else edge.target, []).append(edge)
    ports = {}
    for index, touching in ends.items():
        box = layout.boxes[index]
        room = 0.55 * box.half if side < 0 else 0.4 * box.half
        gap = min(2 * room / max(len(touching) - 1, 1), 9.0)
        touching.sort(key=lambda edge: _slope(layout, edge, ways[edge], side))
        for place, edge in enumerate(touching):
            ports[edge] = box.port(side, gap * (place - (len(touching) - 1) / 2))
    return ports


def _slope(layout: Layout, edge: Edge, way: list[Point], side: int) -> tuple[float, int]:
    here, there = (edge.source, edge.target) if side > 0 else (edge.target, edge.source)
    far = layout.boxes[there]
    x, y = (way[0] if side > 0 else way[-1]) if way else (far.x - side * 20, far.y)
    return (y - layout.boxes[here].y) / (abs(x - layout.boxes[here].x) or COLUMN), far.x * side < 0


def _smooth(points: Sequence[Point]) -> str:
    """Return a path of cubic pieces that never rises beyond its points (Fritsch and Carlson's monotone cubic)."""
    widths = [b[0] - a[0] for a, b in zip(points, points[1:], strict=False)]
    rises = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:], strict=False)]
    slopes = [0.0]
    for (w0, w1), (r0, r1) in zip(zip(widths, widths[1:], strict=False), zip(rises, rises[1:], strict=False), strict=True):
        flat = r0 * r1 <= 0
        slopes.append(0.0 if flat else 3 * (w0 + w1) / ((2 * w1 + w0) / r0 + (w1 + 2 * w0) / r1))
    slopes.append(0.0)
    path = f"M{pair(points[0])}"
    for (ax, ay), (bx, by), out, into in zip(points, points[1:], slopes, slopes[1:], strict=False):
        third = (bx - ax) / 3
        path += f"C{pair((ax + third, ay + out * third))} {pair((bx - third, by - into * third))} {pair((bx, by))}"
    return path
