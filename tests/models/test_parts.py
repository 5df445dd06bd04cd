"""Every parameter of a backbone belongs to exactly one of its parts."""

import pytest
import torch

from spinet.models.factory import create_backbone


def counted(modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "spinenet49-quarter",
        pytest.param("spinenet49xs-mobile", marks=pytest.mark.slow),
        pytest.param("resnet18-fpn", marks=pytest.mark.slow),
        pytest.param("resnet18-nas-fpn", marks=pytest.mark.slow),
        pytest.param("resnet18", marks=pytest.mark.slow),
        pytest.param("timm/mobilenetv3_small_050-fpn", marks=pytest.mark.slow),
        pytest.param("timm/convnext_atto-fpn", marks=pytest.mark.slow),
    ],
)
def test_the_parts_hold_every_parameter_once(name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    with torch.device("meta"):
        backbone = create_backbone(name, levels=None)

    stem, blocks, endpoints = backbone.parts()

    parameters = [p for module in (*stem, *blocks, *endpoints) for p in module.parameters()]
    assert len(parameters) == len(set(parameters))
    assert set(parameters) == set(backbone.parameters())
    assert 0 < counted(stem) < counted(blocks)


def test_the_stem_of_spinenet49_is_its_first_convolution_and_both_blocks_of_level_2():
    backbone = create_backbone("spinenet49-quarter")

    stem, blocks, endpoints = backbone.parts()

    assert stem == [backbone.stem, backbone.blocks["0"], backbone.blocks["1"]]
    assert blocks == [backbone.blocks[str(index)] for index in range(2, 17) if str(index) in backbone.blocks]
    assert endpoints == [backbone.endpoints]
