"""The exception that the command line prints as a sentence, not a traceback, and its kinds that a search counts."""

from collections.abc import Iterable
from difflib import get_close_matches


class SpinetError(ValueError):
    """Something the user can mend: what was wrong, where, and what is allowed, in one sentence."""


class NotFinite(SpinetError):  # noqa: N818
    """A loss or the weights stopped being numbers."""


class OutOfMemory(SpinetError):  # noqa: N818
    """The memory of the device does not hold what was asked."""


class BuildError(SpinetError):
    """The network cannot be built."""


class WorkerLost(SpinetError):  # noqa: N818
    """The process that worked on a trial ended without an answer."""


class TrialTimeout(SpinetError):  # noqa: N818
    """A trial took longer than it may."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> SpinetError:
    """Return the error for a name that is not in a table, with the nearest match and the known names.

    >>> str(unknown_name("recipe", "dmeo", ["demo", "bccd"]))
    "unknown recipe 'dmeo', did you mean 'demo'? Known: bccd, demo."
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f", did you mean {near[0]!r}?" if near else "."
    return SpinetError(f"unknown {what} {name!r}{hint} Known: {', '.join(names)}.")
