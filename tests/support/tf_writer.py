"""Writes small checkpoints in TensorFlow's format, for tests of the reader and the converters."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spinet.convert.tf_checkpoint import masked_crc32c

MAGIC = 0xDB4775248B80FB57
TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
RESTART = 16


def varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def content(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Entries with shared beginnings left out, restart points, and their number."""
    data, restarts, last = b"", [], b""
    for index, (key, value) in enumerate(entries):
        shared = 0
        if index % RESTART == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return data + b"".join(each.to_bytes(4, "little") for each in [*restarts, len(restarts)])


def table(entries: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """A whole index file, its entries in blocks of 40."""
    data, handles = b"", []

    def add(items: list[tuple[bytes, bytes]]) -> bytes:
        nonlocal data
        body = block(items)
        handle = varint(len(data)) + varint(len(body))
        body += bytes([compression])
        data += body + masked_crc32c(body).to_bytes(4, "little")
        return handle

    for start in range(0, len(entries), 40):
        part = entries[start : start + 40]
        handles.append((part[-1][0], add(part)))
    footer = add([]) + add(handles)
    return data + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def write_checkpoint(
    prefix: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    strings: Mapping[str, bytes] | None = None,
    shards: int = 1,
    compression: int = 0,
    types: Mapping[str, int] | None = None,
) -> Path:
    """Write a checkpoint of some variables and return its prefix; `types` replaces the number of a type."""
    files = [b""] * shards
    entries = {}
    for index, name in enumerate(sorted([*tensors, *(strings or {})])):
        shard = index % shards
        if name in tensors:
            value = np.ascontiguousarray(tensors[name])
            data = checked = value.tobytes()
            shape = b"".join(content(2, number(1, side)) for side in tensors[name].shape)
            kind = (types or {}).get(name, TYPES[str(value.dtype)])
        else:
            text, shape, kind = strings[name], b"", 7
            length = len(text).to_bytes(4, "little")
            check = masked_crc32c(length).to_bytes(4, "little")
            data, checked = varint(len(text)) + check + text, length + check + text
        facts = number(1, kind) + content(2, shape) + number(3, shard) + number(4, len(files[shard]))
        crc = varint(6 << 3 | 5) + masked_crc32c(checked).to_bytes(4, "little")
        entries[name.encode()] = facts + number(5, len(data)) + crc
        files[shard] += data
    header = number(1, shards) + content(3, number(1, 1))
    index = table([(b"", header), *sorted(entries.items())], compression)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}.index").write_bytes(index)
    for index, data in enumerate(files):
        prefix.with_name(f"{prefix.name}.data-{index:05}-of-{shards:05}").write_bytes(data)
    return prefix


def object_graph(layers: int) -> bytes:
    """The graph of an object whose child `backbone` has this many layers."""
    root = content(1, number(1, 1) + content(2, b"backbone"))
    backbone = b"".join(content(1, number(1, 2) + content(2, f"layer-{index}".encode())) for index in range(layers))
    return content(1, root) + content(1, backbone) + content(1, b"")
