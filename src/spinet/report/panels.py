"""The parts of a training's page: a chart or a table, how to read it, and what to try."""

from collections.abc import Sequence
from dataclasses import dataclass

from spinet.analysis.precision import Interval
from spinet.report.charts import Chart


@dataclass(frozen=True)
class Table:
    """Cells of text, with a row of headings."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Panel:
    """A card of the page.

    Attributes:
        title: of the card.
        read: one sentence on how to read it.
        advice: what to try, where a rule says so.
        charts: drawings, one below the other.
        table: cells.
        wide: whether it needs the whole width of the page.
    """

    title: str
    read: str
    advice: str = ""
    charts: tuple[Chart, ...] = ()
    table: Table | None = None
    wide: bool = False


def decimal(value: float, digits: int = 3) -> str:
    """Return a metric, or a dash for one without ground truth."""
    return f"{value:.{digits}f}" if value == value else "-"


def with_interval(interval: Interval) -> str:
    """Return a value and its interval.

    >>> with_interval(Interval(0.5, 0.4, 0.6))
    '0.500 (0.400 to 0.600)'
    """
    if interval.low != interval.low:
        return decimal(interval.value)
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names as a list in a sentence.

    >>> listed(["cat", "dog", "bird", "fish"])
    'cat, dog, bird and 1 more'
    """
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
