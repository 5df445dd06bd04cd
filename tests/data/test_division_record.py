"""A division that a run has recorded is not chosen again on the same data."""

import json

import pytest
from class_folders import write_image
from exports import WHOLE, pictures

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.division import open_split
from spinet.data.division_record import FILE, record
from spinet.formats.splits import Division

DIVISION = Division(0.3, 5)
EXPORTS = ("CVAT: COCO 1.0", "Label Studio: YOLO")


@pytest.fixture(params=EXPORTS)
def export(request, tmp_path):
    WHOLE[request.param](tmp_path / "export", pictures())
    return tmp_path / "export"


def opened(root, run, division=DIVISION, split="val"):
    return open_split(lambda part: CocoDataset(root, part), split, division, run)


@pytest.fixture
def run(export, tmp_path):
    """A run folder with a record, which puts the first two images into val, as decoding them would not."""
    part = opened(export, None)
    assert [sample.number for sample in part.samples] != [1, 2]
    key, divided = part.division
    record(tmp_path / "runs" / "one", key, divided._replace(val=[0, 1]))
    return tmp_path / "runs" / "one"


def numbers(dataset):
    return [sample.number for sample in dataset.samples]


@pytest.fixture
def no_decoding(monkeypatch):
    def fail(paths):
        raise AssertionError(paths)

    monkeypatch.setattr("spinet.data.division.near_groups", fail)


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_record_of_the_run_or_of_one_beside_it_is_read(export, run, no_decoding, name):
    folder = run.parent / name

    val, train = opened(export, folder), opened(export, folder, split="train")

    assert numbers(val) == [1, 2]
    assert set(numbers(train)) == set(range(1, len(val) + len(train) + 1)) - {1, 2}
    [said] = [finding for finding in train.findings if finding.check == "division"]
    assert said.text.endswith("are train and 2 are val")


def test_moved_data_keep_their_division(export, run, no_decoding):
    moved = export.rename(export.with_name("moved"))

    assert numbers(opened(moved, run)) == [1, 2]


@pytest.mark.parametrize("division", [Division(0.3, 6), Division(0.4, 5)])
def test_another_division_is_chosen_anew(export, run, division):
    assert numbers(opened(export, run, division)) == numbers(opened(export, None, division))


def test_a_run_elsewhere_does_not_count(export, run, tmp_path):
    assert numbers(opened(export, tmp_path / "other" / "run")) == numbers(opened(export, None))


def test_changed_data_are_divided_anew(export, run):
    file = opened(export, None).annotation_file
    if file.suffix == ".json":
        raw = json.loads(file.read_text())
        raw["annotations"].pop()
        file.write_text(json.dumps(raw))
    else:
        label = min(path for path in (export / "labels").glob("*.txt") if path.read_text())
        label.write_text("")

    assert numbers(opened(export, run)) == numbers(opened(export, None))


@pytest.mark.parametrize(
    "changes",
    [{"val": []}, {"val": [1, 0]}, {"val": [0, 10**9]}, {"val": [True]}, {"val": "01"}, {"groups": None}, {"data": 1}],
)
def test_a_record_that_says_something_else_is_passed_over(export, run, changes):
    content = json.loads((run / FILE).read_text())
    (run / FILE).write_text(json.dumps(content | changes))

    assert numbers(opened(export, run)) == numbers(opened(export, None))


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_record_that_is_none_is_passed_over(export, run, text):
    (run / FILE).write_text(text)

    assert numbers(opened(export, run)) == numbers(opened(export, None))


def test_masks_change_neither_the_division_nor_its_key(tmp_path, monkeypatch):
    root = tmp_path / "export"
    WHOLE["CVAT: COCO 1.0"](root, pictures(20))
    file = CocoDataset(root, "all").annotation_file
    raw = json.loads(file.read_text())
    for entry in raw["annotations"]:
        if entry["image_id"] in (3, 8, 12):
            entry["segmentation"] = []
    file.write_text(json.dumps(raw))

    def opened(split, masks, run=None):
        return open_split(lambda part: CocoDataset(root, part, masks=masks), split, DIVISION, run)

    with_masks, boxes = opened("val", True), opened("val", False)
    assert numbers(with_masks) == numbers(boxes)
    assert with_masks.division == boxes.division
    assert len(opened("train", True)) + len(with_masks) == 20
    whole = CocoDataset(root, "all", masks=True)
    assert [len(whole.samples[at].masks) for at in (2, 7, 11)] == [0, 0, 0]

    record(tmp_path / "run", *with_masks.division)
    monkeypatch.setattr("spinet.data.division.near_groups", None)
    assert numbers(opened("val", False, tmp_path / "run")) == numbers(with_masks)


def test_class_folders_are_recorded_too(tmp_path, monkeypatch):
    for label, name in enumerate(("cat", "dog")):
        for number in range(5):
            write_image(tmp_path / "data" / name / f"{number}.png", seed=10 * label + number)
    part = open_split(lambda part: ClassDataset(tmp_path / "data", part), "val", DIVISION)
    record(tmp_path / "run", *part.division)
    monkeypatch.setattr("spinet.data.division.near_groups", None)

    again = open_split(lambda part: ClassDataset(tmp_path / "data", part), "val", DIVISION, tmp_path / "run")

    assert numbers(again) == numbers(part)
