import pytest
import torch
from torch import nn

from spinet.arch.catalog import load_architecture
from spinet.engine.config import OptimConfig
from spinet.engine.optim import (
    MovingAverage,
    _thirds,
    clip_gradients,
    create_optimizer,
    describe_depth,
    learning_rate,
    set_learning_rate,
)
from spinet.models.factory import create_retinanet

# COCO: 118,287 images in batches of 256 are 462.06 steps an epoch.
EPOCH = 118287 / 256
STEPS = round(350 * EPOCH)
HALVES = ("depthwise", "pointwise")


def rate(step, batch_size=256, **settings):
    return learning_rate(step, OptimConfig(**settings), batch_size=batch_size, steps=STEPS, epoch_steps=EPOCH)


def test_the_warm_up_rises_linearly_from_its_start_to_the_full_rate():
    warmup = 5 * EPOCH
    assert rate(0) == pytest.approx(0.28 * 0.024)
    assert rate(round(warmup / 2)) == pytest.approx(0.28 * (0.024 + 0.976 / 2), rel=1e-3)
    assert rate(int(warmup) + 1) == pytest.approx(0.28)


def test_the_step_schedule_divides_by_ten_thirty_and_ten_epochs_before_the_end():
    assert rate(round(319 * EPOCH)) == pytest.approx(0.28)
    assert rate(round(321 * EPOCH)) == pytest.approx(0.028)
    assert rate(round(341 * EPOCH)) == pytest.approx(0.0028)


def test_the_cosine_is_half_way_down_in_the_middle_and_ends_at_zero():
    middle = round((5 * EPOCH + STEPS) / 2)
    assert rate(middle, schedule="cosine") == pytest.approx(0.14, rel=1e-3)
    assert rate(STEPS - 1, schedule="cosine") == pytest.approx(0, abs=1e-8)


def test_the_rate_follows_the_batch_size():
    assert rate(10000, batch_size=16) == pytest.approx(0.28 * 16 / 256)


def test_a_warm_up_longer_than_the_run_takes_half_of_it():
    config = OptimConfig(warmup_epochs=5, schedule="cosine")
    assert learning_rate(4, config, batch_size=256, steps=10, epoch_steps=10) < 0.28
    assert learning_rate(5, config, batch_size=256, steps=10, epoch_steps=10) == pytest.approx(0.28)


def test_only_convolution_weights_decay():
    model = create_retinanet(load_architecture("tiny"), 3)
    decayed, kept = create_optimizer(model, OptimConfig(weight_decay=4e-5)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed_names = {names[id(parameter)] for parameter in decayed["params"]}
    kept_names = {names[id(parameter)] for parameter in kept["params"]}
    assert decayed["weight_decay"] == 4e-5
    assert kept["weight_decay"] == 0
    assert decayed_names | kept_names == set(names.values())
    assert all(name.endswith(".weight") and ".norm" not in name for name in decayed_names)
    assert "backbone.stem.conv.norm.weight" in kept_names
    assert "cls_tower.convs.0.bias" in kept_names


@pytest.mark.parametrize(("decay", "counts"), [("tpu", (2, 0)), ("mg", (1, 1))])
def test_depthwise_kernels_decay_only_where_the_source_says_so(decay, counts):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.Conv2d(4, 8, 1, bias=False))
    decayed, kept = create_optimizer(model, OptimConfig(decay=decay)).param_groups
    assert (len(decayed["params"]), len(kept["params"])) == counts


def test_of_a_mobile_detector_the_two_sources_decay_different_kernels():
    model = create_retinanet(load_architecture("spinenet49xs-mobile"), 3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {}
    for decay in ("tpu", "mg"):
        group, _ = create_optimizer(model, OptimConfig(decay=decay)).param_groups
        decayed[decay] = {names[id(parameter)] for parameter in group["params"]}

    assert decayed["mg"] < decayed["tpu"]
    assert all(model.get_parameter(name).dim() == 4 for name in decayed["tpu"])
    spared = decayed["tpu"] - decayed["mg"]
    towers = {
        f"{tower}.convs.{i}.{half}.weight" for tower in ("cls_tower", "box_tower") for i in range(4) for half in HALVES
    }
    backbone = {name for name in spared if name.startswith("backbone.")}
    assert spared == towers | backbone
    # One input channel a group: depthwise.
    assert all(model.get_parameter(name).shape[1] == 1 for name in backbone)
    assert {f"{tower}.predictor.{half}.weight" for tower in ("cls_tower", "box_tower") for half in HALVES} <= decayed[
        "mg"
    ]
    assert "backbone.blocks.2.body.0.squeeze_excite.reduce.weight" in decayed["mg"]


def test_the_sources_agree_where_nothing_is_depthwise():
    model = create_retinanet(load_architecture("tiny"), 3)
    groups = [create_optimizer(model, OptimConfig(decay=decay)).param_groups for decay in ("tpu", "mg")]
    sizes = [[len(group["params"]) for group in each] for each in groups]
    assert sizes[0] == sizes[1]


def test_transposed_convolutions_and_dense_layers_decay_too():
    model = nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), nn.Linear(4, 2))
    decayed, kept = create_optimizer(model, OptimConfig()).param_groups
    assert [parameter.dim() for parameter in decayed["params"]] == [4, 2]
    assert [parameter.dim() for parameter in kept["params"]] == [1, 1]


