"""The run folder of a training: one process at a time writes it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from spinet.errors import SpinetError
from spinet.locks import try_lock

LOCK = "run.lock"


def is_running(run: Path) -> bool:
    """Whether a training holds the lock of a run folder."""
    try:
        with (run / LOCK).open("rb", buffering=0) as file:
            return not try_lock(file, shared=True)
    except OSError:
        return False


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder, which is created, and removed again if nothing was written into it.

    Raises:
        SpinetError: another process trains there, a search has its journal there, or the folder cannot be written.
    """
    if (run / "journal.jsonl").exists():
        raise SpinetError(f"{run} is the run folder of a search; a training needs another one")
    if run.exists() and not run.is_dir():
        raise SpinetError(f"the run folder {run} is a file; name a folder, which is created")
    is_new = not run.exists()
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = _lock(run)
    except OSError as error:
        raise SpinetError(f"could not write to the run folder {run}: {error.strerror}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if _is_at(file, run / LOCK):
                (run / LOCK).unlink()
        file.close()
        if is_new:
            with suppress(OSError):  # it is not empty
                run.rmdir()


def check_present(run: Path) -> None:
    """Raise a SpinetError if the folder was removed, rather than write the rest of a run into a new one."""
    if not (run / "config.json").is_file():
        raise SpinetError(
            f"the run folder {run} was removed or emptied while it was trained; nothing more is written to it"
        )


def _lock(run: Path) -> FileIO:
    while True:
        file = FileIO(run / LOCK, "a+")
        try:
            free = try_lock(file)
        except OSError:
            return file  # a file system without locks
        if not free:
            owner = _owner(run / LOCK)
            file.close()
            raise SpinetError(
                f"{run} is being trained by {owner}; wait for it to end, stop it, or use another run folder"
            )
        # Whoever held the lock before has removed the file at its end.
        if _is_at(file, run / LOCK):
            file.truncate(0)
            file.write(f"{os.getpid()} {socket.gethostname()}\n".encode())
            return file
        file.close()


def _owner(path: Path) -> str:
    """Name the process that holds a lock."""
    process, _, host = path.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
    if not process.isdigit():
        return "another process"
    return f"process {process}" + (f" on {host}" if host != socket.gethostname() else "")


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
