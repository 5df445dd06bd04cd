import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spinet.arch.block_spec import EXPANSION, BlockSpec
from spinet.arch.catalog import load_architecture, names
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.arch.variants import damage, with_kind
from spinet.errors import SpinetError
from spinet.models.backbone import SpineNet
from spinet.models.blocks import count_parameters

POOL_MODES = ["symmetric", "mg", "tpu"]
PAD_MODES = ["symmetric", "same"]
SMALL = Scaling(width=0.0625, endpoint_channels=4, stem_channels=4)
STEM = (BlockSpec(2, "residual"), BlockSpec(2, "residual"))


def build(*blocks: BlockSpec, dangling: str = "tf", **settings: object) -> SpineNet:
    torch.manual_seed(0)
    return SpineNet(Genotype(STEM, blocks, dangling), SMALL, **settings).eval()


def block(level: int, *parents: int, kind: str = "residual", endpoint: bool = False) -> BlockSpec:
    return BlockSpec(level, kind, parents, endpoint)


def silenced(backbone: SpineNet, number: int, images: torch.Tensor) -> dict[int, torch.Tensor]:
    """Features when one block gives zeros to all its consumers."""
    hook = backbone.blocks[str(number)].register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    features = backbone(images)
    hook.remove()
    return features


def levels_that_differ(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor]) -> list[int]:
    return [level for level in first if not torch.allclose(first[level], second[level], rtol=1e-4, atol=1e-5)]


def random_graph(draw: st.DrawFn) -> Genotype:
    kinds = st.sampled_from(sorted(EXPANSION))
    levels = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    last = {level: index for index, level in enumerate(levels)}
    blocks = []
    for index, level in enumerate(levels):
        parents = draw(st.lists(st.integers(0, index + 1), min_size=2, max_size=2, unique=True))
        blocks.append(BlockSpec(level, draw(kinds), tuple(parents), endpoint=last[level] == index))
    return Genotype(STEM, tuple(blocks), draw(st.sampled_from(["tf", "paper"])))


@pytest.fixture(scope="module")
def in_every_mode(narrow):
    """Two graphs in every pool and pad mode."""
    return {
        (name, pool, pad): SpineNet(found.genotype, found.scaling, pool_mode=pool, pad_mode=pad).eval()
        for name, found in (("tiny", load_architecture("tiny")), ("narrow", narrow))
        for pool in POOL_MODES
        for pad in PAD_MODES
    }


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["tiny", "narrow"]),
    pool=st.sampled_from(POOL_MODES),
    pad=st.sampled_from(PAD_MODES),
    height=st.integers(33, 300),
    width=st.integers(33, 300),
)
def test_features_of_any_image_have_ceil_sizes_in_every_mode(in_every_mode, name, pool, pad, height, width):
    backbone = in_every_mode[name, pool, pad]

    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, height, width))

    for level in backbone.levels:
        assert features[level].shape[-2:] == (math.ceil(height / 2**level), math.ceil(width / 2**level))


@pytest.mark.parametrize("pool", POOL_MODES)
@pytest.mark.parametrize("pad", PAD_MODES)
@pytest.mark.parametrize("size", [(224, 224), (97, 161), (33, 130)])
def test_odd_sizes_also_compute_with_real_numbers(narrow, pool, pad, size):
    torch.manual_seed(0)
    backbone = SpineNet(narrow.genotype, narrow.scaling, pool_mode=pool, pad_mode=pad)

    features = backbone(torch.randn(2, 3, *size))

    for level, flow in features.items():
        assert flow.shape == (2, 4, math.ceil(size[0] / 2**level), math.ceil(size[1] / 2**level))
        assert flow.isfinite().all()
        assert flow.std() > 0


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_every_valid_graph_builds_and_computes_features_of_its_endpoint_levels(data):
    genotype = random_graph(data.draw)

    backbone = SpineNet(genotype, SMALL).eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, 100, 75))

    assert {level: tuple(flow.shape[-2:]) for level, flow in features.items()} == {
        level: (math.ceil(100 / 2**level), math.ceil(75 / 2**level)) for level in genotype.endpoints
    }


def test_one_block_can_have_all_its_parents_far_above_and_below():
    backbone = build(block(7, 0, 1), block(1, 0, 2, endpoint=True), block(7, 2, 3, endpoint=True))

    features = backbone(torch.randn(1, 3, 130, 70))

    assert {level: tuple(flow.shape[-2:]) for level, flow in features.items()} == {1: (65, 35), 7: (2, 1)}


