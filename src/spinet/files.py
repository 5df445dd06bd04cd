"""Files written so that a reader never sees half of one, and JSON read with errors that name the file."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from spinet.errors import SpinetError

T = TypeVar("T")

# Of JSON that is read whole and holds no dataset.
MAX_BYTES = 32 * 2**20


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to a temporary file beside `path`, flush it to disk and rename it into place.

    Whatever happens, `path` holds either its old content or all of the new one. The temporary name is short: that of
    `path` may be as long as the file system allows.

    Raises:
        SpinetError: the file could not be written (a full disk, a missing permission).
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
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
            + ("; the file there before is untouched" if _identity(path) else "")
        ) from error


def refuse_replacing(outputs: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse an output that would replace a source or another output."""
    originals = {identity for source in sources if (identity := _identity(source)) is not None}
    taken: set[Path] = set()
    for output in outputs:
        if _identity(output) in originals:
            raise SpinetError(f"{output} would be written over, and it is one of the originals; choose another folder")
        if output in taken:
            raise SpinetError(
                f"{output} would be written twice, for two originals of this name; do one after the other"
            )
        taken.add(output)


def unique_names(names: Iterable[str]) -> list[str]:
    """Number names that are taken already; case does not count, because some file systems ignore it.

    >>> unique_names(["a", "A", "b", "a"])
    ['a', 'A-2', 'b', 'a-3']
    """
    unique: dict[str, str] = {}
    for name in names:
        numbered, number = name, 1
        while numbered.casefold() in unique:
            number += 1
            numbered = f"{name}-{number}"
        unique[numbered.casefold()] = numbered
    return list(unique.values())


def unique_file_names(paths: Iterable[Path]) -> list[str]:
    """Number the names of files that are taken already, before the suffix.

    >>> unique_file_names([Path("x/a.jpg"), Path("x/a.png"), Path("y/a.jpg")])
    ['a.jpg', 'a.png', 'a-2.jpg']
    """
    unique: dict[str, str] = {}
    for path in paths:
        numbered, number = path.name, 1
        while numbered.casefold() in unique:
            number += 1
            numbered = f"{path.stem}-{number}{path.suffix}"
        unique[numbered.casefold()] = numbered
    return list(unique.values())


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, whatever names and links lead to it; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def parse_json(text: str | bytes, where: str) -> Any:
    """Return what a JSON text holds, as bytes in UTF-8, UTF-16 or UTF-32; `where` names it in errors.

    Raises:
        SpinetError: it is not JSON, or beyond what Python reads: thousands of brackets, or of digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except UnicodeDecodeError as error:
        reason = f"byte {error.start:,} is not {error.encoding.upper()} text"
    except RecursionError:
        reason = "it is nested too deeply"
    except MemoryError:
        raise SpinetError(f"{where} does not fit into memory") from None
    except ValueError:
        reason = "an integer has thousands of digits"
    raise SpinetError(f"{where} is not valid JSON: {reason}")


def read_content(path: Path) -> bytes:
    """Return the content of a small file, of settings or of an architecture.

    Raises:
        OSError: the file cannot be read.
        SpinetError: it is far larger than such files are.
    """
    if path.is_file() and (size := path.stat().st_size) > MAX_BYTES:
        raise SpinetError(f"{path} has {size / 2**20:,.0f} MB; at most {MAX_BYTES / 2**20:,.0f} MB are expected")
    return path.read_bytes()


def load_json(path: Path, what: str, read: Callable[[Path], bytes] = Path.read_bytes) -> Any:
    """Return the content of a JSON file, of any size unless `read` has a limit; errors call it `what`."""
    try:
        content = read(path)
    except (OSError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not fit into memory"
        raise SpinetError(f"could not read the {what} {path}: {reason}") from None
    return parse_json(content, str(path))


def read_json(path: Path, what: str, build: Callable[[Any], T]) -> T:
    """Return what `build` makes of the JSON in a small file; errors call it `what`."""
    tree = load_json(path, what, read_content)
    try:
        return build(tree)
    except SpinetError as error:
        raise SpinetError(f"{path}: {error}") from None
