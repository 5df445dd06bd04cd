"""Routing of curves from block to block around the blocks between them.

Every block has a column of its own, so that in each column between its ends a curve only has to pass one block, above
or below. Routing takes three steps:

1. A route is the cheapest path over a grid of horizontal lanes, found column by column by dynamic programming
   (`_Router`). Edges are routed one after the other, the short ones first, because these have the fewest ways around.
   Lanes near earlier curves and crossings of earlier curves cost extra.
2. `_relax` pulls the stairs of the lanes straight, and `_ports` distributes the ends of the curves along the sides of
   their blocks.
3. `_fit` draws a monotone cubic through as few points of the route as possible.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spinet.arch.genotype import Genotype
from spinet.draw.layout import Box, Layout, Point, pair

_Numbers = NDArray[np.floating]

_HEAD = 7.0  # length of an arrowhead
_LANE = 6.0  # height of a lane
_CLEAR = 6.0  # least distance from blocks
_NEAR = 10.0  # distance below which other curves cost extra
_STRAY = 9.0  # most that a curve may leave its route
_STEEPEST = (1.6, 1.0)  # largest slopes with which a curve leaves and reaches a block


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection: `role` is "parent", "stem" (the chain of stem blocks) or "merge" (a dangling block)."""

    source: int
    target: int
    role: str = "parent"


@dataclass(frozen=True, slots=True)
class Curve:
    """A connection with the points of its curve and the slope at each."""

    edge: Edge
    points: tuple[Point, ...]
    slopes: tuple[float, ...]

    def at(self, x: float) -> float:
        """Return the height of the curve at `x`."""
        k = min(max(bisect_left([px for px, _ in self.points], x), 1), len(self.points) - 1)
        (ax, ay), (bx, by) = self.points[k - 1], self.points[k]
        w, t = bx - ax, (x - ax) / (bx - ax)
        rise = t * t * (3 - 2 * t)
        return ay + (by - ay) * rise + w * t * (1 - t) * ((1 - t) * self.slopes[k - 1] - t * self.slopes[k])

    @property
    def path(self) -> str:
        """SVG path from block to block."""
        path = f"M{pair(self.points[0])}"
        for ((ax, ay), out), ((bx, by), into) in pairwise(zip(self.points, self.slopes, strict=True)):
            third = (bx - ax) / 3
            path += f"C{pair((ax + third, ay + out * third))} {pair((bx - third, by - into * third))} {pair((bx, by))}"
        return path

    @property
    def head(self) -> str:
        """SVG path of the arrowhead, in the direction of the end of the curve."""
        (x, y), angle = self.points[-1], math.atan(self.slopes[-1])
        corners = [(0.0, 0.0), (-_HEAD, -0.46 * _HEAD), (-_HEAD, 0.46 * _HEAD)]
        cos, sin = math.cos(angle), math.sin(angle)
        return "M" + "L".join(pair((x + cos * px - sin * py, y + sin * px + cos * py)) for px, py in corners) + "Z"


def edges_of(genotype: Genotype) -> list[Edge]:
    """Return all connections of a genotype: the stem's chain, the parents and the merges."""
    edges = [Edge(index - 1, index, "stem") for index in range(1, len(genotype.stem))]
    for index, block in enumerate(genotype.all_blocks):
        edges += [Edge(parent, index) for parent in block.parents]
        edges += [Edge(merged, index, "merge") for merged in genotype.merges.get(index, ())]
    return edges


def route(layout: Layout, edges: Sequence[Edge]) -> list[Curve]:
    """Return a curve for each edge, in the order of `edges`; short ones are routed first."""
    router = _Router(layout)
    order = sorted(edges, key=lambda edge: (edge.target - edge.source, edge.source))
    routes = {edge: router.route(edge) for edge in order}
    starts = _ports(layout, edges, routes, side=1)
    ends = _ports(layout, edges, routes, side=-1)
    return [
        _fit(edge, [starts[edge], *routes[edge], ends[edge]], layout.boxes[edge.source + 1 : edge.target])
        for edge in edges
    ]


