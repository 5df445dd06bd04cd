"""The append-only record of a search: one JSON event per line, one writer, any number of readers.

    search    first line: the settings of the search; it is resumed only with the same ones
    session   each start of the driver
    ask       a trial that the strategy proposed
    retry     a failed attempt at a trial that will be repeated
    tell      the outcome of a trial
    time      how long it took, where and when

Whatever depends on the clock or the machine is in `session` and `time`, so that the other lines can be compared.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError
from spinet.locks import try_lock

NAME = "journal.jsonl"
EVENTS = ("search", "session", "ask", "retry", "tell", "time")
# Events that are the same on every machine, however often a search is stopped (in-process mode).
REPRODUCIBLE = ("search", "ask", "retry", "tell")

# A reader that checks whether a journal is being written holds its lock for a moment; a driver waits that long.
_LOCK_SECONDS = 0.5

Event = dict[str, Any]


def check_folder(run: Path) -> None:
    """Raise a SpinetError for the run folder of a training, whose files a search would mix with its own."""
    if (run / "config.json").is_file() and not (run / NAME).exists():
        raise SpinetError(f"{run} is the run folder of a training; a search needs another one")


class Journal:
    """The one writer of a run's journal. Use as a context manager; opening cuts off a torn last line.

    Args:
        run: the run folder, created if missing.

    Raises:
        SpinetError: the journal cannot be opened, another process is writing it, or the folder is of a training.
    """

    def __init__(self, run: str | Path) -> None:
        self.path = Path(run) / NAME
        check_folder(Path(run))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise SpinetError(f"could not open the journal {self.path}: {error.strerror}") from None
        try:
            self._lock()
            self.size = self._cut()
        except OSError as error:
            self._file.close()
            raise SpinetError(
                f"could not lock and read the journal {self.path}: {error.strerror}; use a run folder on a file system "
                "with locks, such as a local disk"
            ) from None
        except SpinetError:
            self._file.close()
            raise

    def append(self, events: Sequence[Event], *, durable: bool) -> list[Event]:
        """Write events, one line each, and return them as a reader will see them.

        Args:
            events: what happened.
            durable: return only when these lines, and all before them, are on the disk. Other lines survive the death
                of this process, but not a power failure.

        Raises:
            SpinetError: the disk is full or failed; earlier lines are untouched.
        """
        lines = [json.dumps(event, separators=(",", ":"), allow_nan=False) for event in events]
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # else the torn line is cut off on opening
                self._file.truncate(self.size)
            raise SpinetError(
                f"could not write the journal {self.path}: {error.strerror}; its first {self.size:,} bytes are intact, "
                "re-run the same command to resume"
            ) from error
        self.size += len(data)
        return [json.loads(line) for line in lines]

    def clear(self) -> None:
        """Drop all lines, of a search that has no trials yet."""
        try:
            self._file.truncate(0)
        except OSError as error:
            raise SpinetError(f"could not write the journal {self.path}: {error.strerror}") from None
        self.size = 0

    def close(self) -> None:
        """Close the file and release its lock."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        until = time.monotonic() + _LOCK_SECONDS
        while not try_lock(self._file):
            if time.monotonic() > until:
                raise SpinetError(f"another search is writing {self.path}; stop it first, or use another run folder")
            time.sleep(_LOCK_SECONDS / 10)

    def _cut(self) -> int:
        """Drop what a kill left behind the last complete line. Return the size.

        A torn line is not an error: its `append` never returned, so nobody acted on it. Only the last line can be torn,
        because every writer starts here.
        """
        size = end = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            end = start if newline < 0 else start + newline + 1
            if newline >= 0:
                break
        if end < size:
            self._file.truncate(end)
        return end


def read_journal(path: str | Path) -> Iterator[Event]:
    """Yield the events of all complete lines of a journal, which may be being written."""
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # torn by a kill, or just being written
                    return
                yield _event(path, number, line)
    except OSError as error:
        raise SpinetError(f"could not read the journal {path}: {error.strerror}") from None


def is_written(path: str | Path) -> bool:
    """Whether a driver is writing a journal."""
    try:
        with Path(path).open("rb", buffering=0) as file:
            return not try_lock(file, shared=True)
    except OSError:
        return False


def _event(path: str | Path, number: int, line: bytes) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise corrupt_line(path, number, "it is not JSON") from None
    if not isinstance(event, dict) or event.get("event") not in EVENTS:
        raise corrupt_line(path, number, f"its event must be one of {', '.join(EVENTS)}")
    if (number == 1) != (event["event"] == "search"):
        raise corrupt_line(path, number, "the event search must be the first line, and only the first")
    return event


def corrupt_line(path: str | Path, number: int, why: str) -> SpinetError:
    """Return the error for a line of a journal."""
    return SpinetError(f"{path}, line {number} is corrupt: {why}; restore the file, or use another run folder")
