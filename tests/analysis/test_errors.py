import numpy as np
import pytest
from records import record

from spinet.analysis.confusion import confused_pairs, confusion
from spinet.analysis.errors import IGNORED, RIGHT, TYPES, costs, find_errors
from spinet.analysis.overlaps import image_overlaps

# Eight objects far from each other, one of the second class, in two images; and a crowd of the first.
TRUTH = [
    (0, 0, 0, 0, 100, 100),
    (0, 0, 200, 0, 100, 100),
    (0, 1, 400, 0, 100, 100),
    (0, 0, 0, 200, 100, 100),
    (1, 0, 0, 0, 100, 100),
    (1, 0, 200, 0, 100, 100),
    (1, 1, 400, 0, 100, 100),
    (1, 0, 0, 200, 600, 200),
]
CROWD = [7]
# Each detection with its score and what it is.
FOUND = [
    ((0, 0, 0, 0, 100, 100), 0.95, "right"),
    ((0, 0, 5, 0, 100, 100), 0.90, "duplicate"),
    ((0, 0, 270, 0, 100, 100), 0.85, "location"),  # IoU 30 / 170 with the second object
    ((0, 0, 400, 0, 100, 100), 0.80, "class"),
    ((0, 2, 0, 270, 100, 100), 0.75, "both"),  # another class, IoU 30 / 170
    ((0, 0, 560, 400, 40, 40), 0.70, "background"),
    ((1, 0, 2, 0, 100, 100), 0.65, "right"),
    ((1, 0, 300, 220, 50, 50), 0.60, "ignored"),  # inside the crowd
    ((1, 1, 400, 3, 100, 100), 0.55, "right"),
]
MISSED = [3, 5]  # the object of "both", and one that nothing is near


@pytest.fixture(scope="module")
def planted():
    return record(TRUTH, [box for box, _, _ in FOUND], [score for _, score, _ in FOUND], images=2, crowd=CROWD)


@pytest.fixture(scope="module")
def errors(planted):
    return find_errors(planted, image_overlaps(planted))


def test_every_planted_error_is_found_by_its_type(errors):
    names = {**dict(enumerate(TYPES)), RIGHT: "right", IGNORED: "ignored"}

    assert [names[kind] for kind in errors.kinds.tolist()] == [kind for _, _, kind in FOUND]
    assert np.flatnonzero(errors.missed).tolist() == MISSED
    assert np.flatnonzero(errors.found).tolist() == [0, 4, 6]


def test_the_costs_are_the_worked_ones(planted, errors):
    # cat: 5 objects; by score right, duplicate, location, class, background, right. 20 recalls up to 1/5 see precision
    # 1, besides recall 0; 20 up to 2/5 see 2/6. dog: 2 objects, one right: 51 recalls see 1. bird: no objects.
    cat, dog = (21 + 20 * 2 / 6) / 101, 51 / 101

    def gained(cat_then, dog_then=dog):
        return (cat_then + dog_then) / 2 - (cat + dog) / 2

    found = costs(planted, errors)

    assert {name: cost.times for name, cost in found.items()} == {
        "class": 1, "location": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 2,
    }  # fmt: skip
    # The wrong class becomes a dog of score 0.80, ahead of the other; without it the second cat is the fifth.
    assert found["class"].ap == pytest.approx(gained((21 + 20 * 2 / 5) / 101, 1.0))
    # Right, wrong, right, wrong, wrong, right of 5: 3 / 6 at recall 3/5, 2 / 3 at recall 2/5.
    assert found["location"].ap == pytest.approx(gained((21 + 20 * 2 / 3 + 20 * 3 / 6) / 101))
    assert found["both"].ap == 0  # a bird, and there are none
    assert found["duplicate"].ap == pytest.approx(gained((21 + 20 * 2 / 5) / 101))
    assert found["background"].ap == pytest.approx(gained((21 + 20 * 2 / 5) / 101))
    # Of three cats left: recalls 1/3 and 2/3, of which 34 and 33 more are reached.
    assert found["missed"].ap == pytest.approx(gained((34 + 33 * 2 / 6) / 101))


def test_the_confusion_matrix_counts_each_object_and_each_detection_once(planted):
    counts, images = confusion(planted, image_overlaps(planted), np.full(3, 0.5))

    # Rows and columns: cat, dog, bird, and background or missed.
    assert counts.tolist() == [[2, 0, 0, 3], [1, 1, 0, 0], [0, 0, 0, 0], [3, 0, 1, 0]]
    assert [(image.right.tolist(), image.false.tolist(), image.missed.tolist()) for image in images] == [
        ([0], [1, 2, 3, 4, 5], [1, 2, 3]),
        ([6, 8], [], [5]),
    ]
    assert confused_pairs(counts, 5) == [(1, 0, 1, 0.5)]


def test_detections_below_their_classes_threshold_are_not_there(planted):
    counts, images = confusion(planted, image_overlaps(planted), np.array([0.93, 0.5, 0.5]))

    assert counts[0].tolist() == [1, 0, 0, 4]
    assert images[0].false.tolist() == [4]


def test_without_any_detection_everything_is_missed():
    made = record(TRUTH, [], [], images=2, crowd=CROWD)

    found = costs(made, find_errors(made, image_overlaps(made)))

    assert found["missed"] == (7, 1.0)
    assert sum(cost.times for cost in found.values()) == 7


def test_without_any_object_everything_is_background():
    made = record([], [FOUND[0][0]], [0.9], images=1)

    found = costs(made, find_errors(made, image_overlaps(made)))

    assert found["background"] == (1, 0.0)
