import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinet.errors import SpinetError
from spinet.models.options import BackboneOptions
from spinet.models.resample import Resample, level_size, max_pool, pool_to, resize, tpu_pool


def row(*values: float) -> torch.Tensor:
    """Features of one channel, as many rows as columns, that change along the columns only."""
    return torch.tensor(values).expand(1, 1, len(values), -1).contiguous()


def first_row(features: torch.Tensor) -> list[float]:
    return features[0, 0, 0].tolist()


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_halving_a_size_level_by_level_and_rounding_up_gives_the_same_as_one_division(height, width):
    size = (height, width)
    for level in range(1, 8):
        size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        assert level_size((height, width), level) == size


@pytest.mark.parametrize("mode", ["symmetric", "mg", "tpu"])
@pytest.mark.parametrize("size", [(6, 6), (7, 9), (8, 5), (1, 2)])
def test_max_pool_equals_a_pool_written_as_loops(mode, size):
    # Negative values: a pool padded with zeros would show.
    torch.manual_seed(0)
    features = torch.rand(2, 3, *size) - 2
    rows, columns = math.ceil(size[0] / 2), math.ceil(size[1] / 2)
    expected = torch.empty(2, 3, rows, columns)
    for i in range(rows):
        for j in range(columns):
            # Symmetric windows start one before; SAME ones too, but only where the length is odd.
            top = 2 * i - (1 if mode == "symmetric" else size[0] % 2)
            left = 2 * j - (1 if mode == "symmetric" else size[1] % 2)
            window = features[:, :, max(top, 0) : top + 3, max(left, 0) : left + 3]
            expected[:, :, i, j] = window.amax(dim=(2, 3))

    assert torch.equal(max_pool(features, 3, 2, mode), expected)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 6))
def test_enlarging_by_a_whole_factor_repeats_each_pixel(height, width, factor):
    features = torch.arange(float(height * width)).reshape(1, 1, height, width)

    enlarged = resize(features, (height * factor, width * factor))

    expected = features.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    assert torch.equal(enlarged, expected)


@given(st.integers(1, 40), st.integers(1, 40))
def test_nearest_resizing_takes_pixel_floor_of_i_times_in_over_out(before, after):
    features = row(*range(before)).float()

    resized = resize(features, (before, after))

    # The factor is a float of 32 bits inside, here as in TensorFlow, so that a whole number may be missed by a hair.
    for i, pixel in enumerate(first_row(resized)):
        assert pixel in (i * before // after, (i * before - 1) // after)


def test_resizing_to_the_same_size_changes_nothing():
    features = torch.rand(1, 2, 3, 4)

    assert resize(features, (3, 4)) is features


def test_in_tpu_mode_a_224_image_pools_14_to_7_to_3_and_takes_the_nearest_2():
    # Level 4 to level 7 of a 224 image: 14 columns, 7 after the stride-2 convolution, 2 wanted.
    features = row(0.0, 1, 2, 3, 4, 5, 6)

    pooled = tpu_pool(features, before=14, target=2)
    shrunk = pool_to(pooled, (2, 2), "tpu")

    # Ratio 7: kernel 5, stride 3; windows (-2..2), (1..5), (4..8). Of the three, nearest takes 0 and floor(3/2) = 1.
    assert first_row(pooled) == [2, 5, 6]
    assert first_row(shrunk) == [2, 5]


def test_in_mg_mode_7_columns_pool_to_4_to_2():
    # SAME windows of 7: (-1..1), (1..3), (3..5), (5..7) -> 1 3 5 6; of 4: (0..2), (2..4) -> 5 6.
    assert first_row(pool_to(row(0.0, 1, 2, 3, 4, 5, 6), (2, 2), "mg")) == [5, 6]


def test_in_symmetric_mode_8_columns_pool_to_4_to_2():
    # Windows of 8: (-1..1), (1..3), (3..5), (5..7) -> 1 3 5 7; of 4: (-1..1), (1..3) -> 3 7.
    assert first_row(pool_to(row(0.0, 1, 2, 3, 4, 5, 6, 7), (2, 2), "symmetric")) == [3, 7]


@pytest.mark.parametrize(
    ("before", "target", "expected"),
    [
        (16, 8, [0, 1, 2, 3, 4, 5, 6, 7]),  # ratio 2: the convolution was enough
        (16, 4, [2, 4, 6, 7]),  # ratio 4: kernel 3, stride 2, windows (0..2), (2..4), (4..6), (6..8)
        (16, 2, [4, 7]),  # ratio 8: kernel 5, stride 4, windows (0..4), (4..8)
    ],
)
def test_tpu_pools_once_by_what_the_convolution_left_over(before, target, expected):
    assert first_row(tpu_pool(row(0.0, 1, 2, 3, 4, 5, 6, 7), before, target)) == expected


@pytest.mark.parametrize("mode", ["symmetric", "mg", "tpu"])
@pytest.mark.parametrize(("size", "down"), [((9, 13), False), ((17, 25), False), ((5, 7), True), ((2, 2), True)])
def test_a_resampling_gives_the_wanted_channels_and_size(mode, size, down):
    resample = Resample(6, 3, 10, BackboneOptions(pool_mode=mode), down=down)

    assert resample(torch.randn(2, 6, 9, 13), size).shape == (2, 10, *size)


def test_a_resampling_within_a_level_has_both_1x1_convolutions_and_no_last_activation():
    torch.manual_seed(0)
    resample = Resample(6, 3, 10, BackboneOptions(), down=False)
    features = torch.randn(2, 6, 8, 8)

    output = resample(features, (8, 8))

    assert torch.equal(output, resample.expand(resample.reduce(features)))
    assert output.min() < 0
    assert {name.split(".")[0] for name, _ in resample.named_parameters()} == {"reduce", "expand"}


def test_a_resampling_upwards_enlarges_before_its_last_convolution_without_mixing_pixels():
    resample = Resample(6, 3, 10, BackboneOptions(), down=False).eval()

    output = resample(torch.randn(1, 6, 2, 2), (4, 4))

    assert torch.equal(output, output[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_an_unknown_pool_mode_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown pool_mode 'tpuu', did you mean 'tpu'"):
        BackboneOptions(pool_mode="tpuu")


def test_ports_pool_once_with_symmetric_padding():
    features = torch.randn(1, 2, 8, 8)
    pooled = tpu_pool(features, before=16, target=2, mode="mmdet")
    torch.testing.assert_close(pooled, torch.nn.functional.max_pool2d(features, 5, 4, padding=2))
    pooled = tpu_pool(features, before=16, target=4, mode="mmdet")
    torch.testing.assert_close(pooled, torch.nn.functional.max_pool2d(features, 3, 2, padding=1))
