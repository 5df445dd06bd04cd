import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from spinet.models.rois import (
    boxes_to_rois,
    mask_targets,
    match_rois,
    pool_rois,
    roi_levels,
    sample_balanced,
    sample_per_image,
)


def square(side: float, corner: float = 0.0) -> list[float]:
    return [corner, corner, corner + side, corner + side]


def test_rows_name_the_image_of_every_box():
    boxes = torch.tensor([[square(1), square(2)], [square(3), square(4)]])

    rows = boxes_to_rois(boxes)

    assert rows[:, 0].tolist() == [0, 0, 1, 1]
    assert torch.equal(rows[:, 1:], boxes.flatten(0, 1))


@pytest.mark.parametrize(
    ("side", "level"),
    [(1, 3), (111, 3), (112, 3), (223.9, 3), (224, 4), (447.9, 4), (448, 5), (896, 6), (1792, 7), (9999, 7), (0, 3)],
)
def test_a_box_takes_its_features_from_the_level_of_its_size(side, level):
    levels = (3, 4, 5, 6, 7)

    (place,) = roi_levels(torch.tensor([square(side, 7)]), levels).tolist()

    assert levels[place] == level


def test_the_side_of_an_oblong_box_is_the_root_of_its_area():
    assert roi_levels(torch.tensor([[0.0, 0, 896, 224]]), (3, 4, 5, 6, 7)).tolist() == [2]


def test_a_missing_level_is_replaced_by_the_next_coarser_one():
    boxes = torch.tensor([square(100), square(300), square(500), square(5000)])

    assert roi_levels(boxes, (3, 5, 6)).tolist() == [0, 1, 1, 2]


def test_regions_are_cut_out_of_their_own_level_and_image_in_their_order():
    # Every map is constant: its image's number times ten, and its level.
    features = {
        level: torch.stack([torch.full((2, 512 >> level, 512 >> level), 10.0 * image + level) for image in range(2)])
        for level in (3, 4, 5)
    }
    regions = torch.tensor([[1.0, *square(500)], [0.0, *square(20, 50)], [1.0, *square(230)], [0.0, *square(300)]])

    cut = pool_rois(features, regions, side=7)

    assert cut.shape == (4, 2, 7, 7)
    assert torch.allclose(cut, torch.tensor([15.0, 3.0, 14.0, 4.0]).reshape(-1, 1, 1, 1).expand_as(cut))


def test_features_of_a_region_follow_a_ramp():
    # Pixel centres at a half: the mean of a ramp over a bin is its value in the middle of the bin.
    columns = (torch.arange(32.0) + 0.5) * 8
    features = {3: columns.expand(1, 1, 32, 32)}

    cut = pool_rois(features, torch.tensor([[0.0, 64, 64, 120, 120]]), side=7)

    torch.testing.assert_close(cut[0, 0, 0], 64 + 8 * (torch.arange(7.0) + 0.5))


def test_features_in_half_precision_are_cut_in_full():
    flow = torch.randn(1, 3, 16, 16)
    region = torch.tensor([[0.0, 3.3, 5.7, 90.1, 77.7]])

    cut = pool_rois({3: flow.bfloat16()}, region, side=7)

    expected = roi_align(flow.bfloat16().float(), region, 7, 1 / 8, sampling_ratio=2, aligned=True)
    assert torch.equal(cut, expected)


def googles_value(flow, at):
    """Bilinear interpolation of a map at (x, y), whose first pixel is at 0 and whose edges go on for ever."""
    height, width = flow.shape
    x0, y0 = min(math.floor(at[0]), width - 1), min(math.floor(at[1]), height - 1)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    across, down = at[0] - x0, at[1] - y0
    upper = flow[y0, x0] * (1 - across) + flow[y0, x1] * across
    return upper * (1 - down) + (flow[y1, x0] * (1 - across) + flow[y1, x1] * across) * down


