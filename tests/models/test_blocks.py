import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spinet.errors import SpinetError
from spinet.models.blocks import (
    ACTIVATIONS,
    Conv2d,
    ConvBN,
    DropBlock,
    bottleneck_block,
    count_parameters,
    pad_same,
    residual_block,
    same_padding,
)
from spinet.models.options import BackboneOptions

OPTIONS = BackboneOptions()


@pytest.mark.parametrize(
    ("length", "kernel_size", "stride", "expected"),
    [
        (256, 3, 2, (0, 1)),  # 127 * 2 + 3 - 256 = 1
        (640, 7, 2, (2, 3)),  # 319 * 2 + 7 - 640 = 5
        (16, 5, 4, (0, 1)),  # 3 * 4 + 5 - 16 = 1
        (7, 3, 2, (1, 1)),  # 3 * 2 + 3 - 7 = 2
        (7, 5, 3, (2, 2)),  # 2 * 3 + 5 - 7 = 4
        (10, 3, 1, (1, 1)),
        (10, 1, 1, (0, 0)),
        (4, 1, 4, (0, 0)),  # 0 * 4 + 1 - 4 is below 0: nothing to add
    ],
)
def test_same_padding_puts_the_odd_zero_behind(length, kernel_size, stride, expected):
    assert same_padding(length, kernel_size, stride) == expected


@given(st.integers(1, 2000), st.integers(1, 9), st.integers(1, 5))
def test_same_padding_gives_ceil_sizes_and_is_even_but_for_one(length, kernel_size, stride):
    before, after = same_padding(length, kernel_size, stride)

    assert (before + length + after - kernel_size) // stride + 1 == math.ceil(length / stride)
    assert after - before in (0, 1)


def test_padding_pads_height_and_width_each_by_its_own_rule():
    images = torch.ones(1, 1, 4, 7)

    padded = pad_same(images, kernel_size=3, stride=2, value=5.0)

    assert padded.shape == (1, 1, 5, 9)  # 4 has (0, 1) and 7 has (1, 1)
    assert (padded[0, 0, 0, 1:8] == 1).all()
    assert (padded[0, 0, 4] == 5).all()
    assert (padded[0, 0, :, 0] == 5).all()
    assert (padded[0, 0, :, 8] == 5).all()


