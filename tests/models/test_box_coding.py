"""Detectors published by others: how they count the pixels of boxes and label the background."""

import math

import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.errors import SpinetError
from spinet.models.anchors import decode_boxes, decode_boxes_tpu, encode_boxes, level_anchors, round_anchors
from spinet.models.factory import create_rcnn, create_retinanet

ANCHORS = torch.tensor([[10.0, 20.0, 33.0, 37.5], [-4.0, -8.0, 12.0, 40.0]])
DELTAS = torch.tensor([[0.1, -0.2, 0.3, -0.4], [-0.5, 0.25, 0.0, 1.0]])


def test_tpu_boxes_follow_the_formulas_of_its_box_utils():
    for anchor, delta, box in zip(ANCHORS.tolist(), DELTAS.tolist(), decode_boxes_tpu(DELTAS, ANCHORS), strict=True):
        width, height = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
        new_width, new_height = math.exp(delta[2]) * width, math.exp(delta[3]) * height
        left = delta[0] * width + anchor[0] + width / 2 - new_width / 2
        top = delta[1] * height + anchor[1] + height / 2 - new_height / 2
        expected = torch.tensor([left, top, left + new_width - 1, top + new_height - 1])
        torch.testing.assert_close(box, expected)


def test_tpu_anchors_decode_to_themselves():
    torch.testing.assert_close(decode_boxes_tpu(torch.zeros(2, 4), ANCHORS), ANCHORS)


def test_rounded_anchors_are_those_of_mmdetection():
    # Edges of mmdet/core/anchor/anchor_generator.py for base size 8, scale 3, ratio 2; the last pixel is inside there.
    height, width = 8 * 3 * math.sqrt(2), 8 * 3 / math.sqrt(2)
    theirs = torch.tensor(
        [3.5 - (width - 1) / 2, 3.5 - (height - 1) / 2, 3.5 + (width - 1) / 2, 3.5 + (height - 1) / 2]
    )
    ours = round_anchors(level_anchors((1, 1), 8, 3.0, 1, (0.5,)))[0]
    assert ours.tolist() == (theirs.round() + torch.tensor([0.0, 0, 1, 1])).tolist()


def test_mmdetection_decodes_rounded_anchors_as_we_do():
    # delta2bbox of mmdetection 1.1: widths count the last pixel, centres lie between the edges' pixels.
    anchors = round_anchors(ANCHORS)
    inclusive = anchors - torch.tensor([0.0, 0, 1, 1])
    width = inclusive[:, 2] - inclusive[:, 0] + 1
    centre = (inclusive[:, 0] + inclusive[:, 2]) / 2 + width * DELTAS[:, 0]
    right = centre + width * DELTAS[:, 2].exp() / 2 - 0.5
    torch.testing.assert_close(decode_boxes(DELTAS, anchors)[:, 2], right + 1)


def detector(**settings):
    torch.manual_seed(0)
    model = create_retinanet(load_architecture("tiny"), num_classes=3, **settings).eval()
    torch.nn.init.constant_(model.cls_tower.bias, 0.0)
    return model


def test_the_background_is_never_reported():
    images = torch.rand(1, 3, 64, 64)
    assert 0 in detector().predict(images)[0]["labels"]
    found = detector(background=True).predict(images)[0]
    assert len(found["labels"])
    assert 0 not in found["labels"]


@pytest.mark.slow
def test_the_detector_rounds_its_anchors_for_mmdetection_and_clips_to_the_last_pixel_for_tpu():
    device = torch.device("cpu")
    exact, rounded = (detector(box_coding=coding).anchors(64, 64, device) for coding in ("exact", "mmdet"))
    assert torch.equal(rounded, rounded.round())
    assert (rounded - exact).abs().max() <= 0.5
    assert detector(box_coding="tpu").predict(torch.rand(1, 3, 64, 64))[0]["boxes"].max() <= 63
    # Trained as it is, a box is still its own anchor's encoding.
    torch.testing.assert_close(decode_boxes(encode_boxes(ANCHORS, ANCHORS), ANCHORS), ANCHORS)


@pytest.mark.parametrize("masks", [False, True])
def test_an_r_cnn_keeps_tpu_boxes_inside_the_last_pixel(masks):
    torch.manual_seed(0)
    images = torch.rand(1, 3, 64, 64)
    model = create_rcnn("tiny", 3, proposals=30, masks=masks).eval()
    like_tpu = create_rcnn("tiny", 3, proposals=30, masks=masks, box_coding="tpu", roi_align="google").eval()
    like_tpu.load_state_dict(model.state_dict())

    assert model.predict(images)[0]["boxes"].max() == 64
    assert like_tpu.predict(images)[0]["boxes"].max() == 63


def test_an_unknown_box_coding_is_refused():
    with pytest.raises(SpinetError, match="unknown box_coding 'tup', did you mean 'tpu'"):
        detector(box_coding="tup")


def test_endpoints_can_be_linear():
    images = torch.rand(1, 3, 64, 64)
    assert all(features.min() >= 0 for features in detector().backbone(images).values())
    assert all(features.min() < 0 for features in detector(endpoint_activation=False).backbone(images).values())
