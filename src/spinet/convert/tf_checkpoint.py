"""Reads TensorFlow checkpoints without TensorFlow, and verifies every checksum.

A checkpoint `PREFIX` is an index `PREFIX.index` from variable names to byte ranges in the shards
`PREFIX.data-0000i-of-0000n` (tensorflow/core/util/tensor_bundle; the index is a leveldb table,
tensorflow/tsl/lib/io/format.cc).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinet.convert.protobuf import Message, parse_message, read_varint
from spinet.errors import SpinetError
from spinet.extras import import_extra

MAGIC = 0xDB4775248B80FB57
MASK_DELTA = 0xA282EAD8  # tensorflow/tsl/lib/hash/crc32c.h
FOOTER_BYTES = 48

# tensorflow/core/framework/types.proto. numpy has no bfloat16: it is read as bits and widened to float32.
STRING, BFLOAT16 = 7, 14
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", BFLOAT16: "<u2", 19: "<f2"}


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint: `tensors` by variable name, and the bytes of its scalar strings."""

    where: str
    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    strings: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Variable:
    name: str
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def checkpoint_prefix(path: Path) -> Path:
    """Return the prefix that a path stands for: a prefix, one of its files, or the folder that holds them."""
    if path.is_dir():
        return _prefix_in(path)
    prefix = path.with_name(re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path.name))
    if not _index_of(prefix).is_file():
        raise SpinetError(f"there is no TensorFlow checkpoint {path}: {_index_of(prefix)} does not exist")
    return prefix


def read_checkpoint(path: Path) -> Checkpoint:
    """Read all variables of a checkpoint.

    Raises:
        SpinetError: a file is missing, truncated, corrupt or of another format; the message names it and the variable.
    """
    prefix = checkpoint_prefix(path)
    index = _index_of(prefix)
    try:
        header, *rows = _table(index.read_bytes(), index)
        if header[0]:
            raise SpinetError(f"{index} is not the index of a TensorFlow checkpoint: its header is missing")
        bundle = parse_message(header[1])
        if bundle.number(2):
            raise SpinetError(f"{index} was written on a big-endian machine, which is not supported")
        variables = [_variable(name.decode(), parse_message(value), index) for name, value in rows]
        return _read_shards(prefix, variables, bundle.number(1))
    except OSError as error:
        raise SpinetError(f"could not read {error.filename or index}: {error.strerror}") from None
    except SpinetError:
        raise
    except (IndexError, ValueError, OverflowError):
        raise SpinetError(f"{index} is corrupt: its contents cannot be parsed") from None