class _Router:
    """Finds routes one after the other; each avoids the ones before it."""

    def __init__(self, layout: Layout) -> None:
        self.boxes = layout.boxes
        count = int((layout.bottom - layout.top) / _LANE)
        self.lanes = layout.top + _LANE * (np.arange(count) + 0.5)
        self.used: dict[float, dict[Edge, float]] = {}  # x -> curves there -> height

    def route(self, edge: Edge) -> list[Point]:
        """Return the points between two blocks: one at each side of every column between them."""
        source, target = self.boxes[edge.source], self.boxes[edge.target]
        between = self.boxes[edge.source + 1 : edge.target]
        if not between:
            return []
        x, steps = source.x + source.half, []
        costs = np.where(abs(self.lanes - source.y) <= _LANE / 2, 0.0, math.inf)
        for box in between:
            for next_x in (box.left - 2, box.right + 2):
                beside = box if next_x > box.x else None
                costs, previous = self._advance(costs, x, next_x, beside)
                costs += self._tolls(box, next_x, edge)
                steps.append((next_x, previous))
                x = next_x
        last = int(np.argmin(costs + _climb(self.lanes - target.y, target.x - target.half - x)))
        points = _relax(source, self._trace(steps, last), target, between)
        for x, y in points:
            self.used.setdefault(x, {})[edge] = y
        return points

    def _tolls(self, box: Box, x: float, edge: Edge) -> _Numbers:
        """Return the cost of each lane at `x`: blocked by a block, expensive near other curves."""
        blocked = (box.top - _CLEAR < self.lanes) & (self.lanes < box.bottom + _CLEAR)
        tolls = np.where(blocked, math.inf, 0.0)
        for other, y in self.used.get(x, {}).items():
            # Curves from the same block may run close to each other: they look like one that forks.
            toll = 6 if other.source == edge.source else 24
            tolls += toll * np.maximum(0.0, 1 - abs(self.lanes - y) / _NEAR)
        return tolls

    def _advance(self, costs: _Numbers, x: float, next_x: float, beside: Box | None) -> tuple[_Numbers, list[int]]:
        """Return the least cost of reaching each lane at `next_x`, and the lane at `x` that it comes from.

        Between the sides of a block (`beside`) a route must not cross it.
        """
        here, there = self.used.get(x, {}), self.used.get(next_x, {})
        parallel = here.keys() & there.keys()
        before, after = (np.searchsorted(sorted(used[edge] for edge in parallel), self.lanes) for used in (here, there))
        # Having more or fewer of the parallel curves above than before means crossing as many.
        crossings = abs(after[:, None] - before)
        reached = costs + _climb(self.lanes[:, None] - self.lanes, next_x - x) + 12 * crossings
        if beside is not None:
            above = self.lanes < beside.y
            reached[above[:, None] != above] = math.inf
        return reached.min(axis=1), reached.argmin(axis=1).tolist()

    def _trace(self, steps: list[tuple[float, list[int]]], last: int) -> list[Point]:
        points = []
        for x, previous in reversed(steps):
            points.append((x, float(self.lanes[last])))
            last = previous[last]
        return points[::-1]


def _climb(dy: _Numbers, dx: float) -> _Numbers:
    """Return the costs of rises: their extra lengths, and a penalty on their steepness."""
    return np.hypot(dy, dx) - dx + 0.02 * dy * dy / dx


