"""The doctor reads classification datasets: image folders, and JSON files like iNaturalist's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from class_folders import write_image, write_json
from PIL import Image

from spinet.doctor.anchors import DetectorSettings
from spinet.doctor.examine import DatasetReport, examine


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes with 20 distinct images in train and ten in val."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 10)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
                small.resize((48, 32), Image.Resampling.BICUBIC).save(image(tmp_path, split, name, number))
    return tmp_path


def image(root: Path, split: str, name: str, number: int) -> Path:
    return root / split / name / f"{number:02}.png"


def checked(root: Path, **options: object) -> DatasetReport:
    return examine(root, DetectorSettings(), **options)


def test_a_clean_dataset_of_classes_gets_no_finding(root):
    report = checked(root)

    assert report.format == "image folders"
    assert report.findings == []
    assert report.classes == {"cat": {"train": 20, "val": 10}, "dog": {"train": 20, "val": 10}}
    assert report.splits["train"].images == 40


def copies_in_both(root):
    for number in range(3):
        shutil.copy(image(root, "train", "cat", number), root / "val" / "cat" / f"copy{number}.png")


def broken(root):
    image(root, "train", "dog", 3).write_bytes(b"")


def duplicate(root):
    shutil.copy(image(root, "train", "dog", 3), root / "train" / "dog" / "again.png")


def near_leak(root):
    photo = Image.open(image(root, "train", "dog", 4))
    photo.point(lambda value: value * 0.9).save(root / "val" / "dog" / "darker.png")


def two_classes(root):
    shutil.copy(image(root, "train", "dog", 3), root / "train" / "cat" / "dog.png")


def only_in_train(root):
    for number in range(20):
        path = root / "train" / "owl" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.open(image(root, "train", "dog", number)).transpose(Image.Transpose.ROTATE_90).save(path)


def few(root):
    for number in range(15):
        image(root, "train", "dog", number).unlink()


def loose(root):
    image(root, "train", "dog", 3).rename(root / "train" / "03.png")
    shutil.copy(image(root, "train", "dog", 4), image(root, "train", "dog", 3))


def unread(root):
    (root / "train" / "dog" / "film.mp4").touch()


def names_alike(root):
    (root / "train" / "cat").rename(root / "train" / "Dog")
    (root / "val" / "cat").rename(root / "val" / "Dog")


@pytest.mark.parametrize(
    ("fault", "severity", "check", "words"),
    [
        (copies_in_both, "error", "leakage", "3 of 23 (13.0 %) images of val show the same pixels as one of train"),
        (
            broken,
            "error",
            "broken images",
            "1 of 40 (2.5 %) images cannot be read, such as dog/03.png: the file is empty",
        ),
        (duplicate, "warning", "duplicate images", "1 of 61 (1.6 %) images show the same pixels as another"),
        (near_leak, "warning", "near leakage", "such as dog/04.png and dog/darker.png"),
        (
            two_classes,
            "warning",
            "images of two classes",
            "such as cat/dog.png and dog/03.png; keep the one in the right",
        ),
        (only_in_train, "hint", "split without a class", "1 of 3 classes have images in train but none in val"),
        (few, "warning", "few images", "1 of 2 classes have fewer than 20 images in train (dog: 5)"),
        (loose, "warning", "images without a class", "1 images lie outside the class folders and are ignored"),
        (unread, "warning", "skipped files", "1 file is skipped because Pillow does not read the format (.mp4: 1)"),
        (names_alike, "warning", "category names", "2 category names differ only in case or spaces (Dog, dog)"),
    ],
)
def test_a_planted_fault_is_found(root, fault, severity, check, words):
    fault(root)

    found = {finding.check: finding for finding in checked(root).findings}

    assert found[check].severity == severity
    assert words in found[check].text


def test_quick_opens_no_image(root):
    broken(root)
    few(root)

    assert [finding.check for finding in checked(root, quick=True).findings] == ["few images"]


def test_a_split_that_cannot_be_opened_is_an_error(root):
    for file in (root / "val" / "dog").iterdir():
        file.unlink()

    assert any("val: the class folder " in finding.text for finding in checked(root).findings)


def test_a_json_file_of_classes_is_read_and_a_file_under_two_ids_is_an_error(tmp_path):
    write_json(write_json(tmp_path), "val")
    file = tmp_path / "train2017.json"
    raw = json.loads(file.read_text())
    raw["images"].append(raw["images"][0] | {"id": 99})
    raw["annotations"].append({"id": 99, "image_id": 99, "category_id": 7})
    file.write_text(json.dumps(raw))

    report = checked(tmp_path)

    assert report.format == "JSON of classes"
    found = {finding.check: finding for finding in report.findings}
    assert found["listed twice"].severity == "error"
    assert "1 of 4 image files are listed twice or more, such as Aves/train0.jpg" in found["listed twice"].text
    assert "leakage" in found


def test_the_command_prints_the_classes(root, spinet):
    copies_in_both(root)

    code, out, _ = spinet("doctor", root)

    assert code == 1
    assert "image folders" in out
    assert "median" not in out
    assert "error: 3 of 23 (13.0 %) images of val show the same pixels" in out


def test_a_single_image_in_a_folder_is_no_dataset_of_classes(tmp_path, spinet):
    write_image(tmp_path / "train" / "a.jpg")

    code, _, error = spinet("doctor", tmp_path)

    assert code == 1
    assert "is not a dataset folder" in error
