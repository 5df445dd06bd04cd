"""Curves from block to block that keep clear of the blocks between them.

Every block has a column of its own, so a curve meets at most one block a column and passes above or below it. The
way is the cheapest one over horizontal lanes, found column by column; the curve keeps only the points it needs.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from spinet.arch.genotype import Genotype
from spinet.draw.layout import Box, Layout, Point, pair

_HEAD = 7.0  # length of an arrowhead
_LANE = 6.0
_CLEAR = 6.0
_NEAR = 10.0
_STRAY = 9.0  # how far a curve may leave its way
_STEEPEST = (1.6, 1.0)  # slopes at which a curve may leave and reach a block


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection: `role` is "parent", "stem" (the chain of stem blocks) or "merge" (a dangling block)."""

    source: int
    target: int
    role: str = "parent"


@dataclass(frozen=True, slots=True)
class Curve:
    """A connection with the points that its curve goes through, and the slope at each."""

    edge: Edge
    points: tuple[Point, ...]
    slopes: tuple[float, ...]

    def at(self, x: float) -> float:
        """The height of the curve at `x`."""
        k = min(max(bisect_left([px for px, _ in self.points], x), 1), len(self.points) - 1)
        (ax, ay), (bx, by) = self.points[k - 1], self.points[k]
        w, t = bx - ax, (x - ax) / (bx - ax)
        rise = t * t * (3 - 2 * t)
        return ay + (by - ay) * rise + w * t * (1 - t) * ((1 - t) * self.slopes[k - 1] - t * self.slopes[k])

    @property
    def path(self) -> str:
        """SVG path from block to block."""
        path = f"M{pair(self.points[0])}"
        for (ax, ay), (bx, by), out, into in zip(
            self.points, self.points[1:], self.slopes, self.slopes[1:], strict=False
        ):
            third = (bx - ax) / 3
            path += f"C{pair((ax + third, ay + out * third))} {pair((bx - third, by - into * third))} {pair((bx, by))}"
        return path

    @property
    def head(self) -> str:
        """SVG path of the arrowhead, in the direction in which the curve arrives."""
        (x, y), angle = self.points[-1], math.atan(self.slopes[-1])
        corners = [(0.0, 0.0), (-_HEAD, -0.46 * _HEAD), (-_HEAD, 0.46 * _HEAD)]
        cos, sin = math.cos(angle), math.sin(angle)
        return "M" + "L".join(pair((x + cos * px - sin * py, y + sin * px + cos * py)) for px, py in corners) + "Z"


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
    return [
        _fit(edge, [starts[edge], *ways[edge], ends[edge]], layout.boxes[edge.source + 1 : edge.target])
        for edge in edges
    ]


class _Router:
    """Finds ways one after the other; each keeps away from the ones before it."""

    def __init__(self, layout: Layout) -> None:
        self.boxes = layout.boxes
        count = int((layout.bottom - layout.top) / _LANE)
        self.lanes = [layout.top + _LANE * (k + 0.5) for k in range(count)]
        self.used: dict[float, dict[Edge, float]] = {}  # place -> curve -> height

    def way(self, edge: Edge) -> list[Point]:
        """The points between the two blocks: one where the way enters a column and one where it leaves it."""
        source, target = self.boxes[edge.source], self.boxes[edge.target]
        between = self.boxes[edge.source + 1 : edge.target]
        if not between:
            return []
        x, steps = source.x + source.half, []
        costs = [0.0 if abs(y - source.y) <= _LANE / 2 else math.inf for y in self.lanes]
        for box in between:
            for at in (box.left - 2, box.right + 2):
                costs, came = self._advance(costs, x, at, self._tolls(box, at, edge), box if at > box.x else None)
                steps.append((at, came))
                x = at
        last = min(
            range(len(self.lanes)),
            key=lambda k: costs[k] + _climb(self.lanes[k] - target.y, target.x - target.half - x),
        )
        points = _relax(source, self._trace(steps, last), target, between)
        for at, y in points:
            self.used.setdefault(at, {})[edge] = y
        return points

    def _tolls(self, box: Box, at: float, edge: Edge) -> list[float]:
        """What each lane costs at one place: closed by a block, dear near other curves."""
        tolls = []
        for lane in self.lanes:
            if box.top - _CLEAR < lane < box.bottom + _CLEAR:
                tolls.append(math.inf)
                continue
            toll = 0.0
            for other, y in self.used.get(at, {}).items():
                nearness = max(0.0, 1 - abs(lane - y) / _NEAR)
                toll += nearness * (6 if other.source == edge.source else 24)
            tolls.append(toll)
        return tolls

    def _advance(
        self, costs: list[float], x: float, at: float, tolls: list[float], beside: Box | None
    ) -> tuple[list[float], list[int]]:
        """One step of the search from `x` to `at`; a way that runs `beside` a block stays on its side of it."""
        before, after = self.used.get(x, {}), self.used.get(at, {})
        both = before.keys() & after.keys()
        rank_before, rank_after = (sorted(used[edge] for edge in both) for used in (before, after))
        ranks = [bisect_left(rank_before, lane) for lane in self.lanes]
        reached, came = [], []
        for lane, toll in zip(self.lanes, tolls, strict=True):
            best, best_from, rank = math.inf, 0, bisect_left(rank_after, lane)
            if toll < math.inf:
                for k, (other, cost) in enumerate(zip(self.lanes, costs, strict=True)):
                    if beside is not None and (lane < beside.y) != (other < beside.y):
                        continue
                    # A change of rank among the curves that run along is a crossing.
                    total = cost + _climb(lane - other, at - x) + 12 * abs(rank - ranks[k])
                    if total < best:
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
    """The cost of a rise: its length beyond the level way, and more the steeper it is."""
    return math.hypot(dy, dx) - dx + 0.02 * dy * dy / dx


