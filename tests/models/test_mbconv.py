import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.errors import SpinetError
from spinet.models.backbone import SpineNet
from spinet.models.blocks import count_parameters
from spinet.models.mbconv import MBConv, SqueezeExcite, hard_gate
from spinet.models.options import BackboneOptions
from spinet.models.resample import SeparableResample

MOBILE = load_architecture("spinenet49xs-mobile")
MOBILE_V1 = load_architecture("spinenet49xxs-mobile-v1")


def mbconv(in_channels: int, channels: int, **settings: object) -> MBConv:
    torch.manual_seed(0)
    return MBConv(in_channels, channels, BackboneOptions(activation="swish"), **settings)


@pytest.mark.parametrize(("width", "squeezed"), [(4, 1), (10, 2), (14, 2), (67, 13)])
def test_a_mobile_block_has_the_layers_of_the_released_code(width, squeezed):
    inner = 6 * width
    expected = (
        width * inner
        + 2 * inner  # 1x1 and batch norm
        + 9 * inner
        + 2 * inner  # depthwise and batch norm
        + 2 * inner * squeezed
        + squeezed
        + inner  # squeeze and excitation, with biases
        + inner * width
        + 2 * width  # 1x1 and batch norm
    )

    assert count_parameters(mbconv(width, width)) == expected


def test_a_mobile_block_adds_its_input_without_an_activation_behind():
    block = mbconv(4, 4).eval()
    images = torch.randn(2, 4, 6, 6) - 3

    branch = block.project(block.squeeze_excite(block.depthwise(block.expand(images))))

    assert torch.equal(block(images), branch + images)
    assert block(images).min() < -1


@pytest.mark.parametrize(("channels", "stride", "size"), [(6, 1, 7), (4, 2, 4), (6, 2, 4)])
def test_a_mobile_block_that_changes_channels_or_resolution_has_no_shortcut(channels, stride, size):
    block = mbconv(4, channels, stride=stride).eval()
    torch.nn.init.zeros_(block.project.norm.weight)

    output = block(torch.randn(2, 4, 7, 7))

    assert output.shape == (2, channels, size, size)
    assert not output.any()


def test_a_dropped_mobile_branch_leaves_the_bare_input():
    block = mbconv(4, 4, stochastic_depth=1.0)
    images = torch.randn(2, 4, 5, 5)

    assert torch.equal(block.train()(images), images)
    assert not torch.equal(block.eval()(images), images)


def test_dropblock_acts_in_a_mobile_block_in_training_only():
    block = mbconv(4, 4, dropblock=0.3)
    images = torch.randn(2, 4, 9, 9)

    assert not torch.equal(block(images), block(images))
    assert torch.equal(block.eval()(images), block(images))


@pytest.mark.parametrize(
    ("mode", "inner", "gate"),
    [("tpu", torch.nn.functional.silu, torch.sigmoid), ("mg", torch.relu, hard_gate)],
)
def test_squeeze_and_excitation_has_the_activations_of_either_source(mode, inner, gate):
    torch.manual_seed(0)
    layer = SqueezeExcite(6, 2, mode)
    features = torch.randn(2, 6, 4, 5)
    mean = features.mean(dim=(2, 3))
    reduce, expand = layer.reduce.weight[:, :, 0, 0], layer.expand.weight[:, :, 0, 0]

    output = layer(features)

    weights = gate(inner(mean @ reduce.T) @ expand.T)
    torch.testing.assert_close(output, features * weights[:, :, None, None])


def test_the_hard_gate_has_the_rounded_sixth_of_tensorflow_models():
    assert hard_gate(torch.tensor([-4.0, -3, 0, 3, 4])).tolist() == pytest.approx([0, 0, 0.50001, 1.00002, 1.00002])


def test_an_unknown_squeeze_mode_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown squeeze_mode 'tp', did you mean 'tpu'"):
        SpineNet(MOBILE.genotype, MOBILE.scaling, squeeze_mode="tp")


@pytest.mark.slow
def test_the_squeeze_mode_changes_features_but_not_weights():
    torch.manual_seed(0)
    tpu, mg = (SpineNet(MOBILE.genotype, MOBILE.scaling, squeeze_mode=mode).eval() for mode in ("tpu", "mg"))
    mg.load_state_dict(tpu.state_dict())
    images = torch.randn(1, 3, 128, 128)

    one, other = tpu(images), mg(images)

    assert all(not torch.allclose(one[level], other[level]) for level in one)


