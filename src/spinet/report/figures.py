"""The figures of a report about progress: reward against trials, and the funnel of trials.

A figure is plain data for plotly.js. Colours are names of the palette that begin with `$`; the page has two themes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from spinet.draw.text import clean
from spinet.nas.trial import Candidate
from spinet.report.digest import Digest
from spinet.report.statistics import best_so_far

Trace = dict[str, Any]

# Most points of a figure: beyond that, the best are drawn and some of the others.
MOST_POINTS = 3000
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
COLOURS = ("$blue", "$orange", "$green", "$purple")


@dataclass(frozen=True)
class Figure:
    """A figure and the two sentences below it."""

    name: str  # of the element on the page
    title: str
    traces: list[Trace]  # plotly's `data`
    layout: dict[str, Any]  # what differs from the page's layout
    read: str  # how to read it
    beware: str  # what not to conclude


def style(rung: int) -> tuple[str, str]:
    """Colour and symbol of a rung."""
    return COLOURS[rung % len(COLOURS)], SYMBOLS[rung % len(SYMBOLS)]


def rounded(values: Iterable[float | None], digits: int = 5) -> list[float | None]:
    """Return numbers as short as a figure needs them; None where they are not finite."""
    return [round(value, digits) if value is not None and math.isfinite(value) else None for value in values]


def thinned(graphs: Sequence[Candidate], most: int = MOST_POINTS) -> list[Candidate]:
    """Return at most `most` graphs: the best for one half, evenly spaced others for the rest."""
    if len(graphs) <= most:
        return list(graphs)
    ordered = sorted(graphs, key=lambda graph: -graph.reward)
    best, rest = ordered[: most // 2], ordered[most // 2 :]
    step = len(rest) / (most - len(best))
    return best + [rest[int(step * index)] for index in range(most - len(best))]


def line(x: Sequence[float], y: Sequence[float | None], look: dict[str, Any], hover: str = "", **other: Any) -> Trace:
    """Return a line with plotly's settings `look` of it and `other` of the trace; without `hover`, it shows nothing."""
    hovering = {"hovertemplate": f"{hover}<extra></extra>"} if hover else {"hoverinfo": "skip"}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "line": look, **hovering, **other}


def axes(x: str, y: str) -> dict[str, Any]:
    """Return a layout with titles of the axes."""
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}


def points(digest: Digest, graphs: Sequence[Candidate], x: Sequence[float], name: str, rung: int) -> Trace:
    """Return the points of graphs at a rung; hovering shows trial, reward and costs."""
    colour, symbol = style(rung)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": rounded(x),
        "y": rounded(graph.reward for graph in graphs),
        "customdata": [digest.point(graph) for graph in graphs],
        "marker": {"color": colour, "symbol": symbol, "size": 6 + 2 * bool(rung), "opacity": 0.65},
        "hovertemplate": (
            "trial %{customdata[0]}<br>reward %{y:.4f}<br>%{customdata[1]:.1f} GMACs, "
            "%{customdata[2]:.1f} M parameters<extra></extra>"
        ),
    }


def progress(digest: Digest) -> Figure:
    """Reward against trials, with the best so far and the band of random search."""
    traces = _band(digest)
    for rung, graphs in digest.by_rung.items():
        shown = thinned(graphs)
        traces.append(points(digest, shown, [graph.first.number for graph in shown], digest.epochs(rung), rung))
        traces.append(_best_line(digest, rung))
        traces += _published_line(digest, rung)
    traces += _failed(digest)
    last = len(digest.search.records) - 1
    layout = axes("trial", clean(digest.reward_name))
    layout["xaxis"] |= {"range": [-0.01 * last - 0.5, 1.01 * last + 0.5], **({"dtick": 1} if last < 10 else {})}
    thin = any(len(graphs) > MOST_POINTS for graphs in digest.by_rung.values())
    return Figure(
        "progress",
        "Reward against trials",
        traces,
        layout,
        "Each point is one network after its short training, the line is the best so far, and "
        + _about_band(digest)
        + (f" Of each training length {MOST_POINTS:,} points are drawn, the best among them." if thin else ""),
        "A reward ranks networks after a short training on few images: it is not the accuracy they reach when "
        "trained fully, the best point is partly luck, and lines of different training lengths do not compare.",
    )


