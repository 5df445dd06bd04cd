import unicodedata
from pathlib import Path

import pytest
from class_folders import write_image

from spinet.errors import SpinetError
from spinet.formats.file_names import find_files


@pytest.fixture
def root(tmp_path) -> Path:
    for name in ("train/a.png", "train/deep/my photo.png", "train/\u00e9.JPG", "val/only.png"):
        write_image(tmp_path / name)
    return tmp_path


def found(root: Path, *names: str, split: str = "train") -> list[str]:
    files = find_files(names, [root / split], root, split, root / "instances_train.json")
    return [(files.folder / name).relative_to(root).as_posix() for name in files.names]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("deep\\my photo.png", "train/deep/my photo.png"),
        ("./deep/../a.png", "train/a.png"),
        ("train/a.png", "train/a.png"),
        ("images/a.png", "train/a.png"),
        ("C:\\Users\\me\\a.png", "train/a.png"),
        ("../../upload/1/a.png", "train/a.png"),
        ("/data/local-files/?d=my%20project/a.png", "train/a.png"),
        ("my%20photo.png", "train/deep/my photo.png"),
        ("A.PNG", "train/a.png"),
        (unicodedata.normalize("NFD", "\u00e9.JPG"), "train/\u00e9.JPG"),
        ("%C3%A9.jpg", "train/\u00e9.JPG"),
        ("e\u0301.jpg", "train/\u00e9.JPG"),
    ],
)
def test_other_spellings_of_a_name_are_found(root, name, file):
    assert found(root, name) == [file]


def test_what_was_spelled_otherwise_is_counted_with_an_example(root):
    some = find_files(
        ["a.png", "MY%20PHOTO.png"], [root / "train" / "deep", root / "train"], root, "train", root / "x.json"
    )
    every = find_files(["images/a.png"], [root / "train"], root, "train", root / "x.json")
    none = find_files(["a.png", "deep\\my photo.png"], [root / "train"], root, "train", root / "x.json")

    assert [finding.severity for finding in some.findings] == ["warning"]
    assert "1 of 2 image names are spelled otherwise in x.json than their files, such as MY%20PHOTO.png for" in (
        some.findings[0].text
    )
    assert [finding.severity for finding in every.findings] == ["hint"]
    assert none.findings == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("only.png", r"missing, the first one is .*train/only.png; a file of that name is in another folder: val/only"),
        ("a.jpeg", r"1 of 2 .*train/a.jpeg; there is one with another suffix: train/a.png"),
        ("my photos.png", r"the nearest name is: train/deep/my photo.png"),
        ("nothing-like-it.tif", r"is .*train/nothing-like-it.tif$"),
        ("x" * 4000 + ".png", r"^1 of 2 image files are missing, .{60,250}$"),
        ("null\0.png", "1 of 2 image files are missing"),
    ],
)
def test_a_missing_file_is_named_with_the_nearest_one(root, name, sentence):
    with pytest.raises(SpinetError, match=sentence):
        found(root, "a.png", name)


def test_images_of_another_split_are_not_taken(root):
    with pytest.raises(SpinetError, match=r"is in another folder: val/only\.png"):
        found(root, "images/only.png")


def test_a_name_that_fits_two_files_or_a_file_that_fits_two_names_is_missing(root):
    write_image(root / "train" / "deep" / "a.png")
    with pytest.raises(SpinetError, match=r"1 of 1 .*another folder \(2 files have that name\): train/a\.png"):
        found(root, "images/a.png")

    with pytest.raises(SpinetError, match="2 of 2 image files are missing"):
        found(root, "cam1/my photo.png", "cam2/my photo.png")


def test_the_folders_of_a_name_decide_between_files_of_one_name(root):
    for camera in ("cam1", "cam2"):
        write_image(root / "photos" / camera / "1.png")

    assert found(root, "C:\\x\\cam2\\1.png", "C:\\x\\cam1\\1.png") == ["photos/cam2/1.png", "photos/cam1/1.png"]


def test_where_other_names_are_right_a_file_in_another_folder_is_not_taken(root):
    write_image(root / "train" / "cam2" / "1.png")

    with pytest.raises(SpinetError, match=r"1 of 2 .*cam1/1.png; a file of that name is in another folder"):
        found(root, "a.png", "cam1/1.png")


def test_linked_folders_are_searched_and_hidden_ones_are_not(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "linked.png")
    (root / "train" / "more").symlink_to(elsewhere)
    write_image(root / "train" / ".cache" / "hidden.png")

    assert found(root, "images/linked.png") == ["train/more/linked.png"]
    with pytest.raises(SpinetError, match="hidden.png$"):
        found(root, "images/hidden.png")
