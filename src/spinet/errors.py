"""The exception that the command line prints as one sentence without a traceback, and its subclasses."""

import math
from collections.abc import Iterable
from difflib import get_close_matches

# More known names than a message lists.
MANY = 16


class SpinetError(ValueError):
    """An error the user can fix: what was wrong, where, and what is allowed, in one sentence."""


class NotFinite(SpinetError):  # noqa: N818
    """A loss or a weight became NaN or infinite."""


class OutOfMemory(SpinetError):  # noqa: N818
    """The device ran out of memory."""


class BuildError(SpinetError):
    """The network cannot be built."""


class WorkerLost(SpinetError):  # noqa: N818
    """The process of a trial died."""


class TrialTimeout(SpinetError):  # noqa: N818
    """A trial exceeded its time limit."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> SpinetError:
    """Return the error for a name that is not in a table, with the nearest match and the known names, if they are few.

    >>> str(unknown_name("recipe", "dmeo", ["demo", "bccd"]))
    "unknown recipe 'dmeo', did you mean 'demo'? Known: bccd, demo."
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f", did you mean {near[0]!r}?" if near else "."
    if len(names) > MANY:  # nobody reads fifty names
        closest = get_close_matches(name, names, n=5, cutoff=0) or names[:5]
        names = [*sorted(closest), f"and {len(names) - len(closest)} more"]
    return SpinetError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}.")


def check_positive(**numbers: int) -> None:
    """Raise a SpinetError for a number below 1, by its name."""
    for name, number in numbers.items():
        if number < 1:
            raise SpinetError(f"{name} is {number}; must be at least 1")


def check_range(name: str, bounds: tuple[float, float], most: float = math.inf) -> None:
    """Raise a SpinetError unless `bounds` are (low, high), above 0, at most `most`, and finite."""
    low, high = bounds
    if not 0 < low <= high <= most or high == math.inf:
        limit = f" <= {most:g}" if most < math.inf else ""
        raise SpinetError(f"{name} is {bounds}; must be (low, high) with 0 < low <= high{limit}")
