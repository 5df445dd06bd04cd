import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from spinet.doctor.anchors import RETINANET, AnchorShapes, size_table
from spinet.models.anchors import level_anchors

SHAPES = [RETINANET, AnchorShapes(octaves=1), AnchorShapes(2, (1.0, 3.0), levels=(4, 6))]


def real_anchors(image_size: int, scale: float, shapes: AnchorShapes) -> torch.Tensor:
    """The anchors of a detector for a square image."""
    levels = []
    for level in shapes.levels:
        cells = -(-image_size // 2**level)
        levels.append(
            level_anchors((cells, cells), 2**level, scale, octaves=shapes.octaves, aspect_ratios=shapes.aspect_ratios)
        )
    return torch.cat(levels)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    corners=st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=20),
    scale=st.sampled_from([2.0, 3.0, 4.0]),
    image_size=st.sampled_from([128, 200]),
    shapes=st.sampled_from(SHAPES),
)
def test_the_share_of_matched_objects_is_that_of_the_real_anchors(corners, scale, image_size, shapes):
    boxes = torch.tensor(corners) * 400
    boxes = torch.cat([boxes.view(-1, 2, 2).amin(1), boxes.view(-1, 2, 2).amax(1) + 1], dim=1)
    sides = np.full(len(boxes), 400)

    table = size_table(boxes.numpy(), sides, image_size, scale, scales=(), shapes=shapes)

    overlap = box_iou(real_anchors(image_size, scale, shapes), boxes * (image_size / 400)).amax(dim=0)
    # Overlaps of exactly a half may fall on either side.
    sure, possible = (overlap > 0.5001).float().mean(), (overlap > 0.4999).float().mean()
    assert sure - 1e-6 <= table.matched[scale] <= possible + 1e-6


@pytest.mark.parametrize(
    ("side", "place"), [(23, "below"), (25, 3), (47, 3), (49, 4), (95, 4), (191, 5), (383, 6), (600, 7), (620, "above")]
)
def test_an_object_belongs_to_the_level_whose_anchors_are_of_its_size(side, place):
    boxes = np.array([[0, 0, side, side]], dtype=np.float32)

    table = size_table(boxes, np.array([640]), 640, 3.0)

    shares = {"below": table.below, "above": table.above} | table.levels
    assert shares[place] == 1
    assert sum(shares.values()) == 1


def test_sizes_are_those_of_the_resized_image():
    boxes = np.array([[0, 0, 100, 100]], dtype=np.float32)

    assert size_table(boxes, np.array([1280]), 640, 3.0).levels[4] == 1
    assert size_table(boxes, np.array([320]), 640, 3.0).levels[6] == 1


def test_levels_of_a_backbone_with_a_gap_share_all_sizes_and_one_octave_ends_at_the_last_level():
    boxes = np.array([[0, 0, side, side] for side in (20, 50, 100, 191, 193)], dtype=np.float32)

    table = size_table(boxes, np.full(5, 640), 640, 3.0, shapes=AnchorShapes(octaves=1, levels=(4, 6)))

    assert (table.below, table.levels, table.above) == (0.2, {4: pytest.approx(0.6), 6: 0.0}, 0.2)
