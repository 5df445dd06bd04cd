"""TensorFlow's checkpoint files, read without TensorFlow, every checksum verified.

A checkpoint `PREFIX` is a table `PREFIX.index` from variable names to places and shards `PREFIX.data-0000i-of-0000n`
of raw values (tensorflow/core/util/tensor_bundle; the table is leveldb's, tensorflow/tsl/lib/io/format.cc).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinet.convert.crc32c import crc32c, mask
from spinet.convert.protobuf import Message, parse_message, read_varint
from spinet.errors import SpinetError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48

# tensorflow/core/framework/types.proto. bfloat16 is widened after reading.
STRING, BFLOAT16 = 7, 14
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", BFLOAT16: "<u2", 19: "<f2"}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: `tensors` by variable name, and the bytes of its single strings."""

    where: str
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    strings: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def checkpoint_prefix(path: Path) -> Path:
    """Return the prefix that a path means: a prefix, one of its files, or the folder that holds them.

    Raises:
        SpinetError: there is no checkpoint.
    """
    if path.is_dir():
        return _prefix_in(path)
    prefix = path.with_name(re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path.name))
    if not _index_of(prefix).is_file():
        raise SpinetError(f"there is no TensorFlow checkpoint {path}: {_index_of(prefix)} does not exist")
    return prefix


def read_checkpoint(path: Path) -> Checkpoint:
    """Read all variables of a checkpoint.

    Raises:
        SpinetError: a file is missing, cut off, damaged or of another format; the sentence names it and the variable.
    """
    prefix = checkpoint_prefix(path)
    index = _index_of(prefix)
    try:
        header, *rows = _table(index.read_bytes(), index)
        if header[0]:
            raise SpinetError(f"{index} is not the index of a TensorFlow checkpoint: its header is missing")
        facts = parse_message(header[1])
        if facts.number(2):
            raise SpinetError(f"{index} was written on a big-endian machine, which is not supported")
        entries = [_entry(name.decode(), parse_message(value), index) for name, value in rows]
        return _read_shards(prefix, entries, facts.number(1))
    except OSError as error:
        raise SpinetError(f"could not read {error.filename or index}: {error.strerror}") from None
    except (IndexError, ValueError) as error:
        if isinstance(error, SpinetError):
            raise
        raise SpinetError(f"{index} is damaged: its contents make no sense") from None


def _index_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _prefix_in(folder: Path) -> Path:
    listing = folder / "checkpoint"
    if listing.is_file():
        found = re.search(r'^model_checkpoint_path:\s*"(.+)"', listing.read_text(errors="replace"), re.MULTILINE)
        if found:
            # A path of the machine that wrote it means nothing here; its last part does.
            return checkpoint_prefix(folder / Path(found[1]).name)
    indices = sorted(folder.glob("*.index"))
    if len(indices) != 1:
        raise SpinetError(f"the folder {folder} names no checkpoint and holds {len(indices)} .index files; name one")
    return checkpoint_prefix(indices[0])


def _table(data: bytes, where: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of an index file."""
    if len(data) < FOOTER_BYTES or int.from_bytes(data[-8:], "little") != MAGIC:
        raise SpinetError(f"{where} is not the index of a TensorFlow checkpoint, or its end is missing")
    footer = data[-FOOTER_BYTES:]
    place = 0
    for _ in range(2):  # the handle of the metadata block, which is not needed
        _, place = read_varint(footer, place)
    for _, handle in _block(data, *_handle(footer, place), where):
        yield from _block(data, *_handle(handle, 0), where)


def _handle(data: bytes, place: int) -> tuple[int, int]:
    offset, place = read_varint(data, place)
    return offset, read_varint(data, place)[0]


def _block(data: bytes, offset: int, size: int, where: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block, whose keys give only what differs from the key before."""
    content, trailer = data[offset : offset + size + 1], data[offset + size + 1 : offset + size + 5]
    if len(trailer) < 4 or int.from_bytes(trailer, "little") != mask(crc32c(content)):
        raise SpinetError(f"{where} is damaged: the checksum of its block at byte {offset} does not fit")
    if content[-1] != 0:
        raise SpinetError(f"{where} is compressed (method {content[-1]}), which is not supported")
    restarts = int.from_bytes(content[-5:-1], "little")
    end, place, key = size - 4 * (restarts + 1), 0, b""
    while place < end:
        shared, place = read_varint(content, place)
        fresh, place = read_varint(content, place)
        length, place = read_varint(content, place)
        key = key[:shared] + content[place : place + fresh]
        place += fresh + length
        yield key, content[place - length : place]


def _entry(name: str, facts: Message, index: Path) -> _Entry:
    if facts.messages(7):
        raise SpinetError(f"{index}: the variable {name} is stored in slices, which is not supported")
    shape = tuple(dimension.number(1) for part in facts.messages(2) for dimension in part.messages(2))
    return _Entry(name, facts.number(1), shape, facts.number(3), facts.number(4), facts.number(5), facts.number(6))


def _read_shards(prefix: Path, entries: list[_Entry], shards: int) -> Checkpoint:
    result = Checkpoint(str(prefix))
    for shard in range(shards):
        mine = [entry for entry in entries if entry.shard == shard]
        file = prefix.with_name(f"{prefix.name}.data-{shard:05}-of-{shards:05}")
        expected = max((entry.offset + entry.size for entry in mine), default=0)
        if not file.is_file():
            raise SpinetError(f"the data file {file} is missing; {_index_of(prefix).name} asks for {shards} such files")
        found = file.stat().st_size
        if found < expected:
            raise SpinetError(f"the data file {file} is cut off: {expected:,} bytes are expected, {found:,} found")
        with file.open("rb") as content:
            for entry in mine:
                content.seek(entry.offset)
                _keep(result, entry, content.read(entry.size), file)
    return result


def _keep(result: Checkpoint, entry: _Entry, data: bytes, file: Path) -> None:
    """Verify one variable's bytes and add its value to `result`."""
    text = _single_string(data) if entry.dtype == STRING and not entry.shape else None
    if entry.checksum != mask(crc32c(data if text is None else text.checked)):
        raise SpinetError(f"{file} is damaged: the checksum of the variable {entry.name} does not fit")
    if text is not None:
        result.strings[entry.name] = text.value
        return
    if entry.dtype not in DTYPES:
        raise SpinetError(
            f"{file}: the variable {entry.name} has the type number {entry.dtype}, which is not supported"
        )
    values = np.frombuffer(data, DTYPES[entry.dtype])
    if values.size != np.prod(entry.shape, dtype=np.int64):
        raise SpinetError(f"{file}: the variable {entry.name} has {values.size} values, not those of {entry.shape}")
    if entry.dtype == BFLOAT16:
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    result.tensors[entry.name] = values.reshape(entry.shape)


@dataclass(frozen=True)
class _String:
    value: bytes
    checked: bytes


def _single_string(data: bytes) -> _String:
    """Return a string and what its checksum is taken of (`WriteStringTensor` in tensor_bundle.cc)."""
    length, place = read_varint(data, 0)
    value = data[place + 4 : place + 4 + length]
    return _String(value, length.to_bytes(4, "little") + data[place:])
