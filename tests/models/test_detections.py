import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinet.models.detections import NmsOptions, best_pairs, select_detections

BOXES = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [50, 50, 60, 60]]])
SCORES = torch.tensor([[0.4, 0.9, 0.3, 0.2]])


def selected(labels: list[int], **options) -> list[tuple[int, float]]:
    found = select_detections(BOXES, SCORES, torch.tensor([labels]), NmsOptions(**options))
    pairs = zip(found.labels[0].tolist(), found.scores[0].tolist(), strict=True)
    return [(label, pytest.approx(score)) for label, score in pairs]


def test_the_best_of_each_heap_of_one_class_stays_and_the_rest_is_filled_up():
    assert selected([1, 1, 1, 1], max_detections=4) == [(1, 0.9), (1, 0.2), (-1, 0), (-1, 0)]


def test_classes_do_not_suppress_each_other():
    assert selected([0, 1, 0, 2], max_detections=3) == [(1, 0.9), (0, 0.4), (2, 0.2)]


def test_low_scores_and_invalid_candidates_are_removed_before_nms():
    assert selected([0, 1, 2, 3], score_threshold=0.3, max_detections=4) == [(1, 0.9), (0, 0.4), (2, 0.3), (-1, 0)]
    found = select_detections(
        BOXES, torch.full((1, 4), -1.0), torch.zeros(1, 4).long(), NmsOptions(score_threshold=0.0)
    )
    assert (found.labels == -1).all()
    assert not found.boxes.any()


def test_boxes_stay_with_their_scores():
    found = select_detections(BOXES, SCORES, torch.tensor([[0, 1, 2, 3]]), NmsOptions(max_detections=4))

    assert found.boxes[0].tolist() == BOXES[0, [1, 0, 2, 3]].tolist()


@given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 5), st.integers(1, 60), st.integers(0, 99))
def test_the_best_pairs_are_those_of_a_full_sort(images, places, classes, count, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, places, classes, generator=generator)

    best, chosen, labels = best_pairs(logits, count)

    order = logits.flatten(1).sort(dim=1, descending=True).indices[:, :count]
    assert (chosen * classes + labels).tolist() == order.tolist()
    assert torch.equal(best, logits.flatten(1).gather(1, order))


def test_of_equal_pairs_only_count_are_selected_and_none_twice():
    best, chosen, labels = best_pairs(torch.zeros(1, 50, 4), 20)

    assert best.shape == (1, 20)
    assert len(set(zip(chosen[0].tolist(), labels[0].tolist(), strict=True))) == 20


def test_scores_below_the_threshold_change_nothing_wherever_they_are():
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(1, 400, 2, generator=generator) * 30
    boxes = torch.cat([corners, corners + 1 + 9 * torch.rand(1, 400, 2, generator=generator)], dim=2)
    scores, labels = torch.rand(1, 400, generator=generator), torch.randint(0, 3, (1, 400), generator=generator)
    # One lies where those that are left out wait.
    boxes[0, 0], scores[0, 0], labels[0, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0]), 0.51, 0
    options = NmsOptions(score_threshold=0.5)
    likely = scores[0] >= 0.5

    found = select_detections(boxes, scores, labels, options)

    expected = select_detections(boxes[:, likely], scores[:, likely], labels[:, likely], options)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert 10 < (found[2] >= 0).sum() < likely.sum()
