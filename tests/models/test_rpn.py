import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.models.detection._utils import BoxCoder

from spinet.models.anchors import decode_boxes, encode_boxes, match_anchors, pyramid_anchors
from spinet.models.options import BackboneOptions
from spinet.models.rpn import SAMPLES, RegionProposalNetwork, rpn_losses, select_proposals

LEVELS = (3, 4)
LEVEL_ANCHORS = pyramid_anchors((64, 64), LEVELS, scale=2.0, octaves=1, aspect_ratios=(1.0,))
ANCHORS = torch.cat(LEVEL_ANCHORS)
NOTHING = {"boxes": torch.zeros(2, 1, 4), "labels": torch.full((2, 1), -1)}


def outputs(images: int = 2, logit: float = 0.0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    logits = [torch.full((images, len(level)), logit) for level in LEVEL_ANCHORS]
    return logits, [torch.zeros(images, len(level), 4) for level in LEVEL_ANCHORS]


def test_outputs_follow_the_anchors_of_their_level():
    torch.manual_seed(0)
    head = RegionProposalNetwork(6, 5, 2, 9, LEVELS, BackboneOptions()).eval()
    features = {3: torch.randn(2, 6, 8, 4), 4: torch.randn(2, 6, 4, 2)}

    logits, deltas = head(features)

    assert [each.shape for each in logits] == [(2, 8 * 4 * 9), (2, 4 * 2 * 9)]
    assert [each.shape for each in deltas] == [(2, 8 * 4 * 9, 4), (2, 4 * 2 * 9, 4)]
    # Row 5, column 3, anchor 7 is channel 7 of the scores and channels 28 to 31 of the boxes there.
    flow = features[3]
    for conv, norm in zip(head.convs, head.norms["3"], strict=True):
        flow = F.relu(norm(conv(flow)))
    place = (5 * 4 + 3) * 9 + 7
    torch.testing.assert_close(logits[0][:, place], head.cls_logits(flow)[:, 7, 5, 3])
    torch.testing.assert_close(deltas[0][:, place], head.bbox_pred(flow)[:, 28:32, 5, 3])


def test_levels_share_the_convolutions_but_not_the_batch_norms():
    head = RegionProposalNetwork(6, 5, 1, 3, LEVELS, BackboneOptions(bn_eps=1e-2, bn_momentum=0.3))

    names = {name for name, _ in head.named_parameters()}

    assert {"convs.0.weight", "norms.3.0.weight", "norms.4.0.weight", "cls_logits.bias", "bbox_pred.weight"} <= names
    assert (head.norms["3"][0].eps, head.norms["3"][0].momentum) == (1e-2, 0.3)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_offsets_are_those_of_torchvisions_box_coder(weights):
    torch.manual_seed(0)
    corners = torch.rand(2, 50, 2) * 100
    boxes, anchors = torch.cat([corners, corners + 1 + torch.rand(2, 50, 2) * 90], dim=2)
    coder, scale = BoxCoder(weights), torch.tensor(weights)

    offsets = encode_boxes(boxes, anchors) * scale

    torch.testing.assert_close(offsets, coder.encode_single(boxes, anchors))
    torch.testing.assert_close(decode_boxes(offsets / scale, anchors), coder.decode_single(offsets, anchors))
    wild = torch.randn(50, 4) * 40
    torch.testing.assert_close(decode_boxes(wild / scale, anchors), coder.decode_single(wild, anchors))


def test_the_objectness_loss_counts_every_sampled_anchor_alike():
    logits, deltas = outputs(logit=0.0)

    score, box = rpn_losses(logits, deltas, ANCHORS, NOTHING)

    # 80 anchors of each image, all background, all sampled, at a logarithm of two each; by the full sample of 256.
    assert sum(len(level) for level in LEVEL_ANCHORS) == 80
    assert score.item() == pytest.approx(80 / SAMPLES * math.log(2))
    assert box == 0


def test_anchors_of_medium_iou_are_ignored():
    # 16 x 16 at the centre of cell (1, 1) of level 3; within it 16 x 8: overlap 0.5; the object itself forces one.
    anchor = LEVEL_ANCHORS[0][9]
    objects = torch.stack([anchor, anchor])[None].clone()
    objects[0, 1, 3] -= 8
    labels = torch.tensor([[0, 0]])

    strict = match_anchors(ANCHORS, objects[:, 1:], labels[:, 1:], 0.7, 0.3).labels[0]
    plain = match_anchors(ANCHORS, objects[:, 1:], labels[:, 1:], 0.7).labels[0]

    assert (strict == -2).any()
    assert not (plain == -2).any()
    assert torch.equal(strict.clamp(min=-1), plain)


def test_the_box_loss_is_the_mean_over_a_levels_positives_summed_over_levels():
    logits, deltas = outputs(images=1)
    # One object equal to an anchor of each level; their predictions are off.
    objects = torch.stack([LEVEL_ANCHORS[0][20], LEVEL_ANCHORS[1][5]])[None]
    targets = {"boxes": objects, "labels": torch.tensor([[2, 0]])}
    matches = match_anchors(ANCHORS, objects, torch.zeros(1, 2).long(), 0.7, 0.3).labels[0]
    assert (matches[:64] == 0).sum() == (matches[64:] == 0).sum() == 1
    deltas[0][0, 20, 0] = 1.0  # Huber of delta 1/9: (1 - 1/18) / 9
    deltas[1][0, 5] = 0.1  # (0.1) ** 2 / 2, four times

    _, box = rpn_losses(logits, deltas, ANCHORS, targets)

    assert box.item() == pytest.approx((1 - 1 / 18) / 9 / 4 + 0.1**2 / 2, rel=1e-5)


def test_proposals_are_the_best_anchors_after_nms():
    logits, deltas = outputs(images=2, logit=-5.0)
    logits[0][0, 27], logits[0][1, 36], logits[1][0, 5] = 2.0, 3.0, 1.0
    # The neighbour tells of the same box.
    logits[0][0, 28] = 1.5
    deltas[0][0, 28] = encode_boxes(LEVEL_ANCHORS[0][27], LEVEL_ANCHORS[0][28])

    boxes, valid = select_proposals(logits, deltas, ANCHORS, (64, 64), pre_nms=10, proposals=2)

    expected = torch.stack([torch.stack([LEVEL_ANCHORS[0][27], LEVEL_ANCHORS[1][5]]), boxes[1]])
    torch.testing.assert_close(boxes, expected.clamp(0, 64))
    torch.testing.assert_close(boxes[1, 0], LEVEL_ANCHORS[0][36].clamp(0, 64))
    assert valid.all()


def test_nms_keeps_boxes_of_different_levels_apart():
    logits, deltas = outputs(images=1, logit=-5.0)
    logits[0][0, 27], logits[1][0, 5] = 2.0, 1.0
    deltas[1][0, 5] = encode_boxes(LEVEL_ANCHORS[0][27], LEVEL_ANCHORS[1][5])

    boxes, _ = select_proposals(logits, deltas, ANCHORS, (64, 64), pre_nms=10, proposals=2)

    torch.testing.assert_close(boxes[0, 0], boxes[0, 1])


def test_missing_proposals_are_zero_and_invalid():
    logits, deltas = outputs(images=1)

    boxes, valid = select_proposals(logits, deltas, ANCHORS, (64, 64), pre_nms=3, proposals=50)

    assert boxes.shape == (1, 50, 4)
    assert 2 <= int(valid.sum()) <= 6
    assert not boxes[~valid].any()
    assert boxes[valid].any(dim=1).all()


def test_proposals_end_at_the_image_and_carry_no_gradient():
    logits, deltas = outputs(images=1)
    logits = [each.requires_grad_() for each in logits]
    deltas[0][..., 2:] = 3.0

    boxes, _ = select_proposals(logits, deltas, ANCHORS, (40, 50), pre_nms=100, proposals=100)

    assert not boxes.requires_grad
    assert boxes.min() >= 0
    assert (boxes[..., 2].max(), boxes[..., 3].max()) == (50, 40)