def _relax(source: Box, points: list[Point], target: Box, between: Sequence[Box]) -> list[Point]:
    """Straighten a way a little: each point moves towards the line of its neighbours, but not into a block."""
    ways = [(source.x + source.half, source.y), *points, (target.x - target.half, target.y)]
    for _ in range(30):
        for k in range(1, len(ways) - 1):
            (ax, ay), (x, y), (bx, by) = ways[k - 1 : k + 2]
            box, home = between[(k - 1) // 2], points[k - 1][1]
            wanted = ay + (by - ay) * (x - ax) / (bx - ax)
            wanted = min(max(wanted, home - 3 * _LANE), home + 3 * _LANE)
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
        gap = min(2 * room / max(len(touching) - 1, 1), 10.0)
        touching.sort(key=lambda edge: _bearing(layout, edge, ways[edge], side))
        for place, edge in enumerate(touching):
            ports[edge] = box.port(side, gap * (place - (len(touching) - 1) / 2))
    return ports


def _bearing(layout: Layout, edge: Edge, way: list[Point], side: int) -> float:
    """The slope in which a curve leaves or reaches a block, seen from the block."""
    here, there = (edge.source, edge.target) if side > 0 else (edge.target, edge.source)
    box, far = layout.boxes[here], layout.boxes[there]
    x, y = (way[0] if side > 0 else way[-1]) if way else (far.x - side * far.half, far.y)
    return (y - box.y) / abs(x - box.x)


def _fit(edge: Edge, way: list[Point], between: Sequence[Box]) -> Curve:
    """A smooth curve near the way, through as few of its points as keep it clear of blocks."""
    kept = {0, len(way) - 1}
    while True:
        points = tuple(way[k] for k in sorted(kept))
        curve = Curve(edge, points, _slopes(points))
        strays = {k: abs(curve.at(x) - y) for k, (x, y) in enumerate(way) if k not in kept}
        for k, box in enumerate(between):
            # The way's points 2k + 1 and 2k + 2 are the ends of its passage beside this block.
            above = way[2 * k + 1][1] < box.y
            for place in (2 * k + 1, 2 * k + 2):
                y = curve.at(way[place][0])
                clear = box.top - y if above else y - box.bottom
                if place in strays and clear < _CLEAR - 2:
                    strays[place] += 100
        worst = max(strays, key=lambda k: strays[k], default=0)
        if not strays or strays[worst] <= _STRAY:
            return curve
        kept.add(worst)


def _slopes(points: Sequence[Point]) -> tuple[float, ...]:
    """Slopes with which cubic pieces never rise beyond their points (Fritsch and Carlson's monotone cubic)."""
    widths = [b[0] - a[0] for a, b in pairwise(points)]
    rises = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    inner = []
    for k in range(1, len(rises)):
        (w0, w1), (r0, r1) = widths[k - 1 : k + 1], rises[k - 1 : k + 1]
        inner.append(0.0 if r0 * r1 <= 0 else 3 * (w0 + w1) / ((2 * w1 + w0) / r0 + (w1 + 2 * w0) / r1))
    first, last = (_end(rise, most) for rise, most in zip((rises[0], rises[-1]), _STEEPEST, strict=True))
    return (first, *inner, last)


def _end(rise: float, most: float) -> float:
    # Nearly level curves start and end level: a slant of a few degrees looks like a mistake.
    return 0.0 if abs(rise) < 0.15 else min(max(0.8 * rise, -most), most)
