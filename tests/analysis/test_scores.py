import numpy as np
import pytest
from records import random_record, record

from spinet.analysis.calibration import calibration
from spinet.analysis.matching import match
from spinet.analysis.thresholds import at, best, best_thresholds, class_curve, f1_curve, pooled_curve


def test_worked_f1_of_four_detections():
    curve = f1_curve(np.array([0.9, 0.8, 0.6, 0.3]), np.array([True, False, True, False]), 3)

    # 2 TP / (shown + objects): 2/4, 2/5, 4/6, 4/7.
    assert curve.f1.tolist() == pytest.approx([0.5, 0.4, 4 / 6, 4 / 7])
    found = best(curve)
    assert found == pytest.approx((0.45, 4 / 6, 2 / 3, 2 / 3))
    assert at(curve, 0.85) == pytest.approx((0.85, 0.5, 1.0, 1 / 3))
    assert at(curve, 0.95).f1 == 0


def test_equal_scores_are_shown_together():
    curve = f1_curve(np.array([0.5, 0.5]), np.array([True, False]), 1)

    assert curve.scores.tolist() == [0.5]
    assert curve.precision.tolist() == [0.5]


def test_no_threshold_gives_a_better_f1():
    made = random_record(5, images=30)
    curve = pooled_curve(match(made))

    found = best(curve)

    assert found.f1 == max(at(curve, threshold).f1 for threshold in np.linspace(0, 1, 200)) or found.f1 == max(curve.f1)
    assert at(curve, found.threshold) == pytest.approx(found)


def test_a_rare_class_takes_the_threshold_of_all():
    boxes = [(image, 0, 10, 10, 50, 50) for image in range(30)]
    rare = (0, 1, 300, 10, 50, 50)
    found = [*boxes, rare]
    scores = [*np.linspace(0.5, 0.9, 30), 0.95]
    made = record([*boxes, rare], found, scores, images=30, classes=("often", "rare"))

    thresholds = best_thresholds(made)

    overall = best(pooled_curve(match(made))).threshold
    assert thresholds[1] == overall
    assert thresholds[0] == best(class_curve(match(made)[0])).threshold


def f1_of(record, thresholds):
    """F1 over all classes when each has its threshold, counted one by one."""
    right = shown = objects = 0
    for of_class, threshold in zip(match(record), thresholds, strict=True):
        rows = of_class.scores >= threshold
        right += of_class.right[0, 0][rows].sum()
        shown += rows.sum()
        objects += of_class.objects[0].sum()
    return 2 * right / (shown + objects)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_by_class_are_not_worse_than_one_for_all(seed):
    made = random_record(seed, images=60)

    assert f1_of(made, best_thresholds(made)) >= best(pooled_curve(match(made))).f1 - 1e-12


def test_a_class_that_is_hardly_found_does_not_flood_the_images():
    # Of 30 often found objects each is found; of 30 others one, by the last of 200 detections of low score.
    found = [(image, 0, 10, 10, 50, 50) for image in range(30)]
    hidden = [(image, 1, 300, 300, 50, 50) for image in range(30)]
    wrong = [(image % 30, 1, 100, 100, 20, 20) for image in range(200)]
    scores = [*np.linspace(0.6, 0.9, 30), *np.linspace(0.1, 0.3, 200), 0.08]
    made = record([*found, *hidden], [*found, *wrong, hidden[0]], scores, images=30, classes=("often", "hardly"))

    thresholds = best_thresholds(made)

    assert best(class_curve(match(made)[1])).threshold < 0.1
    assert thresholds[1] > 0.3


def test_a_detector_that_finds_nothing_right_has_no_threshold():
    made = record([(0, 0, 10, 10, 50, 50)], [(0, 0, 300, 300, 50, 50)], [0.9])

    assert best_thresholds(made) == ()


def test_worked_calibration():
    found = calibration(np.array([0.95, 0.95, 0.15, 1.0]), np.array([True, False, False, True]))

    assert found.counts.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 3]
    assert found.right[[1, 9]].tolist() == pytest.approx([0.0, 2 / 3])
    # One of four is 0.15 off, three are (2.9 - 2) / 3 off.
    assert found.error == pytest.approx((0.15 + 0.9) / 4)
    assert np.isnan(calibration(np.zeros(0), np.zeros(0, dtype=bool)).error)
