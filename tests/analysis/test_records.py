from dataclasses import replace

import numpy as np
import pytest
from records import objects, random_record, record

from spinet.analysis.accuracy import accuracy, class_accuracies, confident_mistakes, is_right
from spinet.analysis.confusion import class_confusion
from spinet.analysis.precision import resamples
from spinet.analysis.records import ClassRecord, DetectionRecord, load_record
from spinet.errors import SpinetError

# Images of three classes, their three best predictions and scores; the last predicts a class that the dataset lacks.
CLASSES = ClassRecord(
    ("a.jpg", "b.jpg", "c.jpg", "d.jpg"),
    ("cat", "dog", "bird"),
    5,
    np.array([0, 0, 1, 1]),
    np.array([[0, 1, 2], [1, 0, 2], [1, 0, 2], [-1, 2, 1]]),
    np.array([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.8, 0.1, 0.1]]),
)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("owners", "labels", "boxes", "scores")
    )


def test_a_record_of_objects_comes_back_from_its_file(tmp_path):
    made = random_record(0, crowd=0.3)
    found = replace(made.found, scores=made.found.scores.astype(np.float32).astype(np.float64))
    masked = replace(made, found=replace(found, masks=tuple(b"abc"[: row % 4] for row in range(len(found)))))

    for one in (made, masked):
        one.save(tmp_path / "val.npz")
        read = load_record(tmp_path / "val.npz")

        assert isinstance(read, DetectionRecord)
        assert (read.images, read.class_names, read.step) == (one.images, one.class_names, 7)
        assert same(read.truth, one.truth)
        assert same(read.found, found)
        assert read.found.masks == one.found.masks
        assert (read.truth.crowd == one.truth.crowd).all()
        assert read.same_data(one)


def test_equal_records_are_equal_files(tmp_path):
    for name in ("a", "b"):
        random_record(1).save(tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_record_of_classes_comes_back_from_its_file(tmp_path):
    CLASSES.save(tmp_path / "val.npz")

    read = load_record(tmp_path / "val.npz")

    assert isinstance(read, ClassRecord)
    assert (read.predicted == CLASSES.predicted).all()
    np.testing.assert_allclose(read.scores, CLASSES.scores, atol=1e-7)
    assert read.same_data(CLASSES)


def test_other_annotations_are_other_data():
    made = record([(0, 0, 0, 0, 9, 9)], [], [])

    assert not made.same_data(record([(0, 0, 0, 0, 9, 8)], [], []))
    assert not made.same_data(record([(0, 0, 0, 0, 9, 9)], [], [], classes=("cat", "cow", "bird")))
    assert not made.same_data(CLASSES)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_a_corrupt_file_is_one_sentence(tmp_path, content):
    (tmp_path / "val.npz").write_bytes(content)

    with pytest.raises(SpinetError, match=r"val\.npz"):
        load_record(tmp_path / "val.npz")


def test_objects_of_an_image_are_found_by_its_index():
    rows = objects([(2, 0, 0, 0, 1, 1), (0, 1, 0, 0, 1, 1), (2, 1, 0, 0, 1, 1)])

    assert [len(rows[part]) for part in rows.by_image(4)] == [1, 0, 2, 0]


def test_worked_accuracies():
    weights = resamples(4, 50)

    assert is_right(CLASSES).tolist() == [True, False, True, False]
    assert accuracy(is_right(CLASSES), weights)[0].value == 0.5
    assert accuracy(is_right(CLASSES, top=3), weights)[0].value == 1.0
    assert [value.value for value in class_accuracies(CLASSES, weights)][:2] == [0.5, 0.5]
    assert np.isnan(class_accuracies(CLASSES, weights)[2].value)
    assert class_confusion(CLASSES).tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert confident_mistakes(CLASSES, 5) == [3, 1]