def test_the_moving_average_starts_fast_and_copies_counters():
    model = nn.BatchNorm1d(1)
    average = MovingAverage(model, decay=0.99)
    with torch.no_grad():
        model.weight.fill_(11.0)
        model.num_batches_tracked.fill_(7)
    # From 1 to 11 with decay (1 + 0) / (10 + 0) = 0.1, then (1 + 1) / (10 + 1).
    average.update(model, updates=0)
    assert average.state["weight"].item() == pytest.approx(10.0)
    average.update(model, updates=1)
    assert average.state["weight"].item() == pytest.approx(10.0 * 2 / 11 + 11.0 * 9 / 11)
    assert average.state["num_batches_tracked"].item() == 7


def test_clipping_scales_large_gradients_and_leaves_small_ones():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    clip_gradients([parameter], 10.0)
    assert parameter.grad.tolist() == [3.0, 4.0]
    clip_gradients([parameter], 1.0)
    assert parameter.grad.norm().item() == pytest.approx(1.0, rel=1e-4)
    clip_gradients([parameter], 0.0)
    assert parameter.grad.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_the_learning_rate_falls_by_depth_from_the_head_to_the_stem():
    model = create_retinanet(load_architecture("spinenet49-quarter"), 3)
    optimizer = create_optimizer(model, OptimConfig(layer_decay=0.8))
    set_learning_rate(optimizer, 0.5)
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}

    def rate_of(prefix):
        found = {rates[parameter] for name, parameter in model.named_parameters() if name.startswith(prefix)}
        assert len(found) == 1, prefix
        return found.pop()

    assert rate_of("cls_tower.") == rate_of("box_tower.") == 0.5
    assert rate_of("backbone.endpoints.") == pytest.approx(0.5 * 0.8)
    # 15 blocks after the stem's two: five in each third.
    thirds = {2: 4, 6: 4, 7: 3, 11: 3, 12: 2, 16: 2}
    for block, power in thirds.items():
        assert rate_of(f"backbone.blocks.{block}.") == pytest.approx(0.5 * 0.8**power)
    for prefix in ("backbone.stem.", "backbone.blocks.0.", "backbone.blocks.1."):
        assert rate_of(prefix) == pytest.approx(0.5 * 0.8**5)
    assert len(rates) == len(list(model.parameters()))
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_every_depth_decays_its_kernels_and_nothing_else():
    model = create_retinanet(load_architecture("tiny"), 3)
    plain = create_optimizer(model, OptimConfig(weight_decay=4e-5)).param_groups
    by_depth = create_optimizer(model, OptimConfig(weight_decay=4e-5, layer_decay=0.5)).param_groups

    for decay in (4e-5, 0.0):
        expected, found = (
            {parameter for group in groups if group["weight_decay"] == decay for parameter in group["params"]}
            for groups in (plain, by_depth)
        )
        assert expected == found
    assert len(plain) == 2


@pytest.mark.parametrize(
    ("count", "sizes"), [(15, [5, 5, 5]), (4, [1, 1, 2]), (2, [0, 1, 1]), (1, [0, 0, 1]), (0, [0, 0, 0])]
)
def test_few_blocks_are_near_the_head(count, sizes):
    assert [len(third) for third in _thirds(list(range(count)))] == sizes


def test_groups_of_an_earlier_checkpoint_have_the_full_learning_rate():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [parameter]}], lr=0.0)

    set_learning_rate(optimizer, 0.25)

    assert optimizer.param_groups[0]["lr"] == 0.25
    assert describe_depth(optimizer) == ""


def test_the_warm_up_can_be_a_fraction_of_the_training():
    config = OptimConfig(warmup_fraction=0.1, warmup_epochs=3, schedule="cosine", lr=1.0, lr_batch=8)
    rates = [learning_rate(step, config, batch_size=8, steps=200, epoch_steps=6) for step in range(200)]

    assert rates.index(max(rates)) == 20
    assert max(rates) == pytest.approx(1.0)
