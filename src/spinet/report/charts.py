"""Charts as SVG that follow the page's light or dark palette: lines, bars, histograms, matrices.

A chart is 420 units wide, so that its letters are legible on a phone and two charts stand side by side on a screen.
Colours are names of the palette. Legends are HTML below the chart, where they wrap.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from spinet.draw.text import clean, length, shorten

WIDTH, HEIGHT = 420.0, 266.0
# Space for the titles of the axes.
ABOVE, BELOW = 26.0, 42.0
SIZE = 13.5
COLOURS = ("blue", "orange", "green", "purple", "red")
# Most points of a line.
MOST = 300


@dataclass(frozen=True)
class Series:
    """A line or a row of points.

    Attributes:
        name: for the legend and when hovering; empty for neither.
        x: of each point.
        y: of each point; those that are not finite interrupt the line.
        colour: a name of the palette.
        dash: SVG's dash pattern.
        width: of the line; 0 draws points only.
        points: whether to draw points.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = "blue"
    dash: str = ""
    width: float = 2.0
    points: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawing and its legend: (colour, dash, name)."""

    svg: str
    legend: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-300))
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values.

        >>> Axis(0, 1, 0, 100).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        """
        if self.log:
            found = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
            inside = [value for value in found if self.low * 0.999 <= value <= self.high * 1.001]
            whole = [value for value in inside if round(math.log10(value), 9).is_integer()]
            return whole if len(whole) > 2 else inside
        span = (self.high - self.low) or 1.0
        step = 10.0 ** math.floor(math.log10(span / about))
        step = min((step * factor for factor in (1, 2, 5, 10)), key=lambda value: abs(span / value - about))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]

    def labelled(self) -> list[tuple[float, str]]:
        """Return the ticks with their labels."""
        return [(value, number(value)) for value in self.ticks()]


def number(value: float) -> str:
    """Return a value as short as an axis needs it.

    >>> [number(value) for value in (0.2, 1500, 13673, 0.00025, 3_000_000)]
    ['0.2', '1,500', '13.7k', '0.00025', '3M']
    """
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * factor or (factor > 1e3 and abs(value) >= factor):
            return f"{value / factor:.3g}{letter}"
    return f"{value:,g}" if abs(value) < 1e-3 else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def path(points: Iterable[tuple[float, float]]) -> str:
    """Return the path through points; those that are not finite interrupt it."""
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(y):
            parts.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def text(x: float, y: float, string: str, anchor: str = "start", kind: str = "", size: float = SIZE) -> str:
    """Return a label whose colour follows the page."""
    small = "" if size == SIZE else f' style="font-size:{size:g}px"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{small}>{clean(string)}</text>'


def svg(title: str, parts: Sequence[str], height: float = HEIGHT, width: float = WIDTH) -> str:
    """Return the whole drawing; a wide one scrolls instead of shrinking."""
    least = f' style="min-width:{width:g}px"' if width > WIDTH else ""
    head = f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{clean(title)}"{least}>'
    return "".join([head, *parts, "</svg>"])


@dataclass(frozen=True)
class Frame:
    """Both axes of a chart with their grid, ticks and titles."""

    x: Axis
    y: Axis
    parts: list[str]


def frame(
    x: tuple[float, float],
    y: tuple[float, float],
    titles: tuple[str, str],
    *,
    log: tuple[bool, bool] = (False, False),
    x_ticks: Sequence[tuple[float, str]] | None = None,
    y_ticks: Sequence[tuple[float, str]] | None = None,
) -> Frame:
    """Lay out a chart.

    Args:
        x: lowest and highest value.
        y: likewise.
        titles: of the axes.
        log: whether each axis is logarithmic.
        x_ticks: values and labels, instead of round ones.
        y_ticks: likewise.
    """
    bottom = HEIGHT - BELOW
    y_axis = Axis(*y, bottom, ABOVE, log[1])
    labels = y_axis.labelled() if y_ticks is None else y_ticks
    left = 10 + max((length(label, SIZE) for _, label in labels), default=20)
    x_axis = Axis(*x, left, WIDTH - 14, log[0])
    parts = [text(0, 13, titles[1]), text(WIDTH - 14, HEIGHT - 4, titles[0], "end")]
    for value, label in labels:
        at = y_axis(value)
        parts.append(f'<path class="grid" d="M{left:.1f} {at:.1f}H{WIDTH - 14:g}"/>')
        parts.append(text(left - 6, at + 4, label, "end"))
    shown = -math.inf
    for value, label in x_axis.labelled() if x_ticks is None else x_ticks:
        at, half = x_axis(value), length(label, SIZE) / 2
        place = min(max(at, half), WIDTH - half)
        if place - half > shown + 4:
            parts.append(text(place, bottom + 17, label, "middle"))
            shown = place + half
        parts.append(f'<path class="grid" d="M{at:.1f} {bottom:g}v4"/>')
    return Frame(x_axis, y_axis, parts)


