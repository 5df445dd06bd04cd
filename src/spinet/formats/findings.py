"""Findings of the dataset doctor: one sentence each, with a count and an example."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spinet.errors import SpinetError

Severity = Literal["error", "warning", "hint"]
# Of a name in a message.
LONG = 60
# One bad image, line or file is left out and counted. More than this fraction is no accident: what was left out would
# be learned as background, or not measured.
FEW = 0.05
# Advice about invalid objects.
CORRECT = "correct or delete them"
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")


@dataclass(frozen=True)
class Finding:
    """One finding about a dataset.

    Attributes:
        severity: "error" if training cannot work or metrics are wrong, "warning" if it costs accuracy, or "hint".
        check: name of the check.
        text: one sentence with the fix.
    """

    severity: Severity
    check: str
    text: str


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors first, then warnings, then hints."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def refuse(findings: Sequence[Finding]) -> None:
    """Raise the first error, if there is one."""
    errors = [finding.text for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: `spinet doctor` lists them)" if len(errors) > 1 else ""
        raise SpinetError(f"{errors[0]}{more}")


def is_systematic(count: int, total: int) -> bool:
    """Whether so many of a total are too many to be left out: a fraction above `FEW` and not only one, or all.

    >>> is_systematic(1, 3), is_systematic(2, 3), is_systematic(5, 100), is_systematic(1, 1)
    (False, True, False, True)
    """
    return count > max(FEW * total, 1) or 0 < total <= count


def of(count: int, total: int) -> str:
    """Format a count: `3 of 448`, with a percentage from 20 on."""
    percent = f" ({100 * count / total:.1f} %)" if total >= 20 else ""
    return f"{count:,} of {total:,}{percent}"


def some(names: Iterable[object], limit: int = 4) -> str:
    """List the first few of many names, long ones cut, in about 120 characters."""
    listed = [str(name) for name in names]
    shown = [name if len(name) <= LONG else f"{name[: LONG - 3]}..." for name in listed[:limit]]
    while len(shown) > 1 and len(", ".join(shown)) > 2 * LONG:
        shown.pop()
    return ", ".join(shown) + (f" and {len(listed) - len(shown):,} more" if len(listed) > len(shown) else "")


def such_as(path: Path) -> str:
    """Name an example file."""
    return f"such as {some([path.parent.name])}/{some([path.name])}"


@dataclass
class Faults:
    """Invalid parts of a dataset: how many, and what the first one is. A sentence for each would fill the memory.

    Attributes:
        first: a sentence.
        advice: what to do about the first one.
    """

    count: int = 0
    first: str = ""
    advice: str = ""

    def add(self, text: str, advice: str, count: int = 1) -> None:
        """Count invalid parts of which `text` is about the first."""
        if count and not self.count:
            self.first, self.advice = text, advice
        self.count += count


def left_out(split: str, what: str, faults: Faults, total: int) -> list[Finding]:
    """Return a warning about invalid parts of a split, which are left out.

    Raises:
        SpinetError: these are many of the `total` parts.
    """
    if not faults.count:
        return []
    if is_systematic(faults.count, total):
        more = f" (invalid {what} in all: {of(faults.count, total)})" if faults.count > 1 else ""
        raise SpinetError(f"{faults.first}{more}")
    text = f"{split}: {of(faults.count, total)} {what} are invalid and left out, such as {faults.first}"
    text += f"; {faults.advice}"
    return [Finding("warning", f"invalid {what}", text)]


def repeated_files(split: str, paths: Sequence[Path], harm: str) -> Iterator[Finding]:
    """Warn of files that are listed under several ids."""
    if len(set(paths)) < len(paths):
        repeated = [path for path, count in Counter(paths).items() if count > 1]
        text = f"{split}: {of(len(repeated), len(set(paths)))} image files are listed twice or more,"
        yield Finding("warning", "listed twice", f"{text} {such_as(repeated[0])}; {harm}: give each file one id")
