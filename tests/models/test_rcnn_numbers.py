"""Parameters and multiply-adds of the two-stage detectors, counted on the meta device, beside the published ones."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from spinet.arch.catalog import load_architecture, load_network
from spinet.arch.head_cost import DETECTIONS, PROPOSALS, Head, model_cost
from spinet.models.blocks import count_parameters
from spinet.models.factory import create_rcnn
from spinet.models.rcnn import BOX_SIDE, MASK_SIDE, RCNN

SETTINGS = {
    "faster-rcnn": {"masks": False, "octaves": 1},
    "mask-rcnn": {"octaves": 1},
    "cascade-rcnn": {"cascade": True, "masks": False},
    "cascade-mask-rcnn": {"cascade": True},
}


def meta_detector(name: str, head: str) -> RCNN:
    with torch.device("meta"):
        return create_rcnn(load_network(name), 90, **SETTINGS[head])


def multiply_adds(model: RCNN, size: int) -> int:
    """Those of all parts on as many regions as at inference; which they are cannot be known without numbers."""
    model.eval()
    width = model.backbone.out_channels
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        model.rpn(model.backbone(torch.empty(1, 3, size, size)))
        for stage in model.box_heads:
            stage(torch.empty(PROPOSALS, width, BOX_SIDE, BOX_SIDE))
        if model.mask_head is not None:
            labels = torch.empty(DETECTIONS, dtype=torch.long)
            model.mask_head(torch.empty(DETECTIONS, width, MASK_SIDE, MASK_SIDE), labels)
    return counter.get_total_flops() // 2


@pytest.mark.slow
@pytest.mark.parametrize("head", SETTINGS)
@pytest.mark.parametrize("name", ["spinenet49s", "spinenet49", "spinenet96", "spinenet143", "spinenet190", "tiny"])
def test_models_have_as_many_parameters_as_head_cost_counts(name, head: Head):
    assert count_parameters(meta_detector(name, head)) == model_cost(load_architecture(name), 640, head).parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "million"),
    [
        ("spinenet49s", 13.9),
        ("spinenet49", 40.8),
        ("spinenet96", 55.2),
        ("spinenet143", 79.2),
        ("spinenet190", 168.2),
    ],
)
def test_mask_rcnn_has_the_published_parameters(name, million):
    assert count_parameters(meta_detector(name, "mask-rcnn")) == pytest.approx(million * 1e6, rel=5e-3)


@pytest.mark.parametrize(("name", "million"), [("spinenet49", 56.4), ("spinenet96", 70.8), ("spinenet143", 94.9)])
def test_cascade_rcnn_rs_has_the_published_parameters(name, million):
    assert count_parameters(meta_detector(name, "cascade-mask-rcnn")) == pytest.approx(million * 1e6, rel=3e-3)


@pytest.mark.parametrize(
    ("name", "size", "giga"),
    [
        ("spinenet49s", 640, 60.2),
        ("spinenet49", 640, 215.7),
        ("spinenet96", 1024, 314.6),
        ("spinenet143", 1280, 498.4),
        ("spinenet190", 1536, 1685.7),
    ],
)
@pytest.mark.slow
def test_mask_rcnn_has_the_published_multiply_adds(name, size, giga):
    found = multiply_adds(meta_detector(name, "mask-rcnn"), size)

    assert found == model_cost(load_architecture(name), size, "mask-rcnn").multiply_adds
    assert found == pytest.approx(giga * 1e9, rel=5e-3 if name != "spinenet49s" else 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("head", SETTINGS)
def test_the_parts_have_as_many_multiply_adds_as_head_cost_counts(head: Head):
    found = multiply_adds(meta_detector("tiny", head), 256)

    assert found == model_cost(load_architecture("tiny"), 256, head).multiply_adds
