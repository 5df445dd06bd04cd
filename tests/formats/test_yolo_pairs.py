"""Label files and images of YOLO datasets whose names do not agree."""

import re
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError

BOX = "0 0.5 0.5 0.25 0.25\n"


@pytest.fixture
def root(tmp_path) -> Path:
    """Forty labelled images a split, 00 to 39."""
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        for number in range(40):
            add(tmp_path, f"{number:02}", split)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train\nval: images/val\n")
    return tmp_path


def add(root: Path, stem: str, split: str = "train", label: str | None = "", suffix: str = "png") -> None:
    """Add an image and its label file: of another name, or None for no file."""
    Image.new("RGB", (40, 30)).save(root / "images" / split / f"{stem}.{suffix}")
    if label is not None:
        (root / "labels" / split / (label or f"{stem}.txt")).write_text(BOX)


def opened(root: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the number of objects of each image, and the findings."""
    dataset = CocoDataset(root, "train")
    objects = {sample.path.name: len(sample.labels) for sample in dataset.samples}
    return objects, [(finding.severity, finding.text) for finding in dataset.findings]


@pytest.mark.parametrize(
    ("stem", "label"),
    [
        ("écran 1", quote("écran 1") + ".txt"),
        (quote("a b#c"), "a b#c.txt"),
        ("Žižkov", unicodedata.normalize("NFD", "Žižkov") + ".txt"),
        (unicodedata.normalize("NFD", "Ñandú"), "Ñandú.txt"),
        ("가방", quote(unicodedata.normalize("NFD", "가방")) + ".txt"),
        ("cam1", "cam1.png.txt"),
        ("cam2", "cam2.jpeg.txt"),
        ("cam3", "cam3.TXT"),
    ],
)
def test_another_spelling_of_the_same_name_is_read_and_said(root, stem, label):
    add(root, stem, label=label)

    objects, [(severity, text)] = opened(root)

    assert objects[f"{stem}.png"] == 1
    assert severity == "warning"
    assert text == (
        f"train: 1 label files are spelled otherwise than their images and are read, such as {label} for {stem}.png;"
        " rename them"
    )


def test_two_files_that_both_may_be_meant_are_not_read(root):
    add(root, "é", label=quote("é") + ".txt")
    (root / "labels" / "train" / "é.png.txt").write_text(BOX)

    objects, [(severity, text)] = opened(root)

    assert objects["é.png"] == 0
    assert severity == "warning"
    assert "2 of 42 (4.8 %) label files have no image of their name" in text


@pytest.mark.parametrize(
    ("stem", "label"),
    [("IMG_1", "img_1.txt"), ("a b", "a_b.txt"), ("frame-7", "frame 7.txt"), ("frame0007", "frame_0007_v2.txt")],
)
def test_a_similar_name_is_a_warning_with_both_names(root, stem, label):
    add(root, stem, label=label)

    objects, [(severity, text)] = opened(root)

    assert objects[f"{stem}.png"] == 0
    assert severity == "warning"
    assert f"1 of 41 (2.4 %) label files have no image of their name, such as {label} (for {stem}.png?)" in text
    assert text.endswith("their objects are lost: rename them like their images, or delete them")


def test_many_label_files_of_other_names_are_an_error(root):
    for number in range(20):
        add(root, f"night{number}", label=f"label_{number}.txt")

    _, [(severity, text)] = opened(root)

    assert severity == "error"
    assert "20 of 60 (33.3 %) label files have no image" in text


def test_labels_whose_images_are_gone_are_lost_too(root):
    for number in range(30):
        (root / "images" / "train" / f"{number:02}.png").unlink()

    _, [(severity, text)] = opened(root)

    assert severity == "error"
    assert "30 of 40 (75.0 %)" in text
    assert text.endswith("delete them, or bring their images back")


def test_a_folder_of_labels_without_its_folder_of_images_is_lost_too(root):
    (root / "labels" / "train" / "batch2").mkdir()
    (root / "labels" / "train" / "batch2" / "a.txt").write_text(BOX)

    _, [(severity, text)] = opened(root)

    assert severity == "warning"
    assert "such as batch2/a.txt" in text


@pytest.mark.parametrize(
    "name", ["classes.txt", "._00.txt", ".hidden.txt", "train.txt", "README.dataset.txt", "a.cache"]
)
def test_other_files_beside_labels_are_no_labels(root, name):
    (root / "labels" / "train" / name).write_text("cat\ndog\n")

    assert opened(root)[1] == []


def test_an_image_without_a_label_file_is_background_and_no_fault(root):
    add(root, "empty", label=None)

    objects, findings = opened(root)

    assert objects["empty.png"] == 0
    assert findings == []


def test_labels_of_the_other_split_in_one_folder_are_not_lost(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    names = []
    for number in range(4):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{number}.jpg")
        (tmp_path / "labels" / f"{number}.txt").write_text(BOX)
        names.append(f"images/{number}.jpg")
    (tmp_path / "a.txt").write_text("\n".join(names[:3]))
    (tmp_path / "b.txt").write_text(names[3])
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: a.txt\nval: b.txt\n")

    assert opened(tmp_path) == ({"0.jpg": 1, "1.jpg": 1, "2.jpg": 1}, [])


def test_images_that_share_a_label_file_are_named(root):
    add(root, "07", suffix="jpg")

    _, [(severity, text)] = opened(root)

    assert severity == "warning"
    assert text.startswith("train: 2 of 41 (4.9 %) images share a label file with another, such as 07.jpg, 07.png;")


def test_a_mark_of_windows_editors_is_no_part_of_the_first_number(root):
    for file in (root / "labels" / "train").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    objects, findings = opened(root)

    assert set(objects.values()) == {1}
    assert findings == []


def test_when_no_label_file_fits_the_error_says_which_there_are(root):
    for number, file in enumerate(sorted((root / "labels" / "train").iterdir())):
        file.rename(file.with_name(f"boxes of {number}.txt"))

    with pytest.raises(
        SpinetError, match=r"no image has a label file; expected .*00.txt for .*00.png; train: 40 of 40"
    ):
        CocoDataset(root, "train")


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.2 0.2 0.87", "1 .5 .5 .2 .2 1"])
def test_six_columns_may_be_predictions(root, line):
    (root / "labels" / "train" / "00.txt").write_text(line)

    _, [(severity, text)] = opened(root)

    assert severity == "warning"
    assert re.search(r"00.txt, line 1: 6 numbers; must be 5 .*; is the last one a confidence\?;", text)


@pytest.mark.parametrize("word", ["1_0", "0x1", "5" * 5000, "½", "0,5", "one"])
def test_a_word_that_is_no_plain_number_is_named_and_cut(root, word):
    (root / "labels" / "train" / "00.txt").write_text(f"0 0.5 0.5 0.2 {word}\n")

    _, [(_, text)] = opened(root)

    assert "00.txt, line 1: " in text
    assert len(text) < 400
