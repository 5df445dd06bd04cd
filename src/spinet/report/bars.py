"""Charts of counts: bars with intervals, histograms, matrices."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinet.draw.text import clean, length
from spinet.report.charts import SIZE, WIDTH, Chart, frame, legible, mark, number, svg, text

ROW = 26.0
# Classes of a matrix that are drawn; the others are together.
MOST_CLASSES = 14


class Bar(NamedTuple):
    """A labelled value with an optional interval, and what stands behind it."""

    label: str
    value: float
    note: str
    low: float = float("nan")
    high: float = float("nan")
    colour: str = "blue"


def bars(title: str, rows: Sequence[Bar], most: float | None = None) -> Chart:
    """Draw horizontal bars, each with its label on the left and its note on the right."""
    left = 12 + min(max((length(row.label, SIZE) for row in rows), default=0), 130)
    right = WIDTH - 8 - max((length(row.note, SIZE) for row in rows), default=0)
    largest = most or max([row.value for row in rows] + [row.high for row in rows if row.high == row.high], default=0)
    scale = (right - left - 8) / (largest or 1.0)
    parts = []
    for index, row in enumerate(rows):
        top = index * ROW + 4
        parts.append(text(left - 8, top + 15, legible(row.label, 132), "end"))
        width = max(row.value * scale, 0.0) if row.value == row.value else 0.0
        about = clean(f"{row.label}: {row.note}")
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 3:g}" width="{max(width, 1):.1f}" height="16" rx="2" '
            f'fill="var(--{row.colour})"><title>{about}</title></rect>'
        )
        if row.low == row.low:
            start, end = left + row.low * scale, left + row.high * scale
            parts.append(
                f'<path class="whisker" d="M{start:.1f} {top + 11:g}H{end:.1f}M{start:.1f} {top + 7:g}v8'
                f'M{end:.1f} {top + 7:g}v8"/>'
            )
        parts.append(text(WIDTH - 4, top + 15, row.note, "end", "strong"))
    return Chart(svg(title, parts, height=len(rows) * ROW + 8))


def histogram(
    title: str,
    edges: Sequence[float],
    stacks: Sequence[tuple[str, str, Sequence[float]]],
    titles: tuple[str, str],
    *,
    log: bool = False,
    ticks: Sequence[tuple[float, str]] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    root: bool = False,
) -> Chart:
    """Draw a stacked histogram.

    Args:
        title: for readers of screens.
        edges: of the bins, one more than there are counts.
        stacks: (name, colour, counts), the lowest first.
        titles: of the axes.
        log: whether the axis of the bins is logarithmic.
        ticks: values and labels on it.
        marks: values with a dashed line.
        root: whether heights are square roots of counts, so that small counts are seen beside large ones.
    """
    total = np.sum([counts for _, _, counts in stacks], axis=0) if stacks else np.zeros(1)
    high = 1.05 * (float(total.max()) or 1.0)
    power = 0.5 if root else 1.0
    y_ticks = [(value**power, number(value)) for value in _root_ticks(high)] if root else None
    span = (edges[0], edges[-1]), (0.0, high**power)
    layout = frame(*span, titles, log=(log, False), x_ticks=ticks, y_ticks=y_ticks)
    parts, base = layout.parts, np.zeros(len(edges) - 1)
    for name, colour, counts in stacks:
        for index, count in enumerate(counts):
            if not count:
                continue
            low, up = (layout.y(float(value) ** power) for value in (base[index], base[index] + count))
            x, end = layout.x(edges[index]), layout.x(edges[index + 1])
            about = clean(f"{name} {number(edges[index])} to {number(edges[index + 1])}: {count:,.0f}".strip())
            parts.append(
                f'<rect x="{x + 0.5:.1f}" y="{up:.1f}" width="{max(end - x - 1, 0.6):.1f}" '
                f'height="{low - up:.1f}" fill="var(--{colour})"><title>{about}</title></rect>'
            )
        base += np.asarray(counts, dtype=float)
    for value, what in marks:
        parts.append(mark(layout, value, what))
    legend = tuple((colour, "", name) for name, colour, _ in stacks) if len(stacks) > 1 else ()
    return Chart(svg(title, parts), legend)


def _root_ticks(high: float) -> list[float]:
    """Return some round counts, far enough apart when heights are their square roots."""
    shown = [0.0]
    for value in (float(factor * 10**power) for power in range(9) for factor in (1, 2, 5)):
        if value <= high and value**0.5 - shown[-1] ** 0.5 > 0.14 * high**0.5:
            shown.append(value)
    return shown


def matrix(title: str, rows: Sequence[str], columns: Sequence[str], counts: NDArray[np.int64]) -> Chart:
    """Draw counts in cells, shaded by the fraction of their row; true classes are rows."""
    cell = 34.0
    left = 12 + min(max(length(name, SIZE) for name in rows), 110)
    top = 26 + min(max(length(name, SIZE) for name in columns), 110) * 0.72
    width = max(WIDTH, left + cell * len(columns) + 50)
    totals = counts.sum(axis=1)
    parts = []
    for row, name in enumerate(rows):
        y = top + row * cell
        parts.append(text(left - 8, y + cell / 2 + 4, legible(name, 110), "end"))
        for column, other in enumerate(columns):
            count = int(counts[row, column])
            fraction = count / totals[row] if totals[row] else 0.0
            colour = "green" if name == other else "orange"
            x = left + column * cell
            about = clean(f"{name} found as {other}: {count:,} ({fraction:.0%})")
            parts.append(
                f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{cell - 2:g}" height="{cell - 2:g}" rx="3" '
                f'fill="var(--{colour})" fill-opacity="{0.75 * fraction:.3f}"><title>{about}</title></rect>'
            )
            if count:
                parts.append(text(x + cell / 2 - 1, y + cell / 2 + 3, number(count), "middle", "strong", 11))
    for column, name in enumerate(columns):
        x = left + column * cell + cell / 2
        turn = f'transform="rotate(-45 {x:.1f} {top - 8:.1f})"'
        parts.append(f'<text x="{x:.1f}" y="{top - 8:.1f}" {turn}>{clean(legible(name, 110))}</text>')
    return Chart(svg(title, parts, height=top + cell * len(rows) + 4, width=width))


def most_confused(matrix: NDArray[np.int64], names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the classes with most errors and the counts among them; the others are one class together.

    The last row or column of background, or of classes that only a model has, stays.
    """
    classes = len(names)
    if classes <= MOST_CLASSES:
        return list(names), matrix
    square = matrix[:classes, :classes]
    wrong = square.sum(axis=0) + square.sum(axis=1) - 2 * np.diag(square)
    kept = sorted(np.argsort(-wrong, kind="stable")[: MOST_CLASSES - 1].tolist())
    group = np.full(classes, len(kept))
    group[kept] = np.arange(len(kept))
    rows, columns = matrix.shape[0] - classes, matrix.shape[1] - classes
    row_of = np.append(group, np.arange(rows) + len(kept) + 1)
    column_of = np.append(group, np.arange(columns) + len(kept) + 1)
    small = np.zeros((len(kept) + 1 + rows, len(kept) + 1 + columns), dtype=np.int64)
    np.add.at(small, (row_of[:, None], column_of[None]), matrix)
    return [*(names[label] for label in kept), f"{classes - len(kept)} others"], small