def test_only_the_connection_over_three_levels_differs_between_mg_and_tpu_pooling(narrow):
    torch.manual_seed(0)
    mg, tpu = (SpineNet(narrow.genotype, narrow.scaling, pool_mode=mode).eval() for mode in ("mg", "tpu"))
    tpu.load_state_dict(mg.state_dict())
    images = torch.randn(2, 3, 256, 256)

    # Of SpineNet-49's connections only 5 -> 15 goes down by 8, from level 4 to the endpoint of level 7.
    assert levels_that_differ(mg(images), tpu(images)) == [7]


def test_the_two_pad_modes_have_the_same_weights_but_other_features(narrow):
    torch.manual_seed(0)
    symmetric, same = (SpineNet(narrow.genotype, narrow.scaling, pad_mode=mode).eval() for mode in PAD_MODES)
    same.load_state_dict(symmetric.state_dict())
    images = torch.randn(1, 3, 128, 128)

    assert levels_that_differ(symmetric(images), same(images)) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"activation": "rellu"}, "unknown activation 'rellu', did you mean 'relu'"),
        ({"pad_mode": "sam"}, "unknown pad_mode 'sam', did you mean 'same'"),
        ({"pool_mode": "symetric"}, "unknown pool_mode 'symetric', did you mean 'symmetric'"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_match(setting, sentence):
    with pytest.raises(SpinetError, match=sentence):
        build(block(3, 0, 1, endpoint=True), **setting)


def test_swish_replaces_relu_everywhere():
    torch.manual_seed(0)
    found = load_architecture("tiny")
    relu, swish = (SpineNet(found.genotype, found.scaling, activation=name).eval() for name in ("relu", "swish"))
    swish.load_state_dict(relu.state_dict())
    outputs: dict[str, list[torch.Tensor]] = {"relu": [], "swish": []}
    for name, backbone in (("relu", relu), ("swish", swish)):
        for module in [*backbone.blocks.values(), *backbone.endpoints.values(), backbone.stem]:
            module.register_forward_hook(lambda module, inputs, output, name=name: outputs[name].append(output))
        backbone(torch.randn(1, 3, 64, 64))

    # Swish goes below zero, though never far (its least value is -0.28).
    assert all(output.min() >= 0 for output in outputs["relu"])
    assert all(-0.3 < output.min() < 0 for output in outputs["swish"])


def test_silencing_block_11_of_spinenet49_changes_its_endpoint_and_those_behind(narrow):
    torch.manual_seed(0)
    backbone = SpineNet(narrow.genotype, narrow.scaling).eval()
    images = torch.randn(1, 3, 128, 128)

    # Block 11 feeds only block 14, the endpoint of level 5; blocks 15 (level 7) and 16 (level 6) have 14 as parent.
    assert levels_that_differ(backbone(images), silenced(backbone, 11, images)) == [5, 6, 7]


@pytest.mark.slow
def test_a_joining_block_is_added_as_it_is_before_the_endpoints_activation(narrow):
    torch.manual_seed(0)
    backbone = SpineNet(narrow.genotype, narrow.scaling).eval()
    seen: dict[str, torch.Tensor] = {}
    endpoint = backbone.blocks["14"]
    backbone.blocks["11"].register_forward_hook(lambda module, inputs, output: seen.update(joining=output))
    for parent in ("7", "12"):
        endpoint.parents[parent].register_forward_hook(
            lambda module, inputs, output, parent=parent: seen.update({parent: output})
        )
    endpoint.body.register_forward_pre_hook(lambda module, inputs: seen.update(fused=inputs[0]))

    backbone(torch.randn(1, 3, 128, 128))

    assert seen["joining"].abs().max() > 0
    torch.testing.assert_close(seen["fused"], (seen["7"] + seen["12"] + seen["joining"]).clamp(min=0))


def test_a_dangling_block_of_other_channels_joins_through_a_resampling_under_paper():
    blocks = (
        block(5, 0, 1),
        block(5, 0, 1, kind="bottleneck", endpoint=True),
        block(4, 0, 3, endpoint=True),
    )
    images = torch.randn(1, 3, 64, 64)
    paper, tf = build(*blocks, dangling="paper"), build(*blocks)

    # Level 5 is 16 wide here: residual 16 -> 8 (alpha 0.5) -> 64 of the bottleneck.
    weights = paper.state_dict()
    assert weights["blocks.3.parents.2.reduce.conv.weight"].shape == (8, 16, 1, 1)
    assert weights["blocks.3.parents.2.expand.conv.weight"].shape == (64, 8, 1, 1)
    assert levels_that_differ(paper(images), silenced(paper, 2, images)) == [4, 5]
    assert not any(key.startswith("blocks.2.") or ".parents.2." in key for key in tf.state_dict())


def test_dead_blocks_have_no_parameters():
    with_dead = build(
        block(4, 0, 1, endpoint=True),
        block(3, 0, 1),
        block(5, 1, 3),  # behind it nothing: blocks 3 and 4 are dead
        block(5, 0, 2, endpoint=True),
    )
    pruned = build(block(4, 0, 1, endpoint=True), block(5, 0, 2, endpoint=True))

    # Under tf block 4 would join the endpoint of level 5, so it is made another kind first.
    genotype = with_dead.genotype
    assert genotype.live == {0, 1, 2, 3, 4, 5}
    blocks = (*genotype.blocks[:2], replace(genotype.blocks[2], kind="bottleneck"), genotype.blocks[3])
    dead = SpineNet(replace(genotype, blocks=blocks), SMALL)

    assert list(dead.blocks) == ["0", "1", "2", "5"]
    assert count_parameters(dead) == count_parameters(pruned) < count_parameters(with_dead)


def test_state_dict_keys_read_like_the_graph():
    backbone = build(block(3, 0, 1), block(4, 0, 2, kind="bottleneck", endpoint=True))

    keys = [key for key in backbone.state_dict() if key.endswith("conv.weight")]

    assert keys == [
        "stem.conv.conv.weight",
        "blocks.0.0.convs.0.conv.weight",
        "blocks.0.0.convs.1.conv.weight",
        "blocks.1.0.convs.0.conv.weight",
        "blocks.1.0.convs.1.conv.weight",
        "blocks.2.parents.0.reduce.conv.weight",
        "blocks.2.parents.0.down.conv.weight",
        "blocks.2.parents.0.expand.conv.weight",
        "blocks.2.parents.1.reduce.conv.weight",
        "blocks.2.parents.1.down.conv.weight",
        "blocks.2.parents.1.expand.conv.weight",
        "blocks.2.body.0.convs.0.conv.weight",
        "blocks.2.body.0.convs.1.conv.weight",
        "blocks.3.parents.0.reduce.conv.weight",
        "blocks.3.parents.0.down.conv.weight",
        "blocks.3.parents.0.expand.conv.weight",
        "blocks.3.parents.2.reduce.conv.weight",
        "blocks.3.parents.2.down.conv.weight",
        "blocks.3.parents.2.expand.conv.weight",
        "blocks.3.body.0.convs.0.conv.weight",
        "blocks.3.body.0.convs.1.conv.weight",
        "blocks.3.body.0.convs.2.conv.weight",
        "endpoints.4.conv.weight",
    ]


def test_the_first_stem_block_projects_when_its_width_is_not_the_first_convolutions():
    genotype = Genotype(STEM, (block(3, 0, 1, endpoint=True),))

    backbone = SpineNet(genotype, replace(SMALL, stem_channels=6))

    assert backbone.state_dict()["blocks.0.0.shortcut.conv.weight"].shape == (4, 6, 1, 1)
    assert "blocks.1.0.shortcut.conv.weight" not in backbone.state_dict()


@pytest.mark.parametrize("repeats", [1, 3])
def test_every_live_block_is_stacked_repeats_times_and_only_the_first_projects(repeats):
    found = load_architecture("spinenet49")
    with torch.device("meta"):
        backbone = SpineNet(found.genotype, replace(found.scaling, repeats=repeats))

    assert {len(backbone.blocks[number]) for number in ("0", "1")} == {repeats}
    assert {len(backbone.blocks[str(number)].body) for number in range(2, 17)} == {repeats}
    projections = [key for key in backbone.state_dict() if "shortcut.conv" in key]
    assert projections == ["blocks.0.0.shortcut.conv.weight"]


def test_weights_loaded_into_another_backbone_give_the_same_features(narrow):
    first, second = (SpineNet(narrow.genotype, narrow.scaling) for _ in range(2))
    images = torch.randn(2, 3, 64, 64)
    first(images)  # moves the running statistics
    first.eval(), second.eval()
    before = second(images)

    second.load_state_dict(first.state_dict())

    features = first(images)
    assert levels_that_differ(features, before)
    assert all(torch.equal(features[level], flow) for level, flow in second(images).items())


def test_epsilon_and_momentum_reach_every_batch_norm():
    backbone = build(block(3, 0, 1, endpoint=True), bn_eps=1e-4, bn_momentum=0.003)

    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    # Stem 1, two stem blocks 4, two resamplings 6, the block 2, the endpoint 1.
    assert len(norms) == 14
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.003)}