def masked_crc32c(data: bytes) -> int:
    """Return the checksum as TensorFlow stores it: masked, because a CRC of data that contains CRCs is weak.

    Raises:
        SpinetError: the package google-crc32c is not installed.
    """
    crc: int = import_extra("google_crc32c", "convert", "reading a TensorFlow checkpoint").value(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def _index_of(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _prefix_in(folder: Path) -> Path:
    listing = folder / "checkpoint"
    if listing.is_file():
        match = re.search(r'^model_checkpoint_path:\s*"(.+)"', listing.read_text(errors="replace"), re.MULTILINE)
        if match:
            # The path is that of the machine that wrote it; only its last part means anything here.
            return checkpoint_prefix(folder / Path(match[1]).name)
    indices = sorted(folder.glob("*.index"))
    if len(indices) != 1:
        raise SpinetError(f"the folder {folder} names no checkpoint and holds {len(indices)} .index files; name one")
    return checkpoint_prefix(indices[0])


def _table(data: bytes, where: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of an index file: footer -> index block -> data blocks."""
    if len(data) < FOOTER_BYTES or int.from_bytes(data[-8:], "little") != MAGIC:
        raise SpinetError(f"{where} is not the index of a TensorFlow checkpoint, or its end is missing")
    footer = data[-FOOTER_BYTES:]
    position = 0
    for _ in range(2):  # skip the handle (offset and size) of the metadata block
        _, position = read_varint(footer, position)
    for _, handle in _block(data, *_handle(footer, position), where):
        yield from _block(data, *_handle(handle, 0), where)


def _handle(data: bytes, position: int) -> tuple[int, int]:
    offset, position = read_varint(data, position)
    return offset, read_varint(data, position)[0]


def _block(data: bytes, offset: int, size: int, where: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block."""
    # The checksum covers the byte of the compression method that follows the block.
    content, trailer = data[offset : offset + size + 1], data[offset + size + 1 : offset + size + 5]
    if len(trailer) < 4 or int.from_bytes(trailer, "little") != masked_crc32c(content):
        raise SpinetError(f"{where} is corrupt: wrong checksum of the block at byte {offset}")
    if content[-1] != 0:
        raise SpinetError(f"{where} is compressed (method {content[-1]}), which is not supported")
    # A block ends with its restart points and their number. They speed up searching and are not needed to read it all.
    restarts = int.from_bytes(content[-5:-1], "little")
    end, position, key = size - 4 * (restarts + 1), 0, b""
    while position < end:
        # Keys are sorted and prefix-compressed: `shared` bytes of the key before, then `added` new ones.
        shared, position = read_varint(content, position)
        added, position = read_varint(content, position)
        length, position = read_varint(content, position)
        key = key[:shared] + content[position : position + added]
        position += added + length
        yield key, content[position - length : position]


def _variable(name: str, entry: Message, index: Path) -> _Variable:
    """Read a `BundleEntryProto` (tensorflow/core/protobuf/tensor_bundle.proto)."""
    if entry.messages(7):
        raise SpinetError(f"{index}: the variable {name} is stored in slices, which is not supported")
    shape = tuple(dimension.number(1) for part in entry.messages(2) for dimension in part.messages(2))
    return _Variable(name, entry.number(1), shape, *(entry.number(field) for field in (3, 4, 5, 6)))


def _read_shards(prefix: Path, variables: list[_Variable], shards: int) -> Checkpoint:
    result = Checkpoint(str(prefix))
    for shard in range(shards):
        in_shard = [variable for variable in variables if variable.shard == shard]
        file = prefix.with_name(f"{prefix.name}.data-{shard:05}-of-{shards:05}")
        expected = max((variable.offset + variable.size for variable in in_shard), default=0)
        if not file.is_file():
            raise SpinetError(f"the data file {file} is missing; {_index_of(prefix).name} expects {shards} such files")
        size = file.stat().st_size
        if size < expected:
            raise SpinetError(f"the data file {file} is truncated: expected {expected:,} bytes, found {size:,}")
        with file.open("rb") as content:
            for variable in in_shard:
                content.seek(variable.offset)
                _add(result, variable, content.read(variable.size), file)
    return result


def _add(result: Checkpoint, variable: _Variable, data: bytes, file: Path) -> None:
    """Verify the bytes of one variable and add its value to `result`."""
    scalar_string = variable.dtype == STRING and not variable.shape
    value, checked = _string(data) if scalar_string else (data, data)
    if variable.checksum != masked_crc32c(checked):
        raise SpinetError(f"{file} is corrupt: wrong checksum of the variable {variable.name}")
    if scalar_string:
        result.strings[variable.name] = value
        return
    if variable.dtype not in DTYPES:
        raise SpinetError(f"{file}: the variable {variable.name} has the unsupported dtype number {variable.dtype}")
    values = np.frombuffer(data, DTYPES[variable.dtype])
    if values.size != math.prod(variable.shape):
        raise SpinetError(f"{file}: the variable {variable.name} has {values.size} values, not shape {variable.shape}")
    if variable.dtype == BFLOAT16:
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    result.tensors[variable.name] = values.reshape(variable.shape)


def _string(data: bytes) -> tuple[bytes, bytes]:
    """Return a scalar string and the bytes that its checksum covers (`WriteStringTensor` in tensor_bundle.cc).

    The length is stored as a varint but enters the checksum as four bytes. A checksum of the length alone follows it.
    """
    length, position = read_varint(data, 0)
    return data[position + 4 : position + 4 + length], length.to_bytes(4, "little") + data[position:]
