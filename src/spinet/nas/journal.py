"""The append-only record of a search: one JSON event a line, one writer, any number of readers.

    search    first line: what the search is of; a journal with another one is not gone on with
    session   each start of the driver
    ask       a trial that the strategy proposed
    retry     an attempt at a trial that failed and is made again
    tell      what came of a trial
    time      how long it took, where and when

Everything that hangs on the clock or the machine is in `session` and `time`, so that the other lines can be compared.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from spinet.errors import SpinetError

NAME = "journal.jsonl"
EVENTS = ("search", "session", "ask", "retry", "tell", "time")
# Events that are the same whatever machine a search runs on, and however often it is stopped (in-process mode).
REPRODUCIBLE = ("search", "ask", "retry", "tell")

# A reader that looks whether a journal is being written holds its lock for a moment; a driver waits that long.
_LOCK_SECONDS = 0.5

Event = dict[str, Any]


class Journal:
    """The one writer of a run's journal. Use as a context manager; opening cuts off a torn last line.

    Args:
        run: the run folder; it is made if there is none.

    Raises:
        SpinetError: the journal cannot be opened, or another process writes it.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / NAME
        self._digest: hashlib.blake2b | None = None
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise SpinetError(f"could not open the journal {self.path}: {error.strerror}") from None
        try:
            self._lock()
            self.size = self._cut()
        except OSError as error:
            os.close(self._file)
            raise SpinetError(
                f"could not lock and read the journal {self.path}: {error.strerror}; take a run folder on a file "
                "system with locks, such as a local disk"
            ) from None
        except SpinetError:
            os.close(self._file)
            raise

    def append(self, events: Sequence[Event], *, durable: bool) -> list[tuple[int, Event]]:
        """Write events as one line each.

        Args:
            events: what happened.
            durable: whether to come back only when the lines, and all before them, are on the disk. A line that is
                not outlives the death of this process, but not that of the machine.

        Returns:
            For each event where its line begins, and the event as a reader will see it.

        Raises:
            SpinetError: the disk is full or failed; what was appended before is untouched.
        """
        lines = [json.dumps(event, separators=(",", ":"), allow_nan=False) for event in events]
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            if durable:
                os.fsync(self._file)
        except OSError as error:
            self._take_back()
            raise SpinetError(
                f"could not write the journal {self.path}: {error.strerror}; all {self.size:,} bytes before are kept, "
                "and the same command goes on from there"
            ) from error
        found, start = [], self.size
        for line in lines:
            found.append((start, json.loads(line)))
            start += len(line) + 1
        self.size += len(data)
        if self._digest:
            self._digest.update(data)
        return found

    def read(self) -> Iterator[tuple[int, Event]]:
        """Give (start of the line, event) of all lines."""
        return read_journal(self.path)

    def digest(self) -> str:
        """Return a hash of all lines; it is kept up to date from the first call on."""
        if self._digest is None:
            self._digest = self._hash(self.size)
        return self._digest.hexdigest()

    def digest_of(self, size: int) -> str:
        """Return what `digest` was when the journal had so many bytes."""
        return self._hash(size).hexdigest()

    def clear(self) -> None:
        """Drop all lines, of a search that has asked nothing yet.

        Raises:
            SpinetError: the file cannot be written.
        """
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise SpinetError(f"could not write the journal {self.path}: {error.strerror}") from None
        self.size, self._digest = 0, None

    def at(self, start: int) -> Event:
        """Return the event of the line that begins at `start`."""
        size = 4096
        while b"\n" not in (data := os.pread(self._file, size, start)) and len(data) == size:
            size *= 4
        event: Event = json.loads(data.split(b"\n", 1)[0])
        return event

    def close(self) -> None:
        """Close the file and release it for others."""
        os.close(self._file)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        until = time.monotonic() + _LOCK_SECONDS
        while not _locked(self._file, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise SpinetError(
                    f"another search is writing {self.path}; stop it before you go on, or take another run folder"
                )
            time.sleep(_LOCK_SECONDS / 10)

    def _hash(self, size: int) -> hashlib.blake2b:
        found = hashlib.blake2b(digest_size=16)
        for start in range(0, size, 1 << 20):
            found.update(os.pread(self._file, min(1 << 20, size - start), start))
        return found

    def _cut(self) -> int:
        """Drop what a kill left behind the last whole line; it was acknowledged to nobody. Return the size."""
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - 65536)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            end = start if found < 0 else start + found + 1
            if found >= 0:
                break
        if end < size:
            os.ftruncate(self._file, end)
        return end

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self.size)
        except OSError:  # then the torn line is cut off on opening
            return


def read_journal(path: Path) -> Iterator[tuple[int, Event]]:
    """Give (start of the line, event) of all whole lines of a journal, also while it is being written.

    Raises:
        SpinetError: there is no journal, or a line of it is not an event; the sentence names the line.
    """
    try:
        with path.open("rb") as file:
            start = 0
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # torn, or just being written
                    return
                yield start, _event(path, number, line)
                start += len(line)
    except OSError as error:
        raise SpinetError(f"could not read the journal {path}: {error.strerror}") from None


def is_written(path: Path) -> bool:
    """Whether a driver is at work on a journal."""
    try:
        with path.open("rb") as file:
            return not _locked(file.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def _locked(file: int, kind: int) -> bool:
    """Try to take a lock, which goes with the open file, whatever happens to this process."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _event(path: Path, number: int, line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        raise _broken(path, number, "it is not JSON") from None
    if not isinstance(event, dict) or event.get("event") not in EVENTS:
        raise _broken(path, number, f"it is none of the events {', '.join(EVENTS)}")
    if (number == 1) != (event["event"] == "search"):
        raise _broken(path, number, "the event search belongs on the first line, and only there")
    return event


def _broken(path: Path, number: int, why: str) -> SpinetError:
    return SpinetError(f"{path}, line {number} is damaged: {why}; restore the file, or begin in another run folder")
