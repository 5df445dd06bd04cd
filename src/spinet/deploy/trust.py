"""Which .pt2 files were exported here by this user, and so may be opened without asking.

`torch.export.load` unpickles, which runs code, before anything in the file can be checked. So each export is recorded:
the HMAC-SHA256 of the file, with a random key that only this user can read, names an empty file in the state folder.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from spinet.errors import NotTrusted, SpinetError

KEY_BYTES = 32


def read_program(path: Path, trust: bool = False) -> bytes:
    """Return the content of a .pt2 file that was exported here, or of any one with `trust`.

    Raises:
        SpinetError: the file cannot be read, or was exported by somebody else, elsewhere, or changed since.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpinetError(f"could not read {path}: {error.strerror}") from None
    if not trust and not was_exported_here(content):
        raise NotTrusted(
            f"{path} is not on record as exported here by this user, and opening a .pt2 file runs code inside it; ask "
            "for an ONNX file, which is only data, or turn on trust if you trust the source of this one"
        )
    return content


def record_export(content: bytes) -> str:
    """Record a .pt2 file as exported here; return why it could not be, and will need `trust`, or an empty string."""
    try:
        folder = state_folder()
        records = folder / "exported"
        records.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _read_key(folder) or _create_key(folder)
        (records / _digest(key, content)).touch(mode=0o600)
    except SpinetError as error:
        return str(error)
    except (OSError, RuntimeError) as error:
        return f"the state folder cannot be written: {getattr(error, 'strerror', None) or error}"
    return ""


def was_exported_here(content: bytes) -> bool:
    """Whether `record_export` was given the same bytes, with the key that is there now."""
    with suppress(OSError, RuntimeError):
        folder = state_folder()
        key = _read_key(folder)
        return key is not None and (folder / "exported" / _digest(key, content)).is_file()
    return False


def state_folder() -> Path:
    """Return the folder for what outlives a command: `$SPINET_STATE`, else `spinet` in the user's XDG state folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if given := os.environ.get("SPINET_STATE"):
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME", "")  # the specification ignores relative paths
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "spinet"


def _digest(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _read_key(folder: Path) -> bytes | None:
    file = folder / "secret" / "key"
    content = file.read_bytes() if file.is_file() else b""
    return content if len(content) == KEY_BYTES else None


def _create_key(folder: Path) -> bytes:
    """Create the key, readable by its owner only; of two processes at once, the first one's counts.

    It has a folder of its own, because renaming replaces a file, but no folder that holds one. A hard link would do
    without, and some file systems have none (exFAT, many network disks).

    Raises:
        OSError: the state folder cannot be written.
        SpinetError: there is a key, but not a whole one.
    """
    failure: OSError | None = None
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as temporary:
        made = Path(temporary) / "secret"
        made.mkdir(mode=0o700)
        with os.fdopen(os.open(made / "key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            made.rename(folder / "secret")
        except OSError as error:  # which one says that another key is there depends on the system
            failure = error
    key = _read_key(folder)
    if key is not None:
        return key
    if failure and not (folder / "secret").exists():
        raise failure
    raise SpinetError(f"the key in {folder / 'secret'} is corrupt; delete that folder for a new one")
