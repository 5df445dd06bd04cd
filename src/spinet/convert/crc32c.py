"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, fast enough for a hundred megabytes without a C extension.

A checksum without its two inversions is linear over GF(2): the state after two pieces is the first piece's, moved on by
the second's length, exclusive-or the second's. So long data is cut into equal lanes that numpy takes side by side.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78  # reflected, as in RFC 3720
MASK_DELTA = 0xA282EAD8  # tensorflow/tsl/lib/hash/crc32c.h
SHORT = 2048  # bytes up to which a plain loop is faster
MAX_LANES = 4096
LANE_WORDS = 64


def crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of `data`.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if len(data) <= SHORT:
        state = 0xFFFFFFFF
        for byte in bytes(data):
            state = _BYTE_TABLE[(state ^ byte) & 0xFF] ^ (state >> 8)
        return state ^ 0xFFFFFFFF
    return _long(data) ^ 0xFFFFFFFF


def mask(checksum: int) -> int:
    """Return the form in which TensorFlow stores a checksum, so that checksums of checksums stay sound."""
    return (((checksum >> 15) | (checksum << 17)) + MASK_DELTA) & 0xFFFFFFFF


def _long(data: bytes | memoryview) -> int:
    words = -(-len(data) // 4)
    lanes = min(MAX_LANES, 1 << max(0, (words // LANE_WORDS).bit_length() - 1))
    steps = -(-words // lanes)
    # Zeros in front leave a zero state alone; starting from all ones is inverting the first four bytes.
    buffer = np.zeros(lanes * steps * 4, np.uint8)
    start = len(buffer) - len(data)
    buffer[start:] = np.frombuffer(data, np.uint8)
    buffer[start : start + 4] ^= 0xFF
    columns = buffer.view("<u4").reshape(lanes, steps)
    low, high = _half_word_tables()
    state = np.zeros(lanes, np.uint32)
    for step in range(steps):
        state ^= columns[:, step]
        state = low[state & 0xFFFF] ^ high[state >> 16]
    length = steps * 4
    while len(state) > 1:
        state = _apply(_zeros(length), state[0::2]) ^ state[1::2]
        length *= 2
    return int(state[0])


def _apply(matrix: Sequence[int], vectors: Words) -> Words:
    """Multiply every vector by a matrix over GF(2), given as the images of the 32 bits."""
    result = np.zeros_like(vectors)
    for bit, image in enumerate(matrix):
        result ^= ((vectors >> np.uint32(bit)) & np.uint32(1)) * np.uint32(image)
    return result


@lru_cache(maxsize=256)
def _zeros(length: int) -> tuple[int, ...]:
    """Return the matrix that moves a state on by `length` zero bytes."""
    if length == 1:
        return tuple(_BYTE_TABLE[(1 << bit) & 0xFF] ^ ((1 << bit) >> 8) for bit in range(32))
    half = _zeros(length // 2)
    doubled = _apply(half, np.array(half, np.uint32))
    if length % 2:
        doubled = _apply(_zeros(1), doubled)
    return tuple(int(image) for image in doubled)


@lru_cache(maxsize=1)
def _half_word_tables() -> tuple[Words, Words]:
    """Tables that take a state through four bytes: of its lower and of its upper 16 bits."""
    values = np.arange(1 << 16, dtype=np.uint32)
    matrix = _zeros(4)
    return _apply(matrix, values), _apply(matrix, values << np.uint32(16))


def _byte_table() -> tuple[int, ...]:
    table = []
    for state in range(256):
        for _ in range(8):
            state = (state >> 1) ^ (POLYNOMIAL if state & 1 else 0)
        table.append(state)
    return tuple(table)


_BYTE_TABLE = _byte_table()
