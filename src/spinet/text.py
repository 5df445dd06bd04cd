"""Numbers in words, for people."""


def duration(seconds: float) -> str:
    """Return seconds in a readable unit.

    >>> [duration(value) for value in (42.3, 600, 9000)]
    ['42 s', '10.0 min', '2.5 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count_of(number: int, what: str, plural: str = "") -> str:
    """Return a count with its noun.

    >>> count_of(1, "trial"), count_of(1200, "trial"), count_of(2, "class", "classes")
    ('1 trial', '1,200 trials', '2 classes')
    """
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def megabytes(size: int) -> str:
    """Return a size in megabytes.

    >>> megabytes(1_500_000), megabytes(999), megabytes(123_456_789)
    ('1.5 MB', '0.0 MB', '123 MB')
    """
    value = size / 1e6
    return f"{value:.0f} MB" if value >= 100 else f"{value:.1f} MB"
