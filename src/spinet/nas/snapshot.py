"""Saved states of strategies that learn slowly: they spare the replay of a journal, and may be deleted at any time."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from spinet.files import write_atomically
from spinet.nas.config import spinet_version
from spinet.nas.journal import Journal
from spinet.nas.trial import Snapshots

NAME = "strategy.snapshot"


def save_snapshot(run: Path, strategy: Snapshots, lines: int, journal: Journal) -> None:
    """Write what `strategy` has become after the `lines` lines that the journal has.

    Raises:
        SpinetError: the file cannot be written.
    """
    state = strategy.state()
    label = _label(lines, journal.size, journal.digest(), state)
    write_atomically(run / NAME, json.dumps(label).encode() + b"\n" + state)


def load_snapshot(run: Path, journal: Journal) -> tuple[int, bytes] | None:
    """Return the number of lines that a snapshot covers and the state, if there is a whole one of this journal.

    One that is damaged, or has seen other lines than the journal begins with, is deleted.
    """
    path = run / NAME
    try:
        label, _, state = path.read_bytes().partition(b"\n")
        found = json.loads(label)
        lines, size = int(found["lines"]), int(found["bytes"])
        if 0 <= size <= journal.size and found == _label(lines, size, journal.digest_of(size), state):
            return lines, state
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with suppress(OSError):
        path.unlink()
    return None


def _label(lines: int, size: int, digest: str, state: bytes) -> dict[str, object]:
    return {
        "lines": lines,
        "bytes": size,
        "journal": digest,
        "state": hashlib.blake2b(state, digest_size=16).hexdigest(),
        "spinet": spinet_version(),
    }
