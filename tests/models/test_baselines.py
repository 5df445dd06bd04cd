from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spinet.arch.baseline import BASELINES, Baseline
from spinet.arch.catalog import load_network
from spinet.errors import SpinetError
from spinet.models.baselines import BaselineBackbone
from spinet.models.blocks import count_parameters
from spinet.models.factory import create_backbone, create_classifier, create_rcnn, create_retinanet
from spinet.models.nas_fpn import NODES, Cell, NasFpn, to_level
from spinet.models.options import BackboneOptions

NARROW = Baseline(body="resnet18", channels=8, head_channels=8, head_convs=1)


def counted(baseline: Baseline, size: int, classes: int) -> tuple[float, float]:
    """Million parameters and thousand million multiply-adds of a RetinaNet."""
    with torch.device("meta"):
        model = create_retinanet(baseline, classes).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.empty(1, 3, size, size, device="meta"))
    return count_parameters(model) / 1e6, counter.get_total_flops() / 2e9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("baseline", "size", "million", "giga"),
    [
        # Paper v1 Table 2, which gives 96.8 B, 34.0 M and 325.0 B, 53.0 M for the first two. Width 384 is inferred.
        (load_network("resnet50-fpn"), 640, 34.07, 96.70),
        (load_network("resnet101-fpn"), 1024, 53.06, 325.1),
        (load_network("resnet50-nas-fpn"), 640, 60.3, 140.0),
        (replace(load_network("resnet50-nas-fpn"), channels=384, head_channels=384), 1280, 103.0, 1043.0),
    ],
    ids=lambda value: value.name if isinstance(value, Baseline) else str(value),
)
def test_detectors_have_the_published_parameters_and_multiply_adds(baseline, size, million, giga):
    assert counted(baseline, size, 90) == (pytest.approx(million, rel=6e-3), pytest.approx(giga, rel=5e-3))


@pytest.mark.slow
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_levels_3_to_7_of_one_width(name):
    with torch.device("meta"):
        backbone = create_backbone(name)

    features = backbone(torch.empty(2, 3, 250, 380, device="meta"))

    assert {level: tuple(flow.shape) for level, flow in features.items()} == {
        level: (2, 256, -(-250 // 2**level), -(-380 // 2**level)) for level in (3, 4, 5, 6, 7)
    }
    assert (backbone.levels, backbone.out_channels) == ((3, 4, 5, 6, 7), 256)


@pytest.mark.slow
@pytest.mark.parametrize("neck", ["fpn", "nas-fpn"])
def test_a_baseline_learns_and_predicts_like_any_detector(neck):
    torch.manual_seed(0)
    model = create_retinanet(replace(NARROW, neck=neck, repeats=2), num_classes=3)
    targets = {"boxes": torch.tensor([[[8.0, 8, 40, 40]]] * 2), "labels": torch.tensor([[1], [2]])}

    losses = model.losses(torch.randn(2, 3, 128, 128), targets)
    sum(losses.values()).backward()

    # The last node of NAS-FPN and everything before it is used: no parameter is left out.
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(model.eval().predict(torch.randn(2, 3, 100, 90))) == 2


def test_fewer_levels_and_other_input_channels_are_possible():
    backbone = create_backbone(NARROW, levels=(4, 5), in_channels=1).eval()

    features = backbone(torch.randn(1, 1, 64, 64))

    assert {level: tuple(flow.shape) for level, flow in features.items()} == {4: (1, 8, 4, 4), 5: (1, 8, 2, 2)}


def test_a_level_that_a_baseline_does_not_have_is_refused_with_its_levels():
    with pytest.raises(SpinetError, match="resnet50-fpn has no features of level 2; its levels are 3, 4, 5, 6, 7"):
        create_backbone("resnet50-fpn", levels=(2, 5))
    with pytest.raises(SpinetError, match="no features of level 8"):
        BaselineBackbone(NARROW, levels=(3, 8))


@pytest.mark.parametrize(
    "setting",
    [
        {"pad_mode": "same"},
        {"pool_mode": "mg"},
        {"stochastic_depth": 0.1},
        {"dropblock": 0.1},
        {"endpoint_activation": False},
        {"squeeze_mode": "mg"},
    ],
    ids=str,
)
def test_an_option_that_a_baseline_does_not_support_is_refused(setting):
    with pytest.raises(SpinetError, match=f"{next(iter(setting))} is not supported by the baseline resnet18-fpn"):
        create_backbone("resnet18-fpn", **setting)


@pytest.mark.slow
def test_epsilon_and_momentum_reach_every_batch_norm():
    for neck in ("fpn", "nas-fpn"):
        backbone = create_backbone(replace(NARROW, neck=neck), bn_eps=1e-4, bn_momentum=0.003)
        norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.003)}


