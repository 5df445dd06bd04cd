"""The figures of a report that compare: reward against cost, one rung against the next; and the entropy."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from spinet.draw.text import clean
from spinet.nas.trial import Candidate
from spinet.report.digest import Digest
from spinet.report.figures import MOST_POINTS, Figure, Trace, axes, line, points, rounded, thinned
from spinet.report.statistics import hypervolume, pareto_front

_CostOf = Callable[[Candidate], float | None]


def fronts(digest: Digest) -> list[Figure]:
    """Reward against MACs, parameters and latency, where two or more graphs have them."""
    if digest.main_rung is None:
        return []
    size = digest.search.basis.image_size
    measures: list[tuple[str, str, _CostOf]] = [
        ("macs", f"multiply-adds at {size} px, G", lambda candidate: digest.costs[candidate.graph].multiply_adds / 1e9),
        ("parameters", "parameters, M", lambda candidate: digest.costs[candidate.graph].parameters / 1e6),
        ("latency", "latency, ms", digest.latency),
    ]
    figures = (_front(digest, digest.main_rung, *measure) for measure in measures)
    return [figure for figure in figures if figure]


def rung_pairs(digest: Digest) -> list[tuple[int, int]]:
    """Pairs of neighbouring rungs that share at least three graphs."""
    rungs = list(digest.by_rung)
    return [(low, high) for low, high in pairwise(rungs) if len(digest.pairs(low, high)[0]) >= 3]


def rung_figure(digest: Digest, low: int, high: int) -> Figure:
    """Rewards of the same graphs at two rungs."""
    cheap, costly = digest.rewards(low), digest.rewards(high)
    graphs = thinned([candidate for candidate in digest.by_rung[high] if candidate.graph in cheap])
    trace = points(digest, graphs, [cheap[candidate.graph] for candidate in graphs], "networks", high)
    trace["y"] = rounded(costly[candidate.graph] for candidate in graphs)
    name = clean(digest.reward_name)
    return Figure(
        f"rungs-{low}-{high}",
        f"{digest.epochs(low)} against {digest.epochs(high)}",
        [trace | {"showlegend": False}],
        axes(f"{name}, {digest.epochs(low)}", f"{name}, {digest.epochs(high)}"),
        "Each point is one network trained twice, briefly and for longer: the closer the points are to a rising line, "
        "the better the short training predicts the longer one.",
        "The strategy chose which networks to train longer, mostly good ones: these agree less than all networks "
        "would, and even full agreement says nothing about a full training.",
    )


def entropy(digest: Digest) -> Figure | None:
    """Entropy of the policy at each trial, if the strategy records it."""
    noted = [(record.number, record.notes.get("entropy")) for record in digest.search.records]
    known = [(number, float(value)) for number, value in noted if isinstance(value, int | float)]
    if len(known) < 2:
        return None
    known = known[:: math.ceil(len(known) / MOST_POINTS)]
    x, y = [number for number, _ in known], rounded((value for _, value in known), 3)
    uniform = rounded([math.log(digest.search.space.size())] * 2, 3)
    layout = axes("trial", "entropy, nats")
    layout["yaxis"]["rangemode"] = "tozero"
    look, hover = {"color": "$faint", "width": 1.5, "dash": "dot"}, "uniform: %{y:.1f} nats"
    return Figure(
        "entropy",
        "Policy entropy",
        [
            line(x, y, {"color": "$purple", "width": 2}, "trial %{x}: %{y:.1f} nats", name="entropy"),
            line([x[0], x[-1]], uniform, look, hover, name="uniform over the space"),
        ],
        layout,
        "The policy begins by drawing all networks with equal probability (dotted line); the curve falls as it "
        "converges, and at zero it would propose a single network.",
        "A falling curve shows that the policy converges, not that it converges to something good: compare with the "
        "band of random search above.",
    )


def _front(digest: Digest, rung: int, name: str, title: str, measure: _CostOf) -> Figure | None:
    how = "measured by the search" if name == "latency" else "counted at full scale with the detector's head"
    known = [(graph, cost) for graph in digest.by_rung[rung] if (cost := measure(graph)) is not None]
    if len(known) < 2:
        return None
    graphs, costs = [graph for graph, _ in known], [cost for _, cost in known]
    rewards = [graph.reward for graph in graphs]
    cost_of = {candidate.graph: cost for candidate, cost in known}
    shown = thinned(graphs)
    front = pareto_front(costs, rewards)
    best = points(digest, [graphs[index] for index in front], [costs[index] for index in front], "front", 0)
    best["marker"] = {"color": "$red", "size": 8, "symbol": "circle", "line": {"color": "$paper", "width": 1}}
    best |= {"mode": "lines+markers", "line": {"color": "$red", "width": 2, "shape": "hv"}}
    traces = [points(digest, shown, [cost_of[candidate.graph] for candidate in shown], digest.epochs(rung), rung), best]
    traces += _reference(digest, rung, measure)
    return Figure(
        f"front-{name}",
        f"Reward against {title.split(',')[0]}",
        traces,
        axes(title, clean(digest.reward_name)),
        f"Each point is one network ({digest.epochs(rung)}), its {title.split(',')[0]} {how}; the line joins the "
        f"Pareto-optimal ones. {_volume(costs, rewards)}",
        "The front runs through the luckiest measurements: which of its networks is better is often within the noise, "
        "and hypervolumes compare only within one figure.",
    )


def _volume(costs: Sequence[float], rewards: Sequence[float]) -> str:
    corner = (max(costs), min(rewards))
    volume = hypervolume(costs, rewards, corner)
    box = (max(costs) - min(costs)) * (max(rewards) - min(rewards))
    if not box:
        return ""
    return (
        f"Its hypervolume is {volume:.3g}, {volume / box:.0%} of the box around all points (corner: "
        f"{corner[0]:.4g}, {corner[1]:.3g})."
    )


def _reference(digest: Digest, rung: int, measure: _CostOf) -> list[Trace]:
    published = [candidate for candidate in digest.by_rung[rung] if candidate.graph == digest.reference_graph]
    cost = measure(published[0]) if published else None
    if cost is None:
        return []
    trace = points(digest, published, [cost], clean(digest.reference.name), rung)
    return [{**trace, "marker": {"color": "$ink", "symbol": "star", "size": 13}}]