@pytest.mark.parametrize(
    "box", [(40.5, 8.3, 75.1, 60.9), (100.0, 30.0, 128.0, 96.0), (3.0, 5.0, 3.5, 50.0), (9.0, 9.0, 9.0, 9.0)]
)
def test_google_takes_one_sample_in_the_middle_of_each_bin(box):
    # multilevel_crop_and_resize; the boxes lie inside, end at the edges, are less than a pixel of the map, and empty.
    flow = torch.randn(12, 16)

    cut = pool_rois({3: flow[None, None]}, torch.tensor([[0.0, *box]]), 7, "google")[0, 0]

    left, top, right, bottom = (side / 8 for side in box)
    for row in range(7):
        for column in range(7):
            at = left + (column + 0.5) * (right - left) / 7, top + (row + 0.5) * (bottom - top) / 7
            assert cut[row, column].item() == pytest.approx(googles_value(flow, at).item(), abs=1e-4)


OBJECTS = torch.tensor([[square(10), square(10, 100)], [square(10, 50), square(0)]])
LABELS = torch.tensor([[4, 5], [6, -1]])


def matched(*regions: list[float], threshold: float = 0.5, background: float | None = None) -> list[int]:
    return match_rois(torch.tensor(regions), OBJECTS, LABELS, threshold, background).labels.tolist()


def test_regions_belong_to_the_object_of_their_own_image_that_they_overlap_most():
    found = match_rois(
        torch.tensor([[0.0, *square(9)], [0.0, *square(10, 101)], [1.0, *square(9)], [1.0, *square(9, 50)]]),
        OBJECTS,
        LABELS,
        0.5,
    )

    assert found.labels.tolist() == [4, 5, -1, 6]
    assert found.objects[[0, 1, 3]].tolist() == [0, 1, 0]
    assert found.boxes[[0, 1, 3]].tolist() == [square(10), square(10, 100), square(10, 50)]


def test_rois_between_the_iou_thresholds_are_ignored():
    # 10 x 10 within it 10 x h: overlap h / 10.
    regions = [[0.0, 0, 0, 10, height] for height in (6.0, 5.9, 5.0, 4.9)]

    assert matched(*regions, threshold=0.6, background=0.5) == [4, -2, -2, -1]
    assert matched(*regions, threshold=0.5) == [4, 4, 4, -1]


def test_padding_is_no_object_even_for_a_region_like_it():
    assert matched([1.0, *square(0)], [1.0, *square(1)]) == [-1, -1]


def test_without_any_object_all_regions_are_background():
    found = match_rois(torch.tensor([[0.0, *square(9)]]), torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), 0.5)

    assert found.labels.tolist() == [-1]


def test_too_few_rois_are_filled_up_with_ignored_ones():
    found = match_rois(torch.tensor([[0.0, *square(9)], [0.0, *square(9, 300)]]), OBJECTS, LABELS, 0.5)

    picked = found.select(torch.tensor([False, False]), least=2)

    assert picked.labels.tolist() == [-2, -2]
    assert found.select(torch.tensor([True, False]), least=1).labels.tolist() == [4]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20), st.sampled_from([0.25, 0.5]))
def test_a_balanced_sample_is_as_large_and_as_positive_as_it_can_be(positives, negatives, count, share):
    kinds = torch.tensor([1] * positives + [0] * negatives + [-1] * 3)[torch.randperm(positives + negatives + 3)]

    chosen = sample_balanced((kinds == 1)[None], (kinds == 0)[None], count, share)[0]

    most = min(positives, int(count * share))
    assert (kinds[chosen] == 1).sum() == most
    assert (kinds[chosen] == 0).sum() == min(negatives, count - most)
    assert not (kinds[chosen] == -1).any()


def test_samples_differ_from_draw_to_draw_but_not_under_one_seed():
    positive, negative = torch.zeros(2, 100, dtype=torch.bool), torch.ones(2, 100, dtype=torch.bool)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(sample_balanced(positive, negative, 10, 0.5))

    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_every_row_is_sampled_about_equally_often():
    torch.manual_seed(0)
    negative = torch.ones(4000, 8, dtype=torch.bool)

    counts = sample_balanced(~negative, negative, 2, 0.5).sum(dim=0)

    assert counts.tolist() == pytest.approx([1000] * 8, abs=120)