def test_the_top_of_the_pyramid_reaches_every_level_but_not_the_other_way():
    torch.manual_seed(0)
    neck = create_backbone(NARROW).neck.eval()
    features = [torch.randn(1, width, 16 // 2**place, 16 // 2**place) for place, width in enumerate((128, 256, 512))]
    before = neck(features)

    top = neck([features[0], features[1], features[2] + 1])
    bottom = neck([features[0] + 1, features[1], features[2]])

    assert [level for level in before if not torch.equal(before[level], top[level])] == [3, 4, 5, 6, 7]
    assert [level for level in before if not torch.equal(before[level], bottom[level])] == [3]


def test_every_output_of_the_nas_fpn_cell_depends_on_what_its_nodes_say():
    # Follow the nodes by hand: which of the five inputs reach which output. No node asks for inputs 2 and 4 (levels 5
    # and 7), which therefore join the outputs of their levels.
    sources: list[set[int]] = [{index} for index in range(5)]
    joining = {5: {2}, 7: {4}}
    for node in NODES:
        sources.append(sources[node.inputs[0]] | sources[node.inputs[1]] | joining.get(node.level, set()))
    expected = {node.level: sources[5 + place] for place, node in enumerate(NODES) if node.output}
    torch.manual_seed(0)
    cell = Cell(4, BackboneOptions()).eval()
    pyramid = [torch.randn(1, 4, 32 >> place, 32 >> place) for place in range(5)]
    before = cell(pyramid)

    found: dict[int, set[int]] = {level: set() for level in range(3, 8)}
    for place in range(5):
        changed = cell([flow + (index == place) for index, flow in enumerate(pyramid)])
        for level in range(3, 8):
            if not torch.equal(changed[level - 3], before[level - 3]):
                found[level].add(place)

    assert found == expected


def test_nas_fpn_keeps_sizes_that_do_not_divide():
    neck = NasFpn((4, 6, 8), 4, 2, BackboneOptions())
    sizes = {3: (13, 21), 4: (7, 11), 5: (4, 6), 6: (2, 3), 7: (1, 2)}
    features = [torch.randn(2, width, *sizes[level]) for level, width in zip((3, 4, 5), (4, 6, 8), strict=True)]

    assert {level: tuple(flow.shape[-2:]) for level, flow in neck(features).items()} == sizes


def test_shrinking_takes_the_maxima_and_enlarging_repeats():
    features = torch.arange(16.0).reshape(1, 1, 4, 4)

    assert to_level(features, 3, 4, (2, 2)).flatten().tolist() == [5, 7, 13, 15]
    assert to_level(features, 3, 2, (8, 8))[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_body_of_timm_gives_its_features_to_the_pyramid():
    pytest.importorskip("timm")
    backbone = create_backbone("timm/mobilenetv3_small_050-fpn", in_channels=1).eval()

    features = backbone(torch.randn(1, 1, 128, 128))

    assert {level: tuple(flow.shape) for level, flow in features.items()} == {
        level: (1, 256, 128 >> level, 128 >> level) for level in (3, 4, 5, 6, 7)
    }


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mobilenet_v99", "timm has no multi-scale features of 'mobilenet_v99'"),
        ("vit_tiny_patch16_224", "timm's 'vit_tiny_patch16_224' has features of strides .*, not of 8, 16 and 32"),
    ],
)
def test_an_unknown_timm_model_or_one_without_a_pyramid_is_refused(name, sentence):
    pytest.importorskip("timm")
    with pytest.raises(SpinetError, match=sentence):
        create_backbone(f"timm/{name}-fpn")


def test_without_timm_its_bodies_are_refused_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)

    with pytest.raises(SpinetError, match=r"needs timm, which is not installed: pip install 'spinet\[timm\]'"):
        create_backbone("timm/hrnet_w18-fpn")


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1000, 5089])
@pytest.mark.parametrize(
    ("name", "width", "body"),
    [("resnet34", 512, 21_284_672), ("resnet50", 2048, 23_508_032), ("resnet152", 2048, 58_143_808)],
)
def test_a_resnet_without_a_neck_is_the_classifier_that_the_paper_compares_with(name, width, body, classes):
    with torch.device("meta"):
        model = create_classifier(load_network(name), classes)

    assert model(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, classes)
    assert count_parameters(model) == body + (width + 1) * classes
    assert model.backbone.levels == (5,)


def test_a_resnet_without_a_neck_gives_the_mean_of_its_last_features_to_the_dense_layer():
    torch.manual_seed(0)
    model = create_classifier(load_network("resnet18"), 3).eval()
    images = torch.randn(2, 3, 64, 64)

    expected = model.fc(model.backbone.body(images)[-1].mean(dim=(2, 3)))

    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("create", [create_retinanet, create_rcnn])
def test_a_detector_on_a_resnet_without_a_neck_is_refused(create):
    with pytest.raises(SpinetError, match="resnet50 has features of one level only, but a detector needs resnet50-fpn"):
        create(load_network("resnet50"), 3)
