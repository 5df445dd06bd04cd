"""The figures of a report about progress: reward against trials, and the funnel of trials.

A figure is plain data for plotly.js. Colours are names of the palette that begin with `$`; the page has two themes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spinet.draw.text import clean
from spinet.nas.trial import Candidate, Record
from spinet.report.digest import Digest
from spinet.report.statistics import best_so_far

Trace = dict[str, Any]

# Most points of a figure: beyond that, the best are drawn and some of the others.
MOST_POINTS = 3000
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
COLOURS = ("$blue", "$orange", "$green", "$purple")


@dataclass(frozen=True)
class Figure:
    """A figure and the two sentences below it.

    Args:
        name: of the element on the page.
        title: heading.
        traces: plotly's `data`.
        layout: what differs from the page's layout.
        read: how to read it.
        beware: what not to conclude.
    """

    name: str
    title: str
    traces: list[Trace]
    layout: dict[str, Any]
    read: str
    beware: str


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
    ordered = sorted(graphs, key=lambda each: -each.reward)
    best, rest = ordered[: most // 2], ordered[most // 2 :]
    step = len(rest) / (most - len(best))
    return best + [rest[int(step * place)] for place in range(most - len(best))]


def points(digest: Digest, graphs: Sequence[Candidate], x: Sequence[float], name: str, rung: int) -> Trace:
    """Return the points of graphs at a rung; hovering shows trial, reward and costs."""
    colour, symbol = style(rung)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": rounded(x),
        "y": rounded(each.reward for each in graphs),
        "customdata": [digest.point(each) for each in graphs],
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
        traces.append(points(digest, shown, [each.first.number for each in shown], digest.epochs(rung), rung))
        traces.append(_best_line(digest, rung))
    traces += _failed(digest)
    last = len(digest.search.records) - 1
    thin = any(len(graphs) > MOST_POINTS for graphs in digest.by_rung.values())
    return Figure(
        "progress",
        "Reward against trials",
        traces,
        {
            "xaxis": {
                "title": {"text": "trial"},
                "range": [-0.01 * last - 0.5, 1.01 * last + 0.5],
                **({"dtick": 1} if last < 10 else {}),
            },
            "yaxis": {"title": {"text": clean(digest.reward_name)}},
        },
        "Each point is one network after its short training, the line is the best so far, and "
        + _about_band(digest)
        + (f" Of each training length {MOST_POINTS:,} points are drawn, the best among them." if thin else ""),
        "A reward ranks networks after a short training on few images: it is not the accuracy they reach when "
        "trained fully, the best point is partly luck, and lines of different training lengths do not compare.",
    )


def funnel(digest: Digest) -> Figure:
    """How many proposals reached each stage."""
    asked = [each for each in digest.search.records if each.rung == 0]
    rows = [("drawn", digest.search.draws)] if digest.search.draws > len(asked) else []
    rows += [("proposed", len(asked)), ("trained", _trained(asked))]
    rows += [(f"measured, {digest.epochs(rung)}", len(graphs)) for rung, graphs in digest.by_rung.items()]
    labels, counts = [name for name, _ in rows], [count for _, count in rows]
    shares = [f"{count:,}" + _percent(count, before) for count, before in zip(counts, [0, *counts], strict=False)]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": counts,
        "y": labels,
        "text": shares,
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
        "A narrow end is no sign of quality: how many are promoted is a setting of the strategy, not a finding.",
    )


def _trained(asked: Sequence[Record]) -> int:
    return sum(each.duplicate_of is None and each.status is not None for each in asked)


def _percent(count: int, before: int) -> str:
    return f" ({count / before:.0%})" if before else ""


def _best_line(digest: Digest, rung: int) -> Trace:
    told = [each for each in digest.search.records if each.rung == rung and each.status]
    curve = best_so_far([each.reward if each.done else None for each in told])
    steps = [
        (each.number, best)
        for place, (each, best) in enumerate(zip(told, curve, strict=True))
        if place in (0, len(told) - 1) or best != curve[place - 1]
    ]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"best, {digest.epochs(rung)}",
        "x": [number for number, _ in steps],
        "y": rounded(best for _, best in steps),
        "line": {"color": style(rung)[0], "shape": "hv", "width": 2.5},
        "hovertemplate": "best up to trial %{x}: %{y:.4f}<extra></extra>",
    }


def _band(digest: Digest) -> list[Trace]:
    band = digest.band
    if band is None:
        return []
    trial = [each.number for each in digest.search.records if each.rung == 0]
    x = [trial[draws - 1] for draws in band.at]
    edge: Trace = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip"}
    middle: Trace = {"type": "scatter", "mode": "lines", "name": "its median", "showlegend": False}
    return [
        edge | {"y": _gapless(band.low), "showlegend": False},
        edge | {"y": rounded(band.high), "fill": "tonexty", "fillcolor": "$band", "name": "random search"},
        middle
        | {
            "x": x,
            "y": rounded(band.middle),
            "line": {"color": "$faint", "width": 1.5, "shape": "hv"},
            "hovertemplate": "median of random search: %{y:.4f}<extra></extra>",
        },
        *_extrapolated(trial, band.normal_at, band.normal),
    ]


def _extrapolated(trial: Sequence[int], at: Sequence[int], normal: Sequence[float]) -> list[Trace]:
    if not at:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "extrapolation",
            "showlegend": False,
            "x": [trial[draws - 1] for draws in at],
            "y": rounded(normal),
            "line": {"color": "$faint", "width": 1.5, "dash": "dot"},
            "hovertemplate": "random search, extrapolated: %{y:.4f}<extra></extra>",
        }
    ]


def _gapless(values: Sequence[float]) -> list[float | None]:
    """Return the lower edge of the band, which begins at its first finite value."""
    first = next((value for value in values if math.isfinite(value)), 0.0)
    return rounded(value if math.isfinite(value) else first for value in values)


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
        f"median), computed from the {band.draws} uniformly drawn trials; a best line inside it has found nothing "
        "that luck would not."
    )
    if band.normal:
        text += " Beyond the band, the dotted line extrapolates as if rewards were normally distributed."
    return text


def _failed(digest: Digest) -> list[Trace]:
    failed = [each for each in digest.trained if each.status != "done"]
    if not failed:
        return []
    rewards = [each.reward for graphs in digest.by_rung.values() for each in graphs]
    floor = min(rewards) - 0.06 * (max(rewards) - min(rewards) or 1.0)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "failed",
            "x": [each.number for each in failed],
            "y": rounded([floor] * len(failed)),
            "customdata": [[clean(str(each.status))] for each in failed],
            "marker": {"color": "$red", "symbol": "x-thin", "size": 7, "line": {"color": "$red", "width": 1.5}},
            "hovertemplate": "trial %{x} failed: %{customdata[0]}<extra></extra>",
        }
    ]
