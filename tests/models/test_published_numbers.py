"""Parameters and multiply-adds of the published family, counted without memory for weights (meta device).

Expected numbers: Google's own Keras and TensorFlow code, counted layer by layer; multiply-adds are those of the
convolutions alone.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import load_architecture, names
from spinet.arch.published import PUBLISHED
from spinet.models.backbone import SpineNet
from spinet.models.blocks import count_parameters
from spinet.models.factory import create_retinanet

# With 91 classes.
DETECTOR_PARAMETERS = {
    "spinenet49s": 11_265_942,
    "spinenet49s-256": 11_944_598,  # as the published checkpoint has
    "spinenet49": 28_543_383,
    "spinenet96": 42_974_871,
    "spinenet143": 66_959_511,
    "spinenet143l": 107_508_152,
    "spinenet190": 163_637_351,
    "spinenet49xs-mobile": 872_711,
    "spinenet49s-mobile": 1_030_653,
    "spinenet49-mobile": 2_337_579,
    "r0-sp53": 26_056_215,
    "r0-sp53-plus": 29_825_431,
    "hourglass": 26_792_727,
    "fish": 26_770_839,
}

# With 90 classes, as the tables of the paper's first version. Its numbers are rounded to 0.1 or 0.01 million.
V1_PARAMETERS = {
    "spinenet49s-v1": (16_326_638, 16.3),
    "spinenet49-v1": (30_901_518, 30.9),
    "spinenet96-v1": (45_333_006, 45.3),
    "spinenet143": (66_938_766, 66.9),
    "spinenet49xxs-mobile-v1": (850_121, 0.85),
    "spinenet49xs-mobile-v1": (1_004_383, 1.01),
    "spinenet49s-mobile-v1": (1_336_961, 1.34),
    "spinenet49-mobile-v1": (2_275_602, 2.28),
    "spinenet49-resnext32x4d": (29_910_414, 30.0),
    "spinenet49-resnext32x4d-v1": (29_943_310, 30.0),
    "spinenet49-resnext32x8d": (46_024_078, 46.1),
    "spinenet49-resnext32x8d-v1": (46_056_974, 46.1),
    "r0-sp53-plus-v1": (29_837_582, 29.9),
}

# Trainable, and with the running means and variances.
BACKBONE_PARAMETERS = {
    "spinenet49s": (9_089_215, 9_146_351),
    "spinenet49": (21_831_488, 21_920_192),
    "spinenet96": (36_262_976, 36_385_728),
    "spinenet143": (60_247_616, 60_413_888),
    "spinenet143l": (100_796_257, 101_011_093),
    "spinenet190": (126_587_664, 126_849_216),
    "spinenet49xs-mobile": (842_456, 869_400),
    "spinenet49s-mobile": (975_678, 1_004_872),
    "spinenet49-mobile": (2_268_708, 2_313_892),
}


def multiply_adds(model: nn.Module, size: int) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 2


def meta_backbone(name: str) -> SpineNet:
    architecture = load_architecture(name)
    with torch.device("meta"):
        return SpineNet(architecture.genotype, architecture.scaling)


def test_every_published_name_has_its_count_here():
    assert set(DETECTOR_PARAMETERS) | set(V1_PARAMETERS) == set(PUBLISHED)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), DETECTOR_PARAMETERS.items())
def test_detectors_of_91_classes_have_the_published_parameters(name, expected):
    with torch.device("meta"):
        model = create_retinanet(load_architecture(name), num_classes=91)

    assert count_parameters(model) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected", "printed"), [(name, *each) for name, each in V1_PARAMETERS.items()])
def test_detectors_of_90_classes_have_the_parameters_of_the_papers_first_version(name, expected, printed):
    with torch.device("meta"):
        model = create_retinanet(load_architecture(name), num_classes=90)

    assert count_parameters(model) == expected
    assert expected == pytest.approx(printed * 1e6, rel=6e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), BACKBONE_PARAMETERS.items())
def test_backbones_have_the_published_parameters_and_statistics(name, expected):
    backbone = meta_backbone(name)
    statistics = sum(buffer.numel() for key, buffer in backbone.named_buffers() if "running" in key)

    assert (count_parameters(backbone), count_parameters(backbone) + statistics) == expected


def test_spinenet49_with_a_level_2_output_has_the_parameters_of_tensorflow_models():
    # With min_level 2 tensorflow/models adds block 17, (2, bottleneck, (2, 13)), as a sixth endpoint.
    found = load_architecture("spinenet49")
    extra = BlockSpec(2, "bottleneck", (2, 13), endpoint=True)
    genotype = replace(found.genotype, blocks=(*found.genotype.blocks, extra))

    with torch.device("meta"):
        backbone = SpineNet(genotype, found.scaling)

    assert backbone.levels == (2, 3, 4, 5, 6, 7)
    assert count_parameters(backbone) == 22_034_688


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "giga"),
    [
        ("spinenet49s", 640, 30.78),
        ("spinenet49", 640, 85.28),
        ("spinenet49", 896, 167.15),
        ("spinenet96", 1024, 265.02),
        ("spinenet143", 1280, 523.34),
        ("spinenet190", 1280, 1881.66),
        ("spinenet49xs-mobile", 256, 0.166),
        ("spinenet49s-mobile", 384, 0.496),
        ("spinenet49-mobile", 384, 0.981),
        ("r0-sp53", 640, 94.77),
    ],
)
def test_detectors_have_the_published_multiply_adds(name, size, giga):
    with torch.device("meta"):
        model = create_retinanet(load_architecture(name), num_classes=91)

    assert multiply_adds(model, size) == pytest.approx(giga * 1e9, rel=5e-4 if giga > 1 else 3e-3)


def norm_elements(model: nn.Module, size: int) -> int:
    """Numbers that batch norms give for one image."""
    counts: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: counts.append(output.numel()))
    with torch.no_grad():
        model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return sum(counts)


# With 91 classes: TensorFlow's profiler on the released code with swish, then on a copy without the 1x1 convolutions
# that paper v1 does not have, beside the figure that its Table 9 prints.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "counted", "printed"),
    [
        ("spinenet49xs-mobile", 256, 0.175, None),
        ("spinenet49s-mobile", 384, 0.518, None),
        ("spinenet49-mobile", 384, 1.016, 1.0),
        ("spinenet49xxs-mobile-v1", 256, 0.169, 0.16),
        ("spinenet49xs-mobile-v1", 384, 0.504, 0.52),
        ("spinenet49s-mobile-v1", 384, 0.661, 0.67),
        ("spinenet49-mobile-v1", 384, 0.980, 0.97),
    ],
)
def test_mobile_detectors_have_the_published_flops_when_batch_norms_count_as_the_profiler_does(
    name, size, counted, printed
):
    with torch.device("meta"):
        model = create_retinanet(load_architecture(name), num_classes=91)

    # One and a half multiply-adds a number, where the other networks of the paper have too few to matter.
    giga = (multiply_adds(model, size) + 1.5 * norm_elements(model, size)) / 1e9

    assert giga == pytest.approx(counted, rel=5e-3)
    assert printed is None or giga == pytest.approx(printed, rel=0.06)


@pytest.mark.parametrize(
    ("name", "giga"),
    [("spinenet49s", 12.33), ("spinenet49", 28.26), ("spinenet96", 46.51), ("spinenet143", 73.81)],
)
@pytest.mark.slow
def test_backbones_have_the_published_multiply_adds_at_640(name, giga):
    assert multiply_adds(meta_backbone(name), 640) == pytest.approx(giga * 1e9, rel=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_architecture_of_the_catalogue_builds_and_gives_its_levels(name):
    architecture = load_architecture(name)
    backbone = meta_backbone(name)

    features = backbone(torch.empty(2, 3, 256, 384, device="meta"))

    channels = architecture.scaling.endpoint_channels
    assert {level: tuple(flow.shape) for level, flow in features.items()} == {
        level: (2, channels, 256 // 2**level, 384 // 2**level) for level in architecture.genotype.endpoints
    }
    assert (list(features), backbone.out_channels) == (list(backbone.levels), channels)
