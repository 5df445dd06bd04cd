import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinet.models.anchors import decode_boxes, encode_boxes, level_anchors, match_anchors


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def box_strategy() -> st.SearchStrategy[tuple[float, float, float, float]]:
    """XYXY boxes of 1 to 500 pixels a side."""
    corner, side = st.floats(-200, 1000), st.floats(1, 500)
    return st.tuples(corner, corner, side, side).map(lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3]))


def test_anchors_are_centred_in_their_cells_and_wider_by_the_root_of_the_ratio():
    anchors = level_anchors((1, 2), stride=8, scale=3, octaves=1, aspect_ratios=(1.0, 4.0))

    # Side 3 * 8 = 24; ratio 4 is 24 * 2 wide and 24 / 2 high. Centres (4, 4) and (12, 4).
    assert anchors.tolist() == [
        [4 - 12, 4 - 12, 4 + 12, 4 + 12],
        [4 - 24, 4 - 6, 4 + 24, 4 + 6],
        [12 - 12, 4 - 12, 12 + 12, 4 + 12],
        [12 - 24, 4 - 6, 12 + 24, 4 + 6],
    ]


def test_octaves_divide_the_doubling_of_the_side_evenly():
    anchors = level_anchors((1, 1), stride=16, scale=4, octaves=3, aspect_ratios=(1.0,))

    widths = (anchors[:, 2] - anchors[:, 0]).tolist()
    assert widths == pytest.approx([64, 64 * 2 ** (1 / 3), 64 * 2 ** (2 / 3)])


def test_anchors_go_by_rows_then_columns_then_octaves_then_ratios():
    ratios = (0.5, 1.0, 2.0)
    anchors = level_anchors((2, 3), stride=8, scale=3, octaves=2, aspect_ratios=ratios)

    place = 0
    for row in range(2):
        for column in range(3):
            for octave in range(2):
                for ratio in ratios:
                    left, top, right, bottom = anchors[place].tolist()
                    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((column * 8 + 4, row * 8 + 4))
                    assert (right - left) / (bottom - top) == pytest.approx(ratio, rel=1e-5)
                    # Whatever the ratio, the area is that of the square.
                    area = (24 * 2 ** (octave / 2)) ** 2
                    assert (right - left) * (bottom - top) == pytest.approx(area, rel=1e-5)
                    place += 1
    assert place == len(anchors) == 36


def test_an_anchor_takes_the_object_it_overlaps_by_half_and_an_object_at_least_its_best_anchor():
    anchors = boxes((0, 0, 10, 10), (10, 0, 20, 10), (0, 0, 10, 20))
    objects = boxes((0, 0, 10, 8), (12, 0, 18, 4))

    matches = match_anchors(anchors, objects[None], torch.tensor([[5, 7]]))

    # Object 0 has 80 / 100 with anchor 0 and 80 / 200 with anchor 2. Object 1 has only 24 / 100 with anchor 1,
    # its best, which it gets all the same.
    assert matches.labels.tolist() == [[5, 7, -1]]
    assert matches.boxes[0].tolist() == [*objects.tolist(), anchors[2].tolist()]


def test_an_overlap_of_exactly_one_half_is_positive_and_less_is_not():
    anchors = boxes((0, 0, 10, 5), (0, 0, 10, 10), (0, 0, 10, 10.25))

    matches = match_anchors(anchors, boxes((0, 0, 10, 5))[None], torch.tensor([[0]]))

    # Overlaps 50 / 50, 50 / 100 and 50 / 102.5.
    assert matches.labels.tolist() == [[0, 0, -1]]


def test_the_threshold_can_be_moved():
    anchors = boxes((0, 0, 10, 5), (0, 0, 10, 10))

    matches = match_anchors(anchors, boxes((0, 0, 10, 5))[None], torch.tensor([[0]]), threshold=0.6)

    assert matches.labels.tolist() == [[0, -1]]


