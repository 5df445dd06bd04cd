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


def repeated_files(split: str, paths: Sequence[Path], harm: str) -> Iterator[Finding]:
    """Warn of files that are listed under several ids."""
    if len(set(paths)) < len(paths):
        repeated = [path for path, count in Counter(paths).items() if count > 1]
        text = f"{split}: {of(len(repeated), len(set(paths)))} image files are listed twice or more,"
        yield Finding("warning", "listed twice", f"{text} {such_as(repeated[0])}; {harm}: give each file one id")
