from dataclasses import replace

import numpy as np
import pytest
from records import random_record

from spinet.analysis.compared import difference, images_that_differ, measure
from spinet.analysis.precision import resamples
from spinet.analysis.records import ClassRecord


def without(record, images):
    """The same record without the detections in some images."""
    return replace(record, found=record.found[~np.isin(record.found.owners, images)])


def classes(seed, right, images=200):
    draw = np.random.default_rng(seed)
    labels = np.arange(images) % 4
    hit = draw.random(images) < right
    predicted = np.stack([np.where(hit, labels, (labels + 1) % 4), (labels + 2) % 4], axis=1)
    names = tuple(f"{number}.jpg" for number in range(images))
    return ClassRecord(names, ("a", "b", "c", "d"), 1, labels, predicted, np.tile([0.8, 0.2], (images, 1)))


def test_a_model_does_not_differ_from_itself():
    made = random_record(2, images=20)
    one = measure(made, resamples(20), masks=False)

    for name, value in one.metrics.items():
        gap = difference(value, one.metrics[name])
        assert gap == pytest.approx((0, 0, 0)) or np.isnan(gap.value)
        assert not gap.is_certain
    assert images_that_differ(one, one, 5) == []


def test_what_makes_images_hard_for_both_is_not_in_the_difference():
    made = random_record(2, images=60)
    weights = resamples(60)
    first, other = (measure(each, weights, masks=False) for each in (made, without(made, [4, 17])))

    gap = difference(first.metrics["AP50"], other.metrics["AP50"])
    alone = first.metrics["AP50"].interval

    assert gap.value == pytest.approx(other.metrics["AP50"].interval.value - alone.value)
    assert gap.value < 0
    assert gap.high - gap.low < (alone.high - alone.low) / 2


def test_a_model_that_finds_half_is_certainly_worse_and_the_images_say_where():
    made = random_record(3, images=60)
    weights = resamples(60)
    first, other = (measure(each, weights, masks=False) for each in (made, without(made, list(range(30)))))

    assert difference(first.metrics["AP"], other.metrics["AP"]).is_certain
    assert difference(first.metrics["F1"], other.metrics["F1"]).is_certain
    far = images_that_differ(first, other, 10)
    gaps = [abs(first.errors[image] - other.errors[image]) for image in far]
    assert far
    assert set(far) <= set(range(30))
    assert gaps == sorted(gaps, reverse=True)


def test_classifiers_of_one_accuracy_do_not_differ_and_others_do():
    weights = resamples(200)
    first, alike, better = (measure(classes(*each), weights, masks=False) for each in ((0, 0.6), (1, 0.6), (2, 0.9)))

    assert not difference(first.metrics["top1"], alike.metrics["top1"]).is_certain
    assert difference(first.metrics["top1"], better.metrics["top1"]).is_certain
    assert set(first.classes) == {"a", "b", "c", "d"}
    assert set(np.unique(first.errors)) == {0, 1}


def test_f1_is_that_of_its_counts():
    made = random_record(4, images=10)
    found = measure(made, resamples(10), masks=False)

    right, false = (sum(len(getattr(image, side)) for image in found.details) for side in ("right", "false"))
    missed = sum(len(image.missed) for image in found.details)
    assert found.metrics["F1"].interval.value == pytest.approx(2 * right / (2 * right + false + missed))