def test_an_object_gets_its_best_anchor_even_from_an_object_that_overlaps_it_more():
    anchors = boxes((0, 0, 10, 10), (0, 0, 10, 8))
    objects = boxes((0, 0, 10, 8), (0, 8, 10, 11))

    matches = match_anchors(anchors, objects[None], torch.tensor([[1, 2]]))

    # Anchor 0 has 80 / 100 with object 0 but 20 / (100 + 30 - 20) with object 1, which has no other anchor.
    assert matches.labels.tolist() == [[2, 1]]
    assert matches.boxes[0].tolist() == objects.flip(0).tolist()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_two_objects_that_claim_one_anchor_the_first_wins(order):
    anchors = boxes((0, 0, 10, 10), (20, 20, 30, 30))
    objects, labels = boxes((0, 0, 10, 6), (0, 0, 10, 9))[order], torch.tensor([3, 4])[order]

    matches = match_anchors(anchors, objects[None], labels[None])

    # Overlaps 0.6 and 0.9: the first object of the list wins, not the one that overlaps more.
    assert matches.labels.tolist() == [[labels[0].item(), -1]]
    assert matches.boxes[0, 0].tolist() == objects[0].tolist()


@pytest.mark.parametrize("place", [0, 1])
def test_padding_rows_are_never_matched_wherever_they_stand(place):
    anchors = boxes((0, 0, 10, 10), (50, 50, 60, 60))
    # The padding row lies exactly on anchor 1.
    rows = [(0.0, 0.0, 10.0, 9.0)]
    labels = [2]
    rows.insert(place, (50, 50, 60, 60))
    labels.insert(place, -1)

    matches = match_anchors(anchors, boxes(*rows)[None], torch.tensor([labels]))

    assert matches.labels.tolist() == [[2, -1]]
    assert matches.boxes[0, 1].tolist() == [50, 50, 60, 60]


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_images_without_objects_are_all_background_with_an_encoding_of_zero(rows):
    anchors = boxes((0, 0, 10, 10), (0, 0, 20, 10), (5, 5, 9, 8))

    matches = match_anchors(anchors, torch.zeros(2, rows, 4), torch.full((2, rows), -1))

    assert matches.labels.tolist() == [[-1] * 3] * 2
    assert encode_boxes(matches.boxes, anchors).abs().max() == 0


def test_images_of_a_batch_are_matched_each_for_itself():
    torch.manual_seed(0)
    anchors = level_anchors((8, 8), stride=8, scale=3, octaves=2, aspect_ratios=(0.5, 1.0))
    corners = torch.rand(3, 5, 2) * 40
    objects = torch.cat([corners, corners + 5 + torch.rand(3, 5, 2) * 30], dim=-1)
    labels = torch.randint(-1, 4, (3, 5))

    together = match_anchors(anchors, objects, labels)

    for image in range(3):
        alone = match_anchors(anchors, objects[image : image + 1], labels[image : image + 1])
        assert torch.equal(together.labels[image], alone.labels[0])
        assert torch.equal(together.boxes[image], alone.boxes[0])


def test_offsets_are_relative_to_the_anchor_and_sizes_logarithmic():
    # Anchor: centre (5, 10), 10 x 20. Box: centre (10, 30), 10 x 40.
    anchor, box = boxes((0, 0, 10, 20)), boxes((5, 10, 15, 50))

    offsets = encode_boxes(box, anchor)

    assert offsets[0].tolist() == pytest.approx([(10 - 5) / 10, (30 - 10) / 20, math.log(10 / 10), math.log(40 / 20)])
    torch.testing.assert_close(decode_boxes(offsets, anchor), box)


@pytest.mark.slow
@given(box_strategy(), box_strategy())
def test_decoding_inverts_encoding_for_growth_within_the_limit(box, anchor):
    widest = max((box[2] - box[0]) / (anchor[2] - anchor[0]), (box[3] - box[1]) / (anchor[3] - anchor[1]))
    box, anchor = boxes(box).double(), boxes(anchor).double()

    decoded = decode_boxes(encode_boxes(box, anchor), anchor)

    assert torch.allclose(decoded, box, atol=1e-3) == (widest <= 1000 / 16 + 1e-3)


def test_growth_stops_at_62_and_a_half_times_the_anchor():
    anchor = boxes((-5, -5, 5, 5))

    for growth in (math.log(62.5), 10.0, 1e6):
        decoded = decode_boxes(torch.tensor([[0, 0, growth, 0]]), anchor)
        # 10 * 62.5 = 625 wide.
        assert decoded[0].tolist() == pytest.approx([-312.5, -5, 312.5, 5], rel=1e-5)


def test_shrinking_has_no_limit():
    decoded = decode_boxes(torch.tensor([[0, 0, -10.0, -10.0]]), boxes((-5, -5, 5, 5)))

    assert (decoded[0, 2] - decoded[0, 0]).item() == pytest.approx(10 * math.exp(-10), rel=1e-3)
