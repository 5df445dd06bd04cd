"""The costs of errors are those of TIDE's own code, where that is installed (`pip install tidecv`)."""

import warnings

import numpy as np
import pytest
from records import random_record

from spinet.analysis.errors import costs, find_errors
from spinet.analysis.overlaps import image_overlaps

THEIRS = {"Cls": "class", "Loc": "location", "Both": "both", "Dupe": "duplicate", "Bkg": "background", "Miss": "missed"}


@pytest.fixture(scope="module")
def tidecv():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tidecv")


@pytest.mark.parametrize("seed", range(8))
def test_counts_and_costs_are_those_of_tidecv(tidecv, seed):
    record = random_record(seed)
    truth, found = tidecv.Data("truth"), tidecv.Data("found")
    for side, add in ((record.truth, truth.add_ground_truth), (record.found, found.add_detection)):
        for owner, label, box, score in zip(side.owners, side.labels, side.boxes, side.scores, strict=True):
            scored = () if side is record.truth else (float(score),)
            add(int(owner), int(label), *scored, [float(value) for value in box])
    for image, name in enumerate(record.images):
        truth.add_image(image, name)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = tidecv.TIDE().evaluate(truth, found, mode=tidecv.TIDE.BOX)
        gained, counted = run.fix_main_errors(), run.count_errors()
    ours = costs(record, find_errors(record, image_overlaps(record)))

    assert {THEIRS[kind.short_name]: count for kind, count in counted.items()} == {
        name: cost.times for name, cost in ours.items()
    }
    for kind, gain in gained.items():
        assert ours[THEIRS[kind.short_name]].ap == pytest.approx(gain / 100, abs=1e-9), kind.short_name
    assert np.isfinite([cost.ap for cost in ours.values()]).all()
