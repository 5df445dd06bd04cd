"""Numbers, ids and flags as foreign files have them: read for what they say, or not at all."""

import math
import re

# Far beyond any published dataset.
MAX_CLASSES = 100_000

_INTEGER = re.compile(r"[+-]?\d{1,4000}(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FLAGS = dict.fromkeys(("1", "1.0", "true", "yes", "y", "t"), True) | dict.fromkeys(
    ("0", "0.0", "false", "no", "n", "f", "", "none", "null"), False
)


def integer(value: object) -> int | None:
    """Return an integer of any size, also from 3.0 and from a string such as "3"; None for anything else."""
    if type(value) is int:  # not isinstance, which accepts bool
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return None


def number(value: object) -> float | None:
    """Return a finite number, also from a string such as "1.5"; None for anything else, also for None."""
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def flag(value: object) -> bool | None:
    """Return what a flag says: 0, 1, true, false, yes, no or null, also as a string; None for anything else."""
    if value is None:
        return False
    if isinstance(value, bool | int | float):
        return bool(value) if value in (0, 1) else None
    return _FLAGS.get(value.strip().casefold()) if isinstance(value, str) else None
