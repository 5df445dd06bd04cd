import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinet.tools import crc32c as module
from spinet.tools.crc32c import crc32c, mask


def bit_by_bit(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


# RFC 3720, appendix B.4.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_checksums_are_those_of_the_standard(data, expected):
    assert crc32c(data) == expected


@given(st.integers(0, 9000), st.integers(0, 2**32 - 1))
def test_lanes_give_what_a_plain_loop_gives(length, seed):
    data = np.random.default_rng(seed).bytes(length)
    assert crc32c(data) == bit_by_bit(data)


@pytest.mark.parametrize("length", [4, 5, 255, 256, 257, 4096, 300_001])
def test_lanes_take_every_length(length):
    data = np.random.default_rng(length).bytes(length)
    assert module._long(data) ^ 0xFFFFFFFF == bit_by_bit(data)


def test_the_mask_is_tensorflows():
    # The smallest numbers in tensorflow/tsl/lib/hash/crc32c_test.cc say only that it changes; this one is by hand.
    assert mask(0) == 0xA282EAD8
    assert mask(0x00018000) == (0xA282EAD8 + 0x3 + (0x00018000 << 17 & 0xFFFFFFFF)) & 0xFFFFFFFF


def test_a_large_checkpoint_takes_thousands_of_steps_and_not_millions():
    # Lines of Python, because seconds are those of the machine.
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        crc32c(bytes(20_000_000))
    finally:
        sys.settrace(before)
    assert 1000 < lines < 20_000
