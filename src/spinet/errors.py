"""The exception that the command line prints as one sentence without a traceback, and its subclasses."""

import errno
import math
import re
import signal
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

# More known names than a message lists.
MANY = 16
# Characters of known names that a message lists.
LISTED = 150
# Characters of a value that a message quotes, and of a list of them: a file may hold a megabyte instead of a number.
QUOTED, LONGEST = 45, 60
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 2, 6, 2
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = QUOTED


class SpinetError(ValueError):
    """An error the user can fix: what was wrong, where, and what is allowed, in one sentence."""


class NotFinite(SpinetError):  # noqa: N818
    """A loss or a weight became NaN or infinite."""


class OutOfMemory(SpinetError):  # noqa: N818
    """The device ran out of memory."""


class BuildError(SpinetError):
    """The network cannot be built."""


class NotTrusted(SpinetError):  # noqa: N818
    """A file that can run code was made elsewhere; `trust` opens it."""


class WorkerLost(SpinetError):  # noqa: N818
    """The process of a trial died."""


class TrialTimeout(SpinetError):  # noqa: N818
    """A trial exceeded its time limit."""


def quoted(value: object) -> str:
    """Return the repr of a value for a message, cut to about 45 characters, however long or deep it is.

    >>> quoted("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxx'"
    """
    try:
        text = _SHORT.repr(value)
    except (RecursionError, ValueError):  # integers of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def is_unicode(text: str) -> bool:
    """Whether a string can be encoded: JSON may hold halves of characters, such as U+D800."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_line(error: BaseException) -> str:
    """Return what an error says first, cut where it is long: PyTorch adds advice, and traces of its own code."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


class Stopped(KeyboardInterrupt):
    """A signal ended the work after it was saved; the message says what was saved and how to resume.

    Attributes:
        number: the signal, SIGINT (Ctrl-C) or SIGTERM.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = number


# What the system says when the machine or its disk fails, and not one file.
_MACHINE = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT})
# How errors without a class of their own say that main memory is short,
_NO_MEMORY = re.compile(
    "allocate (shared )?memory|not enough memory|out of memory|bad_alloc|start new thread|unable to mmap"
    "|HOST_ALLOCATION_FAILED",
    re.I,
)
# and that of a GPU: contexts of CUDA and ROCm and their libraries allocate for themselves, and MPS has no class.
_NO_DEVICE_MEMORY = re.compile(
    r"(CUDA|HIP)( driver| runtime)? error: out of memory|MPS backend out of memory|cuda failure.{1,9}out of memory"
    r"|\b(CU|HIP|ROC)\w*_ALLOC_FAILED|DEVICE_ALLOCATION_FAILED|BLAS_STATUS_NOT_INITIALIZED when calling .\w+Create",
    re.I,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, that of a GPU or of the machine."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:  # PyTorch's own, without importing it
        return True
    return isinstance(error, RuntimeError) and (
        _NO_MEMORY.search(str(error)) is not None or is_out_of_device_memory(error)
    )


def is_machine_fault(error: BaseException) -> bool:
    """Whether an error says that the machine, its disk or its memory failed, and not that one file is bad."""
    return is_out_of_memory(error) or (isinstance(error, OSError) and error.errno in _MACHINE)


def is_out_of_device_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a GPU is short, and not that of the machine.

    >>> is_out_of_device_memory(RuntimeError("CUDA error: out of memory")), is_out_of_device_memory(MemoryError())
    (True, False)
    """
    if type(error).__name__ == "OutOfMemoryError":  # PyTorch's own
        return True
    # The thread that pins memory calls CUDA for main memory.
    said = str(error) if isinstance(error, RuntimeError) and "pin memory thread" not in str(error) else ""
    return _NO_DEVICE_MEMORY.search(said) is not None


def unknown_name(what: str, name: object, known: Iterable[str]) -> SpinetError:
    """Return the error for a name that is not in a table, with the nearest match and the known names, if they are few.

    >>> str(unknown_name("recipe", "dmeo", ["demo", "bccd"]))
    "unknown recipe 'dmeo', did you mean 'demo'? Known: bccd, demo."
    """
    name, names = name if isinstance(name, str) else quoted(name), sorted(known)
    near = _nearest(name, names)
    hint = f", did you mean {near!r}?" if near else "."
    if len(names) > MANY or sum(map(len, names)) > LISTED:  # nobody reads fifty names
        closest = get_close_matches(name[:QUOTED], names, n=5, cutoff=0) or names[:5]
        names = [*sorted(closest), f"and {len(names) - len(closest)} more"]
    return SpinetError(f"unknown {what} {quoted(name)}{hint} Known: {', '.join(names)}.")


def _nearest(name: str, names: list[str]) -> str | None:
    """Return the name that was probably meant: one that differs in a number only, by little, else by spelling.

    >>> _nearest("spinenet50", ["spinenet190", "spinenet49", "tiny"])
    'spinenet49'
    """
    pattern, start = re.compile(r"\d{1,9}"), name[:QUOTED]
    numbers = [int(found) for found in pattern.findall(start)]
    alike = [other for other in names if numbers and pattern.sub("#", other) == pattern.sub("#", start)]
    if alike:
        return min(
            alike, key=lambda other: sum(abs(int(a) - b) for a, b in zip(pattern.findall(other), numbers, strict=True))
        )
    return next(iter(get_close_matches(start, names, n=1)), None)


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
