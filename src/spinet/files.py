"""Writing files so that a reader never sees half of one."""

import os
import tempfile
from pathlib import Path

from spinet.errors import SpinetError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, flush it to disk and rename it into place.

    Whatever happens, `path` holds either its old content or all of the new one.

    Raises:
        SpinetError: the file could not be written (a full disk, a missing permission).
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise SpinetError(
            f"could not write {path} ({len(data):,} bytes): {error.strerror}"
            + ("; the file there before is untouched" if path.is_file() else "")
        ) from error
