"""What a digest of a dataset depends on: its contents, not where they are."""

import json
import shutil
from pathlib import Path

import pytest
from class_folders import write_folders, write_image

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.digest import differences, digest

TRIANGLE = [[5, 6, 15, 6, 5, 14]]


def changed(root, change, file="annotations/instances_train.json"):
    """Change the JSON of a split."""
    content = json.loads((root / file).read_text())
    change(content)
    (root / file).write_text(json.dumps(content))
    return root


def outlined(content):
    for entry in content["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]


@pytest.fixture
def root(write_coco, tmp_path):
    return changed(write_coco(tmp_path / "data"), outlined)


def train_digest(root, **options):
    return digest(CocoDataset(root, "train", **options))


def test_a_moved_copied_or_linked_folder_keeps_its_digest(root, tmp_path, monkeypatch):
    before = train_digest(root)
    shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)

    places = [tmp_path / "elsewhere" / "copy", tmp_path / "link", Path("data"), Path("./data/../data")]

    assert [train_digest(place) for place in places] == [before] * 4
    assert train_digest(root.rename(tmp_path / "moved")) == before


def test_the_same_images_and_boxes_in_another_layout_keep_their_digest(root, tmp_path):
    before = train_digest(root)
    (root / "train").rename(root / "train2017")
    (root / "annotations" / "instances_train.json").rename(root / "annotations" / "instances_train2017.json")
    assert train_digest(root) == before


def swap(content):
    content["images"] = content["images"][::-1]


def move(content):
    content["annotations"][0]["bbox"][0] += 1


def other_class(content):
    content["annotations"][0]["category_id"] = 3


def other_image(content):
    content["annotations"][0]["image_id"] = 10


def add_object(content):
    content["annotations"].append(content["annotations"][0] | {"id": 99})


def mark_crowd(content):
    content["annotations"].append(content["annotations"][0] | {"id": 99, "iscrowd": 1})


def set_area(content):
    content["annotations"][0]["area"] = 33


def drop_image(content):
    content["images"] = [image for image in content["images"] if image["file_name"] != "1.png"]


def rename_class(content):
    content["categories"][0]["name"] = "lynx"


def resize(content):
    content["images"][1]["width"] = 39


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap, "the order of the training images"),
        (move, "the boxes in the training images"),
        (other_class, "the classes in the training images"),
        (other_image, "the classes in the training images"),
        (add_object, "4 objects in the training images instead of 3"),
        (mark_crowd, "the crowd regions in the training images"),
        (set_area, "the areas of the objects in the training images"),
        (drop_image, "2 training images instead of 3"),
        (rename_class, "the class names"),
        (resize, "the sizes of the training images"),
    ],
)
def test_a_change_is_named(root, change, words):
    before = train_digest(root)
    now = train_digest(changed(root, change))
    assert differences({"train": before}, {"train": now}) == [words]


def test_another_file_under_the_same_entry_is_named(root):
    before = train_digest(root)
    (root / "train" / "1.png").rename(root / "train" / "new.png")
    changed(root, lambda content: content["images"][1].update(file_name="new.png"))
    assert differences({"train": before}, {"train": train_digest(root)}) == ["the file names of the training images"]


def test_masks_count_only_where_they_are_read(root):
    boxes, masks = train_digest(root), train_digest(root, masks=True)
    changed(root, lambda content: content["annotations"][0].update(segmentation=TRIANGLE))
    assert train_digest(root) == boxes
    assert differences({"train": masks}, {"train": train_digest(root, masks=True)}) == [
        "the masks in the training images"
    ]


def test_accents_spelt_as_another_system_does_are_no_change(root):
    composed, decomposed = "\u00e9.png", "e\u0301.png"
    (root / "train" / "1.png").rename(root / "train" / composed)
    before = train_digest(changed(root, lambda content: content["images"][1].update(file_name=composed)))
    (root / "train" / composed).rename(root / "train" / decomposed)
    assert train_digest(changed(root, lambda content: content["images"][1].update(file_name=decomposed))) == before


def test_image_ids_count_where_they_choose(root):
    def renumber(content):
        for entry in content["images"]:
            entry["id"] += 100
        for entry in content["annotations"]:
            entry["image_id"] += 100

    before = [digest(CocoDataset(root, "train"), ids) for ids in (False, True)]
    changed(root, renumber)
    now = [digest(CocoDataset(root, "train"), ids) for ids in (False, True)]
    assert before[0] == now[0]
    assert differences({"train": before[1]}, {"train": now[1]}) == ["the image ids of the training images"]


def test_both_splits_are_named(root):
    train = train_digest(root)
    now = {"train": train | {"images": 1616}, "val": train | {"boxes": "other"}}
    assert differences({"train": train, "val": train}, now) == [
        "1,616 training images instead of 3",
        "the boxes in the validation images",
    ]


@pytest.mark.parametrize("before", [{}, {"train": {}}, {"train": {"images": "many", "unheard of": 3}}])
def test_what_an_older_or_newer_version_does_not_know_is_no_change(root, before):
    assert differences(before, {"train": train_digest(root)}) == []


def test_class_folders_have_a_digest_of_files_and_classes(tmp_path):
    root = write_folders(tmp_path / "data")
    before = digest(ClassDataset(root, "train"))
    assert digest(ClassDataset(root.rename(tmp_path / "moved"), "train")) == before

    cat, dog = (tmp_path / "moved" / "train" / name for name in ("cat", "dog"))
    (cat / "a.jpg").rename(dog / "moved.jpg")
    now = digest(ClassDataset(tmp_path / "moved", "train"))
    assert differences({"train": before}, {"train": now}) == ["the file names of the training images"]
    write_image(dog / "another.jpg")
    now = digest(ClassDataset(tmp_path / "moved", "train"))
    assert differences({"train": before}, {"train": now}) == ["7 training images instead of 6"]
