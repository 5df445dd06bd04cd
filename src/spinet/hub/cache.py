"""The folder of fetched weights: `NAME.safetensors` with a record beside it, `NAME.partial` while it is transferred."""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import msgspec
import platformdirs

from spinet.errors import SpinetError
from spinet.files import parse_json, write_atomically
from spinet.locks import try_lock
from spinet.text import megabytes

CACHE = "SPINET_CACHE"
OFFLINE = "SPINET_OFFLINE"
# Seconds between two tries for a lock.
_PAUSE = 0.2
# Bytes left free on the disk.
SPARE = 16 << 20


def is_offline() -> bool:
    """Whether the environment forbids transfers."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


@dataclass(frozen=True)
class Record:
    """What is known of a file in the cache.

    Args:
        address: where it comes from.
        sha256: checksum of the file.
        bytes: its size.
        source_sha256: checksum of what was at the address.
        source_bytes: size of that.
    """

    address: str
    sha256: str
    bytes: int
    source_sha256: str
    source_bytes: int


@dataclass(frozen=True)
class Slot:
    """The files of one name in the cache."""

    folder: Path
    name: str

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def record(self) -> Path:
        """What is known of it; written after it, so without a record it is not there."""
        return self.folder / f"{self.name}.json"

    @property
    def partial(self) -> Path:
        """What has been transferred so far."""
        return self.folder / f"{self.name}.partial"

    @property
    def partial_record(self) -> Path:
        """Where that comes from."""
        return self.folder / f"{self.name}.partial.json"

    @property
    def work(self) -> Path:
        """The folder for unpacking."""
        return self.folder / f"{self.name}.unpacked"

    def is_stored(self) -> bool:
        """Whether there is a file, without reading it."""
        return self.record.is_file() and self.weights.is_file()

    def stored(self, address: str) -> Path | None:
        """Return the weights file if it came from `address`, None if there is none.

        Raises:
            SpinetError: it is not as it was when it was stored.
        """
        if not self.is_stored():
            return None
        try:
            record = msgspec.convert(parse_json(self.record.read_bytes(), str(self.record)), Record)
            if record.address != address:
                return None
            intact = self.weights.stat().st_size == record.bytes and sha256_of(self.weights) == record.sha256
        except (OSError, msgspec.ValidationError, SpinetError):
            intact = False
        if not intact:
            raise SpinetError(f"{self.weights} is corrupt: it is not as it was when it was fetched")
        return self.weights

    def keep(self, made: Path, record: Record) -> None:
        """Move a finished weights file into place, write its record and remove what it was made from."""
        try:
            self.record.unlink(missing_ok=True)
            made.replace(self.weights)
        except OSError as error:
            raise SpinetError(f"could not write {self.weights}: {error.strerror}") from error
        write_atomically(self.record, json.dumps(asdict(record), indent=1) + "\n")
        self.forget_partial()

    def forget_partial(self) -> None:
        """Remove what has been transferred."""
        self.partial.unlink(missing_ok=True)
        self.partial_record.unlink(missing_ok=True)

    def remove(self) -> int:
        """Remove everything of this name; return the bytes that were freed."""
        files = [self.record, self.weights, self.partial, self.partial_record]
        try:
            # A process that was killed while it unpacked has left its folder.
            inside = [file for file in self.work.rglob("*") if file.is_file()] if self.work.is_dir() else []
            freed = sum(file.stat().st_size for file in [*files, *inside] if file.is_file())
            for file in files:
                file.unlink(missing_ok=True)
            if self.work.is_dir():
                shutil.rmtree(self.work)
        except OSError as error:
            raise SpinetError(f"could not remove {self.weights}: {error.strerror}") from None
        return freed

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Create an empty folder for the block."""
        shutil.rmtree(self.work, ignore_errors=True)  # of a process that was killed
        try:
            self.work.mkdir(parents=True)
            yield self.work
        except OSError as error:
            raise SpinetError(f"could not write to {self.folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def exclusive(self, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Keep other processes away from this name in the block; `waiting` is called once if one is there already."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = FileIO(self.folder / f"{self.name}.lock", "a+")
        except OSError as error:
            raise SpinetError(f"could not write to the cache {self.folder}: {error.strerror} (${CACHE})") from None
        with file:
            said = False
            with suppress(OSError):  # a file system without locks
                while not try_lock(file):
                    if not said:
                        waiting()
                    said = True
                    time.sleep(_PAUSE)
            yield


def slot(name: str) -> Slot:
    """Return the files of a name in the cache of this user."""
    return Slot(folder(), name)


def folder() -> Path:
    """Return the cache: `$SPINET_CACHE`, else `spinet` in the platform's folder for caches."""
    given = os.environ.get(CACHE)
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("spinet", appauthor=False))


def check_room(folder: Path, size: int, verb: str) -> None:
    """Raise a SpinetError, caused by an OSError, if there is no room for `size` bytes in a folder."""
    free = shutil.disk_usage(folder).free
    if size + SPARE > free:
        raise SpinetError(
            f"the disk of {folder} is too full: {megabytes(size)} are to {verb}, and {megabytes(free)} are free"
        ) from OSError(errno.ENOSPC, "no space")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
