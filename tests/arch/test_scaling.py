import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinet.arch.block_spec import BlockSpec
from spinet.arch.published import PUBLISHED, SMALL
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError


@pytest.mark.parametrize(
    ("width", "level_2", "level_3", "level_4"),
    [
        (1.0, 64, 128, 256),
        (0.65, 41, 83, 166),  # 41.6, 83.2 and 166.4, cut off
        (1.3, 83, 166, 332),  # 83.2, 166.4 and 332.8, cut off
        (0.25, 16, 32, 64),
    ],
)
def test_width_multiplies_the_channels_of_a_level_and_cuts_off_the_fraction(width, level_2, level_3, level_4):
    scaling = Scaling(width=width)

    assert [scaling.channels(level) for level in range(2, 8)] == [level_2, level_3, *[level_4] * 4]


def test_a_bottleneck_gives_four_times_the_channels_and_a_residual_block_one_time():
    scaling = Scaling(width=0.65)

    assert scaling.out_channels(BlockSpec(2, "bottleneck")) == 4 * 41
    assert scaling.out_channels(BlockSpec(2, "residual")) == 41


@pytest.mark.parametrize("kind", ["residual", "bottleneck"])
@pytest.mark.parametrize(("width", "alpha", "kept"), [(0.65, 0.5, 20), (0.65, 1.0, 41), (1.0, 0.5, 32), (1.3, 1.0, 83)])
def test_alpha_keeps_a_fraction_of_the_inner_channels_of_either_kind(kind, width, alpha, kept):
    # 41 * 0.5 = 20.5 is cut off to 20; a bottleneck's 164 outputs count as their 41 inner channels.
    parent, child = BlockSpec(2, kind), BlockSpec(2, "bottleneck")
    assert Scaling(width=width, alpha=alpha).resample_channels(parent, child) == kept


@pytest.mark.parametrize(
    ("parent", "child", "kept"),
    [
        (BlockSpec(4, "residual"), BlockSpec(5, "bottleneck"), 256),
        (BlockSpec(4, "bottleneck"), BlockSpec(5, "bottleneck"), 128),
        (BlockSpec(4, "bottleneck"), BlockSpec(4, "residual"), 128),
        (BlockSpec(2, "bottleneck"), BlockSpec(2, "bottleneck"), 64),
        (BlockSpec(2, "bottleneck"), BlockSpec(3, "bottleneck"), 32),
    ],
)
def test_in_version_1_alpha_spares_residual_parents_and_connections_within_level_2(parent, child, kept):
    assert Scaling(alpha_rule="v1").resample_channels(parent, child) == kept


def test_mobile_levels_have_the_channels_of_appendix_a():
    scaling = Scaling(family="mobile")

    assert [scaling.channels(level) for level in range(1, 8)] == [16, 24, 40, 80, 112, 112, 112]
    assert scaling.out_channels(BlockSpec(3, "mbconv")) == 40


@pytest.mark.parametrize("kind", ["resnext32x4d", "resnext32x8d"])
def test_a_resnext_block_gives_four_times_the_channels_of_its_level(kind):
    assert Scaling().out_channels(BlockSpec(2, kind)) == 256


def test_only_parents_of_equal_level_and_width_are_added_directly_without_same_level_conv():
    residual, bottleneck = BlockSpec(4, "residual"), BlockSpec(4, "bottleneck")
    bare = Scaling(same_level_conv=False)

    assert bare.is_direct(residual, residual)
    assert not bare.is_direct(residual, bottleneck)
    assert not bare.is_direct(BlockSpec(5, "residual"), residual)  # as wide, but of another level
    assert not Scaling().is_direct(residual, residual)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("family", "moblie", "unknown family in scaling 'moblie', did you mean 'mobile'? Known: mobile, spinenet."),
        ("alpha_rule", "V1", "unknown alpha_rule in scaling 'V1'. Known: all, v1."),
        ("same_level_conv", 1, "scaling: same_level_conv must be true or false, not 1"),
        ("head_separable", None, "scaling: head_separable must be true or false, not None"),
    ],
)
def test_an_unknown_rule_is_refused_by_its_name(name, value, sentence):
    with pytest.raises(SpinetError) as error:
        Scaling(**{name: value})
    assert str(error.value) == sentence


def test_mobile_networks_may_be_narrower_because_they_have_no_alpha():
    assert Scaling(family="mobile", width=0.07, alpha=0.01).channels(1) == 1
    with pytest.raises(SpinetError, match="leaves no channel at level 1"):
        Scaling(family="mobile", width=0.06)


@pytest.mark.parametrize("name", ["width", "alpha"])
@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), 101, 10**400, True, "1", None, [1]])
def test_a_factor_that_is_no_number_above_0_is_refused_by_its_name(name, value):
    with pytest.raises(SpinetError, match=f"scaling: {name} must be above 0 and at most 100, not "):
        Scaling(**{name: value})


@pytest.mark.parametrize(
    ("name", "most"),
    [("repeats", 100), ("endpoint_channels", 16384), ("stem_channels", 16384), ("head_channels", 16384)],
)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, 16385, 2**31])
def test_a_count_that_is_not_an_integer_within_bounds_is_refused_by_name(name, most, value):
    with pytest.raises(SpinetError) as error:
        Scaling(**{name: value})
    assert str(error.value) == f"scaling: {name} must be an integer from 1 to {most}, not {value!r}"


def test_a_head_may_have_no_convolution_but_not_less():
    assert Scaling(head_convs=0).head_convs == 0
    with pytest.raises(SpinetError, match="head_convs must be an integer from 0 to 100, not -1"):
        Scaling(head_convs=-1)


def test_a_width_and_alpha_that_leave_no_channel_are_refused_together():
    # Level 1: int(32 * 0.06) = 1 channel, of which int(1 * 0.5) = 0 are left.
    with pytest.raises(SpinetError, match=r"width 0\.06 with alpha 0\.5 leaves no channel at level 1"):
        Scaling(width=0.06, alpha=0.5)
    assert Scaling(width=0.0625, alpha=0.5).channels(1) == 2


def test_an_unknown_number_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown key in scaling 'repeat', did you mean 'repeats'"):
        Scaling.from_dict({"repeat": 2})


@pytest.mark.parametrize("data", [None, 3, [1.0], "wide"])
def test_a_scaling_that_is_no_object_is_refused(data):
    with pytest.raises(SpinetError, match="scaling: expected an object"):
        Scaling.from_dict(data)


def test_numbers_left_out_take_the_values_of_spinenet49():
    assert Scaling.from_dict({}) == PUBLISHED["spinenet49"].scaling


@pytest.mark.parametrize("scaling", [entry.scaling for entry in (PUBLISHED | SMALL).values() if entry.scaling])
def test_every_scaling_of_the_tables_survives_its_dictionary(scaling):
    assert Scaling.from_dict(scaling.to_dict()) == scaling


@given(width=st.floats(0.0625, 100), alpha=st.floats(0.5, 100))
@pytest.mark.slow
def test_no_accepted_scaling_leaves_a_level_or_a_resampling_without_channels(width, alpha):
    scaling = Scaling(width=width, alpha=alpha)

    for level in range(1, 8):
        assert scaling.channels(level) >= 1
        assert scaling.resample_channels(BlockSpec(level, "bottleneck"), BlockSpec(2, "residual")) >= 1