def test_images_of_another_number_of_channels_are_accepted():
    backbone = build(block(3, 0, 1, endpoint=True), in_channels=1)

    assert backbone(torch.randn(2, 1, 32, 32))[3].shape == (2, 4, 4, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_drop_rate_grows_block_by_block_to_the_full_one(name):
    found = load_architecture(name)
    with torch.device("meta"):
        backbone = SpineNet(found.genotype, found.scaling, stochastic_depth=0.2)

    stem, count = len(found.genotype.stem), len(found.genotype.blocks)
    for number, module in backbone.blocks.items():
        stacked = module if int(number) < stem else module.body
        expected = 0.0 if int(number) < stem else 0.2 * (int(number) - stem + 1) / count
        assert [copy.drop_path.p for copy in stacked] == pytest.approx([expected] * found.scaling.repeats)


@pytest.mark.parametrize(
    ("name", "rule", "count"),
    [
        ("spinenet49", "tpu", 15),
        ("spinenet49", "mg", 16),
        ("spinenet49-mobile", "tpu", 16),
        ("spinenet49-mobile", "mg", 16),
    ],
)
def test_the_drop_rate_is_divided_by_the_blocks_that_the_source_counts(name, rule, count):
    found = load_architecture(name)
    with torch.device("meta"):
        backbone = SpineNet(found.genotype, found.scaling, stochastic_depth=0.2, depth_rule=rule)

    first = len(found.genotype.stem)
    rates = [backbone.blocks[str(first + number)].body[0].drop_path.p for number in (0, 6, 14)]
    assert rates == pytest.approx([0.2 * 1 / count, 0.2 * 7 / count, 0.2 * 15 / count])


def test_an_output_of_level_2_is_the_block_that_the_mg_rule_counts():
    graph = (block(2, 0, 1, endpoint=True), block(3, 1, 2, endpoint=True))

    rates = [
        build(*graph, stochastic_depth=0.4, depth_rule=rule).blocks["3"].body[0].drop_path.p for rule in ("tpu", "mg")
    ]

    assert rates == [0.4, 0.4]


def test_an_unknown_depth_rule_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown depth_rule 'mgs', did you mean 'mg'"):
        build(block(3, 0, 1, endpoint=True), depth_rule="mgs")


def test_dead_blocks_count_in_the_drop_rate():
    backbone = build(
        block(4, 0, 1, endpoint=True),
        block(3, 0, 1),  # dead
        block(5, 1, 2, endpoint=True),
        block(6, 1, 2),  # dead
        stochastic_depth=0.4,
    )

    rates = {number: backbone.blocks[number].body[0].drop_path.p for number in ("2", "4")}
    assert rates == pytest.approx({"2": 0.4 * 1 / 4, "4": 0.4 * 3 / 4})


@pytest.mark.slow
@pytest.mark.parametrize("regulariser", ["dropblock", "stochastic_depth"])
def test_dropping_adds_no_weights_and_happens_only_in_training(narrow, regulariser):
    torch.manual_seed(0)
    plain = SpineNet(narrow.genotype, narrow.scaling)
    dropping = SpineNet(narrow.genotype, narrow.scaling, **{regulariser: 0.3})
    dropping.load_state_dict(plain.state_dict())
    images = torch.randn(4, 3, 128, 128)

    assert levels_that_differ(plain(images), plain(images)) == []
    assert levels_that_differ(dropping(images), dropping(images)) == [3, 4, 5, 6, 7]
    dropping.load_state_dict(plain.state_dict())
    assert levels_that_differ(plain.eval()(images), dropping.eval()(images)) == []


def test_dropblock_leaves_the_stem_alone():
    backbone = build(block(3, 0, 1, endpoint=True), dropblock=0.1)

    assert [type(backbone.blocks[number][0].dropblock).__name__ for number in ("0", "1")] == ["Identity"] * 2
    dropblock = backbone.blocks["2"].body[0].dropblock
    assert (dropblock.probability, dropblock.side) == (0.1, 3)
    assert not backbone.blocks["2"].body[0].drop_shortcut


def test_dropblock_places_tpu_drops_in_the_stem_and_from_identity_shortcuts():
    backbone = build(block(3, 0, 1, endpoint=True), dropblock=0.1, dropblock_places="tpu")

    blocks = [backbone.blocks["0"][0], backbone.blocks["1"][0], backbone.blocks["2"].body[0]]
    assert [(block.dropblock.probability, block.drop_shortcut) for block in blocks] == [(0.1, True)] * 3
    dropping = {name.rsplit(".dropblock")[0] for name, module in backbone.named_modules() if "dropblock" in name}
    assert not [name for name in dropping if "parents" in name or name.startswith(("stem", "endpoints"))]


def test_mobile_stem_blocks_have_dropblock_with_places_tpu_only():
    found = load_architecture("spinenet49xs-mobile")
    kinds = {}
    for places in ("v1", "tpu"):
        backbone = SpineNet(found.genotype, found.scaling, dropblock=0.1, dropblock_places=places)
        kinds[places] = [type(backbone.blocks[number][0].dropblock).__name__ for number in ("0", "1")]

    assert kinds == {"v1": ["Identity"] * 2, "tpu": ["DropBlock"] * 2}


def test_unknown_dropblock_places_are_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown dropblock_places 'v', did you mean 'v1'"):
        build(block(3, 0, 1, endpoint=True), dropblock_places="v")


def test_selected_levels_come_finest_first_and_equal_those_of_the_whole_backbone(narrow):
    torch.manual_seed(0)
    whole = SpineNet(narrow.genotype, narrow.scaling).eval()
    part = SpineNet(narrow.genotype, narrow.scaling, levels=(5, 3)).eval()
    weights = whole.state_dict()
    part.load_state_dict({key: weights[key] for key in part.state_dict()})
    images = torch.randn(1, 3, 128, 128)

    features, expected = part(images), whole(images)

    assert (part.levels, list(features)) == ((3, 5), [3, 5])
    assert all(torch.equal(features[level], expected[level]) for level in features)


def test_blocks_that_no_selected_level_depends_on_are_not_built(narrow):
    backbone = SpineNet(narrow.genotype, narrow.scaling, levels=(4,))

    assert list(backbone.blocks) == ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "12"]
    assert list(backbone.endpoints) == ["4"]