def lines(
    title: str,
    series: Sequence[Series],
    titles: tuple[str, str],
    *,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    log: tuple[bool, bool] = (False, False),
    marks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Draw lines.

    Args:
        title: for readers of screens.
        series: the lines; the last is on top.
        titles: of the axes.
        x: range of the axis; that of the values by default.
        y: likewise, from 0.
        log: whether each axis is logarithmic.
        marks: values of x with a dashed vertical line, and what happened there.
    """
    drawn = [thinned(one) for one in series]
    x = x or _range([value for one in drawn for value in one.x], log[0], from_zero=False)
    y = y or _range([value for one in drawn for value in one.y], log[1], from_zero=True)
    layout = frame(x, y, titles, log=log)
    parts = layout.parts
    for value, what in marks:
        parts.append(mark(layout, value, what))
    for one in drawn:
        parts.append(_line(one, layout))
    return Chart(svg(title, parts), tuple((one.colour, one.dash, one.name) for one in drawn if one.name))


def mark(layout: Frame, value: float, what: str) -> str:
    """Return a dashed vertical line that says what happened there when hovered over."""
    path = f"M{layout.x(value):.1f} {ABOVE:g}V{HEIGHT - BELOW:g}"
    return f'<path class="mark" d="{path}"><title>{clean(what)}</title></path>'


def _line(one: Series, layout: Frame) -> str:
    def place(value: float) -> float:
        usable = math.isfinite(value) and (value > 0 or not layout.y.log)
        return layout.y(min(max(value, layout.y.low), layout.y.high)) if usable else math.nan

    points = [(layout.x(x), place(y)) for x, y in zip(one.x, one.y, strict=True)]
    style = f'fill="none" stroke="var(--{one.colour})" stroke-width="{one.width:g}" stroke-linejoin="round"'
    dash = f' stroke-dasharray="{one.dash}"' if one.dash else ""
    parts = [f'<path d="{path(points)}" {style}{dash}><title>{clean(one.name)}</title></path>'] if one.width else []
    for (x, y), at, value in zip(points, one.x, one.y, strict=True):
        if one.points and math.isfinite(y):
            hover = clean(f"{one.name} {number(at)}: {value:.3f}".strip())
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--{one.colour})"><title>{hover}</title></circle>'
            )
    return "".join(parts)


def thinned(series: Series, most: int = MOST) -> Series:
    """Return a line of at most `most` points, each the mean of its neighbours."""
    count = len(series.x)
    if count <= most:
        return series
    edges = [round(index * count / most) for index in range(most + 1)]
    parts = [slice(start, end) for start, end in pairwise(edges)]
    x, y = ([math.fsum(values[part]) / len(values[part]) for part in parts] for values in (series.x, series.y))
    return Series(series.name, x, y, series.colour, series.dash, series.width, series.points)


def _range(values: Sequence[float], log: bool, from_zero: bool) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if not known:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(known), max(known)
    if log:
        return low / 1.1, high * 1.1
    low = min(0.0, low) if from_zero else low
    return (low, high + 0.04 * (high - low)) if high > low else (low - 0.5 * (not from_zero), low + 1.0)


def legible(string: str, width: float, size: float = SIZE) -> str:
    """Shorten a label to a width in units of the chart."""
    return shorten(string, width, size)