@pytest.mark.parametrize(("kernel_size", "length"), [(3, 8), (7, 8), (7, 10)])
def test_the_two_pad_modes_differ_at_stride_2_and_even_sizes_but_have_one_shape(kernel_size, length):
    images = torch.randn(2, 3, length, length)
    symmetric = Conv2d(3, 4, kernel_size, stride=2, pad_mode="symmetric")
    same = Conv2d(3, 4, kernel_size, stride=2, pad_mode="same")
    same.load_state_dict(symmetric.state_dict())

    assert same(images).shape == symmetric(images).shape == (2, 4, length // 2, length // 2)
    assert not torch.allclose(same(images), symmetric(images), atol=1e-2)


@pytest.mark.parametrize(("stride", "length"), [(2, 7), (2, 9), (1, 8), (1, 7)])
def test_the_two_pad_modes_agree_at_odd_sizes_and_at_stride_1(stride, length):
    images = torch.randn(2, 3, length, length)
    symmetric = Conv2d(3, 4, 3, stride, pad_mode="symmetric")
    same = Conv2d(3, 4, 3, stride, pad_mode="same")
    same.load_state_dict(symmetric.state_dict())

    torch.testing.assert_close(same(images), symmetric(images))


def test_same_padding_of_a_convolution_looks_at_the_pixel_behind():
    # Kernel of ones, image 1 2 3 4 in a row of height 1: SAME windows at even length are (1 2 3) and (3 4 0),
    # symmetric ones (0 1 2) and (2 3 4).
    images = torch.tensor([1.0, 2, 3, 4]).reshape(1, 1, 1, 4)
    same, symmetric = (Conv2d(1, 1, 3, 2, pad_mode=mode) for mode in ("same", "symmetric"))
    nn.init.ones_(same.weight)
    nn.init.ones_(symmetric.weight)

    assert same(images).flatten().tolist() == [6, 7]
    assert symmetric(images).flatten().tolist() == [3, 9]


def test_an_unknown_pad_mode_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown pad_mode 'symetric', did you mean 'symmetric'"):
        BackboneOptions(pad_mode="symetric")


def test_swish_is_x_times_its_sigmoid_and_relu_cuts_off_at_zero():
    values = torch.linspace(-5, 5, 21)

    torch.testing.assert_close(ACTIVATIONS["swish"](values), values * torch.sigmoid(values))
    assert torch.equal(ACTIVATIONS["relu"](values), values.clamp(min=0))


def test_an_unknown_activation_is_refused_with_the_nearest_match_and_the_known_ones():
    with pytest.raises(SpinetError) as error:
        BackboneOptions(activation="swich")

    assert str(error.value) == "unknown activation 'swich', did you mean 'swish'? Known: hard_swish, relu, swish."


@pytest.mark.parametrize(("in_channels", "kernel_size"), [(64, 3), (400, 1), (8, 7)])
def test_weights_have_a_variance_of_one_over_fan_in_and_no_tails(in_channels, kernel_size):
    torch.manual_seed(0)
    fan_in = in_channels * kernel_size**2

    weight = Conv2d(in_channels, 500, kernel_size).weight

    # At least 196,000 draws: their variance is within 0.4 % of the distribution's, mostly.
    assert weight.var().item() == pytest.approx(1 / fan_in, rel=0.02)
    assert weight.mean().item() == pytest.approx(0, abs=0.01 * fan_in**-0.5)
    # Cut off at two standard deviations of the normal before the cut.
    assert weight.abs().max().item() <= 2 / 0.8796 * fan_in**-0.5


def test_a_convolution_has_no_bias_by_default_and_initializes_it_to_zero():
    assert Conv2d(3, 4).bias is None
    assert Conv2d(3, 4, bias=True).bias.tolist() == [0, 0, 0, 0]


def test_a_convolution_with_batch_norm_has_no_activation_unless_asked_for():
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    plain, active = ConvBN(3, 4), ConvBN(3, 4, activation=True)
    active.load_state_dict(plain.state_dict())

    assert plain(images).min() < 0
    assert torch.equal(active(images), plain(images).clamp(min=0))


def test_epsilon_and_momentum_reach_the_batch_norm():
    norm = ConvBN(3, 4, BackboneOptions(bn_eps=1e-4, bn_momentum=0.003)).norm

    assert (norm.eps, norm.momentum) == (1e-4, 0.003)


@pytest.mark.parametrize(
    ("make", "in_channels", "expected"),
    [
        # Two 3x3 convolutions with batch norm.
        (residual_block, 8, 8 * 8 * 9 + 16 + 8 * 8 * 9 + 16),
        # The same from 6 channels, and a 1x1 projection.
        (residual_block, 6, 6 * 8 * 9 + 16 + 8 * 8 * 9 + 16 + 6 * 8 + 16),
        # 1x1 32 -> 8, 3x3 8 -> 8, 1x1 8 -> 32.
        (bottleneck_block, 32, 32 * 8 + 16 + 8 * 8 * 9 + 16 + 8 * 32 + 64),
        (bottleneck_block, 8, 8 * 8 + 16 + 8 * 8 * 9 + 16 + 8 * 32 + 64 + 8 * 32 + 64),
    ],
)
def test_blocks_have_the_convolutions_of_the_paper_and_project_only_when_channels_change(make, in_channels, expected):
    block = make(in_channels, 8, OPTIONS)

    assert count_parameters(block) == expected


def test_a_block_adds_its_input_before_the_last_activation():
    torch.manual_seed(0)
    block = residual_block(4, 4, OPTIONS).eval()
    images = torch.randn(2, 4, 5, 5)
    first, second = block.convs

    assert torch.equal(block(images), (second(first(images)) + images).clamp(min=0))


def test_a_dropped_branch_leaves_the_activated_input():
    block = residual_block(4, 4, OPTIONS, stochastic_depth=1.0)
    images = torch.randn(2, 4, 5, 5)

    assert torch.equal(block.train()(images), images.clamp(min=0))
    assert not torch.equal(block.eval()(images), images.clamp(min=0))


def test_a_kept_branch_is_divided_by_the_chance_to_be_kept_sample_by_sample():
    torch.manual_seed(0)
    block = residual_block(4, 4, OPTIONS, stochastic_depth=0.25)
    block.convs.eval()  # batch norm apart, each sample has one of two outputs
    images = torch.rand(200, 4, 5, 5)
    branch = block.convs[1](block.convs[0](images))

    output = block(images)

    dropped = (output == images.clamp(min=0)).flatten(1).all(dim=1)
    expected = (branch / 0.75 + images).clamp(min=0)
    torch.testing.assert_close(output[~dropped], expected[~dropped])
    assert 20 < dropped.sum() < 80  # 50 of 200 expected, standard deviation 6


def test_dropblock_drops_from_a_projection_but_never_from_the_bare_input():
    torch.manual_seed(0)
    images = torch.rand(2, 4, 9, 9)
    wide = images.repeat(1, 4, 1, 1)
    bare = bottleneck_block(16, 4, OPTIONS, dropblock=0.3)
    projected = bottleneck_block(4, 4, OPTIONS, dropblock=0.3)
    for block in (bare, projected):
        nn.init.zeros_(block.convs[-1].norm.weight)  # the branch adds nothing: what is left is the shortcut
    shortcut = projected.shortcut(images).clamp(min=0)

    output = projected(images)

    assert torch.equal(bare(wide), wide)
    dropped = (output == 0) & (shortcut > 0)
    assert 0.1 < dropped.sum() / (shortcut > 0).sum() < 0.5
    # What is kept grows by one factor, in all the batch alike.
    factors = output[output > 0] / shortcut[output > 0]
    assert factors.min() > 1.1
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))