def _relax(source: Box, points: list[Point], target: Box, between: Sequence[Box]) -> list[Point]:
    """Straighten a route: each point moves towards the line between its neighbours, but not into a block."""
    route = [(source.x + source.half, source.y), *points, (target.x - target.half, target.y)]
    for _ in range(30):
        for k in range(1, len(route) - 1):
            (ax, ay), (x, y), (bx, by) = route[k - 1 : k + 2]
            box, home = between[(k - 1) // 2], points[k - 1][1]
            # At most three lanes from where the router put it, or curves kept apart would meet again.
            wanted = ay + (by - ay) * (x - ax) / (bx - ax)
            wanted = min(max(wanted, home - 3 * _LANE), home + 3 * _LANE)
            wanted = min(wanted, box.top - _CLEAR) if home < box.y else max(wanted, box.bottom + _CLEAR)
            route[k] = (x, y + 0.7 * (wanted - y))
    return route[1:-1]


def _ports(layout: Layout, edges: Sequence[Edge], routes: dict[Edge, list[Point]], side: int) -> dict[Edge, Point]:
    """Distribute the curves of each block along its left (-1) or right (1) side, so that they do not cross there."""
    ends: dict[int, list[Edge]] = {}
    for edge in edges:
        ends.setdefault(edge.source if side > 0 else edge.target, []).append(edge)
    ports = {}
    for block, touching in ends.items():
        box = layout.boxes[block]
        room = 0.55 * box.half if side < 0 else 0.4 * box.half
        gap = min(2 * room / max(len(touching) - 1, 1), 10.0)
        touching.sort(key=lambda edge: _bearing(layout, edge, routes[edge], side))
        for index, edge in enumerate(touching):
            ports[edge] = box.port(side, gap * (index - (len(touching) - 1) / 2))
    return ports


def _bearing(layout: Layout, edge: Edge, route: list[Point], side: int) -> float:
    """Return the slope from a block to the nearest point of a route."""
    here, there = (edge.source, edge.target) if side > 0 else (edge.target, edge.source)
    box, far = layout.boxes[here], layout.boxes[there]
    x, y = (route[0] if side > 0 else route[-1]) if route else (far.x - side * far.half, far.y)
    return (y - box.y) / abs(x - box.x)


def _fit(edge: Edge, route: list[Point], between: Sequence[Box]) -> Curve:
    """Return a smooth curve near the route, through as few of its points as keep it clear of blocks."""
    # As in the Douglas-Peucker algorithm: start with the ends and add the worst point until the curve fits.
    kept = {0, len(route) - 1}
    while True:
        points = tuple(route[k] for k in sorted(kept))
        curve = Curve(edge, points, _slopes(points))
        strays = {k: abs(curve.at(x) - y) for k, (x, y) in enumerate(route) if k not in kept}
        for k, box in enumerate(between):
            # Points 2k + 1 and 2k + 2 of the route are at the two sides of this block.
            above = route[2 * k + 1][1] < box.y
            for point in (2 * k + 1, 2 * k + 2):
                y = curve.at(route[point][0])
                clear = box.top - y if above else y - box.bottom
                if point in strays and clear < _CLEAR - 2:
                    strays[point] += 100
        worst = max(strays, key=lambda k: strays[k], default=0)
        if not strays or strays[worst] <= _STRAY:
            return curve
        kept.add(worst)


def _slopes(points: Sequence[Point]) -> tuple[float, ...]:
    """Return slopes with which cubic pieces never overshoot their points (monotone cubic of Fritsch and Carlson)."""
    widths = [b[0] - a[0] for a, b in pairwise(points)]
    rises = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    inner = []
    for k in range(1, len(rises)):
        (w0, w1), (r0, r1) = widths[k - 1 : k + 1], rises[k - 1 : k + 1]
        inner.append(0.0 if r0 * r1 <= 0 else 3 * (w0 + w1) / ((2 * w1 + w0) / r0 + (w1 + 2 * w0) / r1))
    first, last = (_end(rise, most) for rise, most in zip((rises[0], rises[-1]), _STEEPEST, strict=True))
    return (first, *inner, last)


def _end(rise: float, most: float) -> float:
    # Nearly horizontal curves start and end horizontal: a slant of a few degrees looks like a mistake.
    return 0.0 if abs(rise) < 0.15 else min(max(0.8 * rise, -most), most)
