"""Saved states of strategies that learn slowly: they spare the replay of a journal, and may be deleted at any time."""

import hashlib
import json
from pathlib import Path
from typing import Protocol, runtime_checkable

from spinet.files import write_atomically
from spinet.search.config import spinet_version
from spinet.search.journal import Event

NAME = "strategy.snapshot"


@runtime_checkable
class Snapshots(Protocol):
    """A strategy that can be saved."""

    def state(self) -> bytes:
        """Return all that events have changed."""
        ...

    def load(self, state: bytes) -> None:
        """Take over what `state` returned, in a strategy of the same settings and space."""
        ...


def save_snapshot(run: Path, strategy: Snapshots, lines: int, header: Event) -> None:
    """Write what `strategy` has become after the first `lines` lines of the journal.

    Raises:
        SpinetError: the file cannot be written.
    """
    state = strategy.state()
    write_atomically(run / NAME, json.dumps(_label(lines, header, state)).encode() + b"\n" + state)


def load_snapshot(run: Path, header: Event, lines: int) -> tuple[int, bytes] | None:
    """Return the number of lines that a snapshot covers and the state, if there is a whole one of this journal.

    Args:
        run: the run folder.
        header: first line of the journal.
        lines: of the journal; a snapshot that has seen more is of another one.
    """
    try:
        label, _, state = (run / NAME).read_bytes().partition(b"\n")
        seen = json.loads(label)["lines"]
        fits = json.loads(label) == _label(seen, header, state) and seen <= lines
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (seen, state) if fits else None


def _label(lines: int, header: Event, state: bytes) -> dict[str, object]:
    journal = json.dumps(header, sort_keys=True).encode()
    return {
        "lines": lines,
        "journal": hashlib.blake2b(journal, digest_size=16).hexdigest(),
        "state": hashlib.blake2b(state, digest_size=16).hexdigest(),
        "spinet": spinet_version(),
    }