def test_a_level_without_endpoint_is_refused_with_the_available_levels(narrow):
    with pytest.raises(SpinetError) as error:
        SpineNet(narrow.genotype, narrow.scaling, levels=(2, 3))
    assert (
        str(error.value)
        == "the architecture has no features of level 2; its levels are 3, 4, 5, 6, 7, and levels=None takes all"
    )
    with pytest.raises(SpinetError, match="levels is empty; the architecture's levels are 3, 4, 5, 6, 7"):
        SpineNet(narrow.genotype, narrow.scaling, levels=())


@pytest.mark.parametrize("kind", ["residual", "bottleneck", "resnext32x4d", "mbconv"])
def test_a_stem_that_goes_down_halves_the_resolution_with_the_first_block_of_a_level(kind):
    stem = tuple(BlockSpec(level, kind) for level in (1, 1, 2, 3))
    genotype = Genotype(stem, (BlockSpec(5, "residual", (2, 3), endpoint=True),))
    backbone = SpineNet(genotype, replace(SMALL, width=0.25, repeats=2)).eval()
    sizes = []
    for number in ("0", "1", "2", "3"):
        backbone.blocks[number].register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-2:]))

    backbone(torch.zeros(1, 3, 64, 96))

    assert sizes == [(32, 48), (32, 48), (16, 24), (8, 12)]


