"""Converted R-CNNs against outputs of Google's own code, stage by stage; benchmarks/golden_maskrcnn.py writes them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from spinet.convert.convert import convert
from spinet.engine.checkpoint import load_model
from spinet.models.rcnn import BOX_SIDE, MASK_SIDE
from spinet.models.rois import boxes_to_rois
from spinet.models.rpn import select_proposals

ROOT = Path(os.environ.get("SPINET_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden"))
NETWORKS = {"MaskRCNN-SpineNet": "mask-rcnn", "CascadeRCNN-SpineNet": "cascade-mask-rcnn"}
YX = [1, 0, 3, 2]
# In single precision; a wrong convention gives 1e-2 and more.
CLOSE = 2e-5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=NETWORKS)
def recorded(request, tmp_path_factory):
    """Network, recorded outputs and the network's features for the recorded image."""
    folder = ROOT / "model_garden" / request.param
    if not folder.is_dir():
        pytest.skip(f"benchmarks/golden_maskrcnn.py has not written {folder}; SPINET_GOLDEN names its folder")
    file = tmp_path_factory.mktemp(request.param) / "w.safetensors"
    converted = convert(folder)
    assert converted.left_out.keys() <= {"optimizer state", "counters"}
    assert converted.info.model.head == NETWORKS[request.param]
    converted.save(file)
    model, _ = load_model(file)
    expected = dict(np.load(folder / "golden.npz"))
    with torch.no_grad():
        features = model.features(image(expected))
    return model, expected, features


def image(expected):
    return torch.from_numpy(expected["image"]).permute(0, 3, 1, 2)


def distance(ours, theirs):
    """Largest difference in shares of the largest value."""
    theirs = torch.from_numpy(theirs)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def misplaced(ours, theirs):
    """Largest distance in pixels from a box to the nearest of the others: near-equal scores may change their order."""
    gaps = (ours[:, None] - torch.from_numpy(theirs)).abs().amax(dim=2)
    return max(gaps.amin(dim=1).max().item(), gaps.amin(dim=0).max().item())


def xyxy(boxes):
    return boxes[..., YX]


def roi_features(features):
    return features.permute(0, 2, 3, 1)[None]


@torch.no_grad()
def test_features_and_region_proposals_are_equal(recorded):
    model, expected, features = recorded

    objectness, deltas = model.rpn(features)

    for index, (level, flow) in enumerate(features.items()):
        assert distance(flow.permute(0, 2, 3, 1), expected[f"features_{level}"]) < CLOSE
        assert distance(objectness[index], expected[f"rpn_scores_{level}"].reshape(1, -1)) < CLOSE
        assert distance(deltas[index], xyxy(expected[f"rpn_boxes_{level}"].reshape(1, -1, 4))) < CLOSE
    size, count = image(expected).shape[-2:], model.options.proposals
    boxes, valid = select_proposals(objectness, deltas, model.anchors(*size, "cpu"), size, count, count)
    assert valid.all()
    assert misplaced(boxes[0], xyxy(expected["proposals"][0])) < 0.05


@torch.no_grad()
def test_features_of_regions_and_the_outputs_of_the_heads_are_equal(recorded):
    model, expected, features = recorded
    size = image(expected).shape[-2:]
    rois = boxes_to_rois(torch.from_numpy(xyxy(expected["proposals"])))

    assert distance(roi_features(model._pool(features, rois, BOX_SIDE)), expected["roi_features"]) < CLOSE
    for stage, head in enumerate(model.box_heads):
        logits, deltas = head(model._pool(features, rois, BOX_SIDE))
        assert distance(logits[None], expected[f"class_{stage}"]) < CLOSE
        assert distance(deltas.flatten(1)[None], expected[f"box_{stage}"][..., order(deltas)]) < CLOSE
        rois = model._move(rois, deltas[:, 0], stage, size)
    regions = boxes_to_rois(torch.from_numpy(xyxy(expected["detection_boxes"])))
    cut = model._pool(features, regions, MASK_SIDE)
    assert distance(roi_features(cut), expected["mask_features"]) < CLOSE
    masks = model.mask_head(cut, torch.from_numpy(expected["detection_classes"][0]).long())
    assert distance(masks[None], expected["mask_logits"]) < CLOSE


def order(deltas):
    """Where each of our box offsets stands among theirs."""
    return [4 * row + place for row in range(deltas.shape[1]) for place in YX]


def test_detections_are_equal(recorded):
    model, expected, _ = recorded

    found = model.predict(image(expected))[0]

    count = int(expected["num_detections"][0])
    assert len(found["scores"]) == count
    assert len(set(found["labels"].tolist())) > 1
    assert (found["labels"] + 1).tolist() == expected["detection_classes"][0, :count].tolist()
    assert distance(found["scores"], expected["detection_scores"][0, :count]) < CLOSE
    assert distance(found["boxes"], xyxy(expected["detection_boxes"][0, :count])) < CLOSE
    assert distance(found["masks"], expected["detection_masks"][0, :count]) < CLOSE