def funnel(digest: Digest) -> Figure:
    """How many proposals reached each stage."""
    records, finished = ([r for r in all_ if not r.is_reference] for all_ in (digest.search.records, digest.trained))
    proposed, trained = (sum(record.rung == 0 for record in part) for part in (records, finished))
    rows = [("drawn", digest.search.draws)] if digest.search.draws > proposed else []
    rows += [("proposed", proposed), ("trained", trained)]
    for rung, graphs in digest.by_rung.items():
        measured = sum(any(not trial.is_reference for trial in graph.trials) for graph in graphs)
        rows.append((f"measured, {digest.epochs(rung)}", measured))
    counts = [count for _, count in rows]
    fractions = [
        f" ({count / before:.0%})" if before else "" for count, before in zip(counts, [0, *counts], strict=False)
    ]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": counts,
        "y": [name for name, _ in rows],
        "text": [f"{count:,}{fraction}" for count, fraction in zip(counts, fractions, strict=True)],
        "textposition": "auto",
        "constraintext": "none",
        "marker": {"color": "$blue"},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
        "showlegend": False,
    }
    return Figure(
        "funnel",
        "Trial funnel",
        [bars],
        {"yaxis": {"autorange": "reversed"}, "xaxis": {"title": {"text": "networks"}}, "height": 110 + 46 * len(rows)},
        "Proposals are drawn until one satisfies the constraints (proposed), duplicates are not trained again, and the "
        "best of each training length are promoted to the next; percentages are of the bar above.",
        "A narrow end is not a sign of quality: how many are promoted is a setting of the strategy, not a finding.",
    )


def _best_line(digest: Digest, rung: int) -> Trace:
    finished = [record for record in digest.search.records if record.rung == rung and record.status]
    # As the points: a network counts with its mean over all its trainings, from the first of them on.
    rewards = {candidate.first.number: candidate.reward for candidate in digest.by_rung[rung]}
    curve = best_so_far([rewards.get(record.number) for record in finished])
    last = len(curve) - 1
    steps = [index for index, best in enumerate(curve) if index in (0, last) or best != curve[index - 1]]
    x, y = [finished[index].number for index in steps], rounded(curve[index] for index in steps)
    look = {"color": style(rung)[0], "shape": "hv", "width": 2.5}
    return line(x, y, look, "best up to trial %{x}: %{y:.4f}", name=f"best, {digest.epochs(rung)}")


def _published_line(digest: Digest, rung: int) -> list[Trace]:
    rewards = digest.search.references(rung)
    if not rewards:
        return []
    look = {"color": style(rung)[0], "width": 1.2, "dash": "dash"}
    height = rounded([fmean(rewards)] * 2)
    text = f"the published network, mean of {len(rewards)}: %{{y:.4f}}"
    return [line([0, len(digest.search.records) - 1], height, look, text, name=f"published, {digest.epochs(rung)}")]


def _band(digest: Digest) -> list[Trace]:
    band = digest.band
    if band is None:
        return []
    trial = [record.number for record in digest.search.records if record.rung == 0]
    x, beyond = [trial[draws - 1] for draws in band.at], [trial[draws - 1] for draws in band.normal_at]
    # A lower edge without gaps: it begins at its first finite value.
    first = next((low for low in band.low if math.isfinite(low)), 0.0)
    low = rounded(low if math.isfinite(low) else first for low in band.low)
    edge, solid = {"width": 0, "shape": "hv"}, {"color": "$faint", "width": 1.5, "shape": "hv"}
    dotted = {"color": "$faint", "width": 1.5, "dash": "dot"}
    median, further = "median of random search: %{y:.4f}", "random search, extrapolated: %{y:.4f}"
    traces = [
        line(x, low, edge, showlegend=False),
        line(x, rounded(band.high), edge, fill="tonexty", fillcolor="$band", name="random search"),
        line(x, rounded(band.middle), solid, median, name="its median", showlegend=False),
        line(beyond, rounded(band.normal), dotted, further, name="extrapolation", showlegend=False),
    ]
    return traces if beyond else traces[:3]


def _about_band(digest: Digest) -> str:
    band = digest.band
    if band is None:
        measured = sum(math.isfinite(reward) for reward in digest.uniform_rewards)
        return (
            f"there is no band of random search: only {measured} uniformly drawn trials were measured, too few to tell "
            "luck from learning."
        )
    text = (
        "the grey band is where the best of as many random networks lies in 90 % of random searches (thin line: the "
        f"median), computed from the {band.draws} uniformly drawn trials; a best line inside it is no better than "
        "chance."
    )
    if band.normal:
        text += " Beyond the band, the dotted line extrapolates as if rewards were normally distributed."
    return text


def _failed(digest: Digest) -> list[Trace]:
    failed = [record for record in digest.trained if record.status != "done"]
    if not failed:
        return []
    rewards = [graph.reward for graphs in digest.by_rung.values() for graph in graphs]
    floor = min(rewards) - 0.06 * (max(rewards) - min(rewards) or 1.0)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "failed",
            "x": [record.number for record in failed],
            "y": rounded([floor] * len(failed)),
            "customdata": [[clean(str(record.status))] for record in failed],
            "marker": {"color": "$red", "symbol": "x-thin", "size": 7, "line": {"color": "$red", "width": 1.5}},
            "hovertemplate": "trial %{x} failed: %{customdata[0]}<extra></extra>",
        }
    ]