def test_resnext_blocks_have_32_groups_and_the_width_of_their_name():
    found = load_architecture("spinenet49")
    for kind, width in (("resnext32x4d", 4), ("resnext32x8d", 8)):
        with torch.device("meta"):
            backbone = SpineNet(with_kind(found.genotype, kind), found.scaling)
        conv = backbone.blocks["2"].body[0].convs[1].conv
        # Level 2: 64 channels a block in a bottleneck.
        assert (conv.groups, conv.weight.shape) == (32, (32 * width, width, 3, 3))


def test_resnext_blocks_too_narrow_for_32_groups_have_as_many_as_divide_their_channels():
    backbone = build(block(3, 0, 1, kind="resnext32x4d", endpoint=True))

    assert backbone.blocks["2"].body[0].convs[1].conv.groups == 16
    assert backbone(torch.randn(1, 3, 32, 32))[3].shape == (1, 4, 4, 4)


@pytest.mark.parametrize("how", ["short", "long", "sequential"])
def test_damaged_graphs_build_and_compute(narrow, how):
    backbone = SpineNet(damage(narrow.genotype, how), narrow.scaling).eval()

    features = backbone(torch.randn(1, 3, 128, 128))

    assert list(features) == [3, 4, 5, 6, 7]
    assert all(len(backbone.blocks[number].parents) == 1 for number in backbone.blocks if int(number) > 1)