def test_at_most_so_many_of_each_image_are_chosen():
    images = torch.tensor([2, 0, 0, 2, 0, 2, 1, 2, 2])
    candidates = torch.tensor([1, 1, 0, 1, 1, 1, 1, 1, 0]).bool()

    chosen = sample_per_image(candidates, images, 3)

    assert not chosen[~candidates].any()
    assert [int(chosen[images == image].sum()) for image in range(3)] == [2, 1, 3]
    assert not sample_per_image(candidates & False, images, 3).any()


def target(mask: torch.Tensor, box: list[float], region: list[float], side: int = 28) -> torch.Tensor:
    rows = torch.zeros(1, dtype=torch.long)
    return mask_targets(mask[None, None], torch.tensor([box]), rows, torch.tensor([region]), side)[0]


def test_the_target_of_the_objects_own_box_is_its_mask():
    mask = torch.zeros(112, 112, dtype=torch.uint8)
    mask[:56, :28] = 1  # upper half, left quarter

    goal = target(mask, square(40, 10), square(40, 10))

    expected = torch.zeros(28, 28)
    expected[:14, :7] = 1
    assert torch.equal(goal, expected)


def test_a_region_sees_the_part_of_the_mask_that_lies_in_it():
    full = torch.ones(112, 112, dtype=torch.uint8)

    # The object fills 20..60; the region is 0..80: a quarter of its side on each side is outside.
    goal = target(full, square(40, 20), square(80))

    expected = torch.zeros(28, 28)
    expected[7:21, 7:21] = 1
    assert torch.equal(goal, expected)


def test_a_region_inside_the_object_is_all_mask_and_one_beside_it_none():
    full = torch.ones(112, 112, dtype=torch.uint8)

    assert target(full, square(100), square(30, 35)).all()
    assert not target(full, square(20), square(20, 20)).any()


def test_regions_take_the_mask_of_their_own_object():
    masks = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    masks[1, 2] = 1
    boxes = torch.tensor([square(8)] * 6)

    targets = mask_targets(masks, boxes, torch.arange(6), boxes, 4)

    assert targets.mean(dim=(1, 2)).tolist() == [0, 0, 0, 0, 0, 1]


def test_the_mask_of_an_object_without_an_area_gives_finite_targets():
    assert target(torch.ones(8, 8, dtype=torch.uint8), square(0, 5), square(10)).isfinite().all()


def test_targets_are_bit_equal_to_those_cut_out_of_all_masks_at_once_and_make_floats_of_the_needed_ones_only(
    monkeypatch,
):
    torch.manual_seed(0)
    masks = (torch.rand(3, 20, 16, 16) < 0.5).to(torch.uint8)
    rows = torch.tensor([41, 7, 7, 59, 0])
    corners = torch.rand(2, 5, 2, 2) * 50
    boxes, regions = (torch.cat([each.amin(1), each.amax(1)], dim=1) for each in corners)
    framed = F.pad(masks.flatten(0, 1)[:, None].float(), (1, 1, 1, 1))
    extent = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    inside = [(point - boxes[:, :2]) / extent * 16 + 1 for point in (regions[:, :2], regions[:, 2:])]
    places = torch.cat([rows[:, None].float(), *inside], dim=1)
    expected = (roi_align(framed, places, 14, sampling_ratio=2, aligned=True)[:, 0] >= 0.5).float()
    shapes = []
    monkeypatch.setattr(F, "pad", lambda values, frame, pad=F.pad: shapes.append(values.shape) or pad(values, frame))

    targets = mask_targets(masks, boxes, rows, regions, 14)

    assert torch.equal(targets, expected)
    assert 0 < targets.mean() < 1
    assert shapes == [(4, 1, 16, 16)]


def test_no_region_has_no_target():
    masks = torch.ones(2, 3, 8, 8, dtype=torch.uint8)

    targets = mask_targets(masks, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), 4)

    assert targets.shape == (0, 4, 4)
