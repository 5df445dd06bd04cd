from dataclasses import replace

import pytest

from spinet.arch.catalog import load_architecture
from spinet.arch.cost import total
from spinet.arch.head_cost import HEADS, head_costs, model_cost, model_parts, region_head_channels
from spinet.arch.scaling import Scaling

AREAS = {3: 64, 4: 16, 5: 4}


@pytest.mark.parametrize(
    ("name", "size", "million"),
    [("spinenet49", 640, 56.4), ("spinenet96", 1024, 70.8), ("spinenet143", 1280, 94.9)],
)
def test_cascade_rcnn_rs_has_the_parameters_of_tensorflow_models(name, size, million):
    found = model_cost(load_architecture(name), size, "cascade-mask-rcnn")

    assert found.parameters == pytest.approx(million * 1e6, rel=3e-3)


def test_masks_add_the_mask_head_and_nothing_else():
    for plain, masks in (("faster-rcnn", "mask-rcnn"), ("cascade-rcnn", "cascade-mask-rcnn")):
        without, with_masks = (head_costs(Scaling(), AREAS, head, 91) for head in (plain, masks))

        assert set(with_masks) - set(without) == {"mask head"}
        assert {name: with_masks[name] for name in without} == without


def test_a_mask_head_costs_what_its_layers_do():
    # Four 3x3 convolutions 256 -> 256, a 2x2 one, 91 classes; biases and batch norms.
    convs = 4 * (9 * 256 * 256 + 3 * 256)
    upsampling = 4 * 256 * 256 + 3 * 256

    found = head_costs(Scaling(), AREAS, "mask-rcnn", 91)["mask head"]

    assert found.parameters == convs + upsampling + 257 * 91
    pixels = 14 * 14 * 100
    assert found.multiply_adds == pixels * (4 * 9 * 256 * 256 + 4 * 256 * 256) + 28 * 28 * 100 * 256 * 91


def test_a_cascade_has_two_box_heads_with_one_box_for_all_classes():
    faster = head_costs(Scaling(), AREAS, "faster-rcnn", 91)
    cascade = head_costs(Scaling(), AREAS, "cascade-rcnn", 91)

    assert list(cascade) == ["region proposals", "box head 1", "box head 2"]
    assert cascade["box head 1"].parameters == faster["box head"].parameters - 4 * 90 * 1025


@pytest.mark.parametrize(
    ("head", "box", "boxes"),
    [("faster-rcnn", "box head", 91), ("mask-rcnn", "box head", 91), ("cascade-mask-rcnn", "box head 2", 1)],
)
def test_heads_without_convolutions_take_the_features_as_they_are(head, box, boxes):
    scaling = replace(Scaling(), head_convs=0, endpoint_channels=64)
    channels, dense = region_head_channels(scaling.head_channels)

    costs = head_costs(scaling, AREAS, head, 91)

    # RoIs of 7 x 7 x 64 -> dense layer with bias and batch norm -> classes and boxes.
    assert costs[box].parameters == 49 * 64 * dense + 3 * dense + (dense + 1) * (91 + 4 * boxes)
    if "mask head" in costs:
        # A 2x2 transposed convolution 64 -> channels with bias and batch norm -> masks.
        assert costs["mask head"].parameters == 4 * 64 * channels + 3 * channels + (channels + 1) * 91


def test_the_parts_of_a_whole_model_add_up():
    tiny = load_architecture("tiny")

    for head in HEADS:
        assert total(part.cost for part in model_parts(tiny, 128, head)) == model_cost(tiny, 128, head)