def test_a_mobile_connection_halves_level_by_level_then_changes_channels():
    resample = SeparableResample(6, 10, BackboneOptions(), levels_down=3)

    assert resample(torch.randn(2, 6, 33, 17), (5, 3)).shape == (2, 10, 5, 3)
    assert [tuple(conv.conv.weight.shape) for conv in resample.down] == [(6, 1, 3, 3)] * 3


def test_a_mobile_connection_upwards_is_one_1x1_convolution():
    resample = SeparableResample(6, 10, BackboneOptions(), levels_down=0).eval()
    features = torch.randn(2, 6, 3, 4)

    output = resample(features, (6, 8))

    expected = resample.expand(features).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(output, expected)


def test_the_stem_of_a_mobile_network_has_a_3x3_convolution_and_blocks_of_levels_1_and_2():
    backbone = SpineNet(MOBILE.genotype, MOBILE.scaling).eval()
    sizes = {}
    for number in ("0", "1"):
        backbone.blocks[number].register_forward_hook(
            lambda module, inputs, output, number=number: sizes.update({number: tuple(output.shape[1:])})
        )

    backbone(torch.zeros(1, 3, 64, 96))

    assert backbone.stem.conv.conv.weight.shape == (4, 3, 3, 3)
    assert sizes == {"0": (9, 32, 48), "1": (14, 16, 24)}


def test_in_version_1_siblings_of_one_level_are_added_without_convolutions():
    released = {key.split(".norm")[0] for key in SpineNet(MOBILE.genotype, MOBILE.scaling).state_dict()}
    version_1 = SpineNet(MOBILE_V1.genotype, MOBILE_V1.scaling)

    # Blocks 2 (0, 1) and 3 (1, 2) of level 2: parent 0 is of level 1, parents 1 and 2 are of level 2.
    assert {"blocks.2.parents.1.expand", "blocks.3.parents.1.expand", "blocks.3.parents.2.expand"} <= released
    assert list(version_1.blocks["2"].parents) == ["0"]
    assert list(version_1.blocks["3"].parents) == []
    assert version_1.blocks["3"].direct == (1, 2)


def test_the_keys_of_a_mobile_block_read_like_its_layers():
    backbone = SpineNet(MOBILE.genotype, MOBILE.scaling)

    keys = [key for key in backbone.state_dict() if key.startswith("blocks.4.") and key.endswith(("weight", "bias"))]

    # Block 4 (level 4) has the parents 1 and 2 (level 2).
    assert [key for key in keys if ".norm." not in key] == [
        "blocks.4.parents.1.down.0.conv.weight",
        "blocks.4.parents.1.down.1.conv.weight",
        "blocks.4.parents.1.expand.conv.weight",
        "blocks.4.parents.2.down.0.conv.weight",
        "blocks.4.parents.2.down.1.conv.weight",
        "blocks.4.parents.2.expand.conv.weight",
        "blocks.4.body.0.expand.conv.weight",
        "blocks.4.body.0.depthwise.conv.weight",
        "blocks.4.body.0.squeeze_excite.reduce.weight",
        "blocks.4.body.0.squeeze_excite.reduce.bias",
        "blocks.4.body.0.squeeze_excite.expand.weight",
        "blocks.4.body.0.squeeze_excite.expand.bias",
        "blocks.4.body.0.project.conv.weight",
    ]


@pytest.mark.parametrize("architecture", [MOBILE, MOBILE_V1], ids=lambda found: found.name)
@pytest.mark.parametrize("activation", ["relu", "swish", "hard_swish"])
@pytest.mark.parametrize("pad_mode", ["symmetric", "same"])
def test_mobile_networks_compute_at_odd_sizes(architecture, activation, pad_mode):
    torch.manual_seed(0)
    backbone = SpineNet(architecture.genotype, architecture.scaling, activation=activation, pad_mode=pad_mode)

    features = backbone(torch.randn(2, 3, 97, 161))

    assert {level: tuple(flow.shape) for level, flow in features.items()} == {
        3: (2, 24, 13, 21),
        4: (2, 24, 7, 11),
        5: (2, 24, 4, 6),
        6: (2, 24, 2, 3),
        7: (2, 24, 1, 2),
    }
    assert all(flow.isfinite().all() and flow.std() > 0 for flow in features.values())
