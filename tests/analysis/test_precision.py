import numpy as np
import pytest
from records import as_coco, objects, random_record, record, with_masks

from spinet.analysis.matching import match
from spinet.analysis.precision import (
    average_precision,
    curve,
    interval,
    precision_at,
    precision_table,
    resamples,
)
from spinet.engine.coco_metrics import coco_metrics

SQUARE = (10, 10, 40, 40)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crowd", [0.0, 0.2])
def test_every_ap_is_that_of_cocos_metric(seed, crowd):
    made = random_record(seed, crowd=crowd)

    table = precision_table(match(made), resamples(len(made.images), 3))
    metrics = coco_metrics(*as_coco(made))

    for name, found in table.overall.items():
        assert found.value == pytest.approx(metrics[name], abs=1e-9, nan_ok=True), name
    for name, (ap, _) in zip(made.class_names, table.classes, strict=True):
        assert ap.value == pytest.approx(metrics[f"AP/{name}"], abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_every_ap_of_masks_and_of_their_boxes_is_that_of_cocos_metric(seed):
    made = with_masks(random_record(seed, crowd=0.1))

    metrics = coco_metrics(*as_coco(made))

    for masks, prefix in ((True, "mask/"), (False, "")):
        table = precision_table(match(made, masks), resamples(len(made.images), 3))
        for name, found in table.overall.items():
            assert found.value == pytest.approx(metrics[prefix + name], abs=1e-9, nan_ok=True), prefix + name


def test_images_of_a_weight_count_as_often_as_if_they_were_repeated():
    made = random_record(3, images=3)
    weights = np.array([[2, 0, 1]])
    order = (0, 0, 2)
    copies = [
        (side.by_image(3)[image], number, side)
        for side in (made.truth, made.found)
        for number, image in enumerate(order)
    ]

    def repeated(wanted):
        rows, scores = [], []
        for part, number, side in copies:
            if side is wanted:
                one = side[part]
                rows += [(number, label, *box) for label, box in zip(one.labels, one.boxes, strict=True)]
                scores += one.scores.tolist()
        return rows, scores

    truth, (found, scores) = repeated(made.truth)[0], repeated(made.found)
    thrice = record(truth, found, scores, images=3, classes=made.class_names)

    weighted = average_precision(match(made), weights)
    plain = average_precision(match(thrice), np.ones((1, 3), dtype=np.int64))

    np.testing.assert_allclose(weighted, plain, atol=1e-12)


def test_worked_numbers_of_one_class():
    # Right, wrong, right of two objects: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1. The 51 recalls up to 1/2 see 1,
    # the other 50 see 2/3.
    assert precision_at(np.array([True, False, True]), 2) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert precision_at(np.array([], dtype=bool), 2) == 0


def test_a_curve_has_one_point_per_detection():
    made = record([(0, 0, *SQUARE), (0, 0, 200, 200, 50, 50)], [(0, 0, *SQUARE), (0, 0, 400, 10, 20, 20)], [0.9, 0.8])

    found = curve(match(made)[0])

    assert found.precision.tolist() == [1.0, 0.5]
    assert found.recall.tolist() == [0.5, 0.5]


def test_a_class_without_objects_has_no_ap_and_changes_no_mean():
    made = record([(0, 0, *SQUARE)], [(0, 0, *SQUARE), (0, 1, *SQUARE)], [0.9, 0.8])

    table = precision_table(match(made), resamples(1))

    assert table.overall["AP"].value == pytest.approx(1.0)
    assert np.isnan(table.classes[1][0].value)
    assert np.isnan(table.classes[1][0].low)


def test_an_interval_holds_95_percent_of_the_replicates_and_comes_out_the_same_again():
    found = interval(0.5, np.arange(1001) / 1000)

    assert found == pytest.approx((0.5, 0.025, 0.975))
    assert (resamples(7) == resamples(7)).all()
    assert (resamples(7).sum(axis=1) == 7).all()


def test_intervals_shrink_with_more_images():
    few, many = random_record(1, images=10), random_record(1, images=160)

    widths = [
        (lambda ap: ap.high - ap.low)(precision_table(match(each), resamples(len(each.images))).overall["AP"])
        for each in (few, many)
    ]

    assert widths[1] < widths[0] / 2


def test_an_empty_record_has_no_numbers():
    made = record([], [], [], images=2)

    table = precision_table(match(made), resamples(2))

    assert all(np.isnan(value).all() for value in table.overall.values())
    assert len(objects([])) == 0