def test_dropblock_drops_from_identity_shortcuts_in_the_later_code_of_tpu():
    torch.manual_seed(0)
    block = residual_block(4, 4, BackboneOptions(dropblock_places="tpu"), dropblock=0.3)
    nn.init.zeros_(block.convs[-1].norm.weight)  # the branch adds nothing: what is left is the shortcut
    images = torch.rand(2, 4, 9, 9)

    output = block(images)

    assert 0.1 < (output == 0).float().mean() < 0.5
    factors = output[output > 0] / images[output > 0]
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))


@pytest.mark.parametrize(("probability", "side"), [(0.1, 3), (0.1, 1), (0.3, 5)])
def test_dropblock_drops_about_the_given_fraction_and_keeps_the_sum(probability, side):
    torch.manual_seed(0)
    ones = torch.ones(40, 20, 24, 32)

    dropped = DropBlock(probability, side)(ones)

    # Squares overlap, so that somewhat less than the asked share is gone.
    share = (dropped == 0).float().mean().item()
    assert 0.8 * probability < share < 1.02 * probability
    # What is kept is divided by the kept share: the mean stays one.
    assert dropped.mean().item() == pytest.approx(1, rel=1e-4)


def test_dropblock_drops_whole_squares():
    torch.manual_seed(0)
    dropped = (DropBlock(0.05, side=3)(torch.ones(50, 4, 12, 12)) == 0).float()

    # Of a union of 3x3 squares every pixel lies in a full 3x3 window: opening by that window changes nothing.
    full = -F.max_pool2d(-dropped, 3, stride=1)
    opened = F.max_pool2d(F.pad(full, (2,) * 4), 3, stride=1)
    assert 0 < dropped.mean() < 0.1
    assert torch.equal(opened, dropped)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 5), (3, 2), (4, 4)])
def test_dropblock_accepts_maps_smaller_than_its_squares(size):
    torch.manual_seed(0)
    features = torch.randn(64, 8, *size)

    dropped = DropBlock(0.3, side=3)(features)

    assert dropped.shape == features.shape
    assert dropped.isfinite().all()
    assert 0.1 < (dropped == 0).float().mean() < 0.4


def test_dropblock_passes_everything_in_evaluation():
    features = torch.randn(2, 3, 8, 8)

    assert torch.equal(DropBlock(0.9).eval()(features), features)


def test_dropblock_of_everything_gives_zeros_and_not_nan():
    assert DropBlock(1.0, side=3)(torch.ones(1, 1, 2, 2)).tolist() == [[[[0, 0], [0, 0]]]]


def test_only_trainable_parameters_are_counted():
    layer = ConvBN(3, 4)

    layer.conv.weight.requires_grad_(False)

    assert count_parameters(layer) == 8
