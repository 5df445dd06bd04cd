"""A model that `spinet pack` wrote as one .zip: read and verified without unpacking it."""

import hashlib
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile, ZipFile, ZipInfo

from safetensors.torch import load
from torch import Tensor

from spinet.errors import SpinetError, quoted
from spinet.files import parse_json

# Names of the weights and of the checksums, in a .zip and in a repository.
MODEL, CHECKSUMS = "model.safetensors", "checksums.txt"
# Limits of what is read, whatever the archive says: its files, and bytes of the weights and of any other file.
MOST_FILES, MOST_WEIGHTS, MOST_BYTES = 1000, 4 * 2**30, 64 * 2**20
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>\w[\w.-]*(?:/\w[\w.-]*)?)")


def read_packed(file: Path, names: Iterable[str] | None = None) -> dict[str, bytes]:
    """Return files of a packed model by name, each equal to its checksum.

    Args:
        file: the .zip.
        names: of the files; all that have a checksum if None, whose names are those of files or of one folder deep.

    Raises:
        SpinetError: it is no packed model, corrupt, or a file is missing, too large or not as its checksum says.
    """
    try:
        with ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if not {MODEL, CHECKSUMS} <= entries.keys():
                shown = ", ".join(sorted(entries)[:3]) or "nothing"
                raise SpinetError(
                    f"{file} is not a model of `spinet pack`: it holds {quoted(shown)} and so on, but not {MODEL} with "
                    f"{CHECKSUMS}"
                )
            if len(entries) > MOST_FILES:
                raise SpinetError(f"{file} holds {len(entries):,} files; a packed model has at most {MOST_FILES:,}")
            sums = _checksums(_content(archive, entries[CHECKSUMS], file), file)
            return {name: _verified(archive, entries, sums, name, file) for name in names or sums}
    except (BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise SpinetError(f"could not read {file}: {error!s:.60}; expected an intact .zip of `spinet pack`") from None
    except OSError as error:
        raise SpinetError(f"could not read {file}: {error.strerror or error}") from None


def checksums(files: dict[str, bytes]) -> str:
    """Return the checksums of files in the format of `sha256sum`."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))


class PackedWeights:
    """The weights in a packed model, with the interface of `safetensors.safe_open`."""

    def __init__(self, file: Path) -> None:
        content = read_packed(file, (MODEL,))[MODEL]
        self._tensors = load(content)
        header = parse_json(content[8 : 8 + int.from_bytes(content[:8], "little")], str(file))
        self._metadata: dict[str, str] = header.get("__metadata__", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tensors.clear()

    def metadata(self) -> dict[str, str]:
        """Return the metadata."""
        return self._metadata

    def keys(self) -> list[str]:
        """Return the names of the tensors."""
        return list(self._tensors)

    def get_tensor(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._tensors[name]

    def get_slice(self, name: str) -> Any:
        """Return what knows the shape of a tensor."""
        return _Shape(self._tensors[name])


class _Shape:
    def __init__(self, tensor: Tensor) -> None:
        self._shape = list(tensor.shape)

    def get_shape(self) -> list[int]:
        return self._shape


def _checksums(content: bytes, file: Path) -> dict[str, str]:
    lines = [_LINE.fullmatch(line) for line in content.decode("utf-8", "replace").splitlines()]
    sums = {line["name"]: line["digest"] for line in lines if line}
    if not all(lines) or MODEL not in sums:
        raise SpinetError(f"{CHECKSUMS} in {file} is not what `spinet pack` writes: expected lines of sha256sum")
    return sums


def _verified(archive: ZipFile, entries: dict[str, ZipInfo], sums: dict[str, str], name: str, file: Path) -> bytes:
    if name not in entries or name not in sums:
        raise SpinetError(f"{file} has no {quoted(name)} with a checksum; the archive is not complete")
    content = _content(archive, entries[name], file)
    if hashlib.sha256(content).hexdigest() != sums[name]:
        raise SpinetError(
            f"{name} in {file} does not have the checksum in {CHECKSUMS}: it was changed after packing; get the file "
            "again"
        )
    return content


def _content(archive: ZipFile, entry: ZipInfo, file: Path) -> bytes:
    """Return a file of an archive, never more than the limit, whatever its header says."""
    most = MOST_WEIGHTS if entry.filename == MODEL else MOST_BYTES
    with archive.open(entry) as source:
        content = source.read(most + 1) if entry.file_size <= most else b""
    if entry.file_size > most or len(content) > most:
        raise SpinetError(
            f"{entry.filename:.60} in {file} has over {most / 2**20:,.0f} MB, too much for a packed model"
        )
    return content
