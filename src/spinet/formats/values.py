"""Numbers, ids and flags as foreign files have them: read for what they say, or not at all."""

import math
import re
from reprlib import Repr

_INTEGER = re.compile(r"[+-]?\d{1,4000}(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FLAGS = dict.fromkeys(("1", "1.0", "true", "yes", "y", "t"), True) | dict.fromkeys(
    ("0", "0.0", "false", "no", "n", "f", "", "none", "null"), False
)
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 2, 6, 2
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 40


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


def quote(value: object) -> str:
    """Return a value for a message, cut to about 40 characters, however long or deep it is.

    >>> quote("x" * 100)
    "'xxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxx'"
    """
    try:
        text = _SHORT.repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
