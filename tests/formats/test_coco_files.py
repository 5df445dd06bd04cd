import json
import shutil
from pathlib import Path

import pytest
from three_formats import small_splits, write_coco

from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError

# What lies where in the usual layout, and where a tool puts it; `a` and `b` are the two splits.
LAYOUTS = {
    "official, in images/": ("images/{}2017", "annotations/instances_{}2017.json", ("train", "val")),
    "PaddleDetection": ("images/{}", "annotations/instances_{}.json", ("train", "val")),
    "valid": ("{}", "annotations/instances_{}.json", ("train", "valid")),
    "short names": ("{}", "annotations/{}.json", ("train", "val")),
    "beside the folders": ("{}", "{}.json", ("train", "val")),
    "capitals": ("Images/{}", "annotations/instances_{}.json", ("Train", "Validation")),
    "FiftyOne": ("{}/data", "{}/labels.json", ("train", "val")),
    "supervision": ("{}/images", "{}/annotations.json", ("train", "valid")),
    "Roboflow": ("{}", "{}/_annotations.coco.json", ("train", "valid")),
    "LIVECell": ("images/livecell_{}_images", "annotations/LIVECell/livecell_coco_{}.json", ("train", "val")),
    "one folder of annotations each": ("{}/images", "{}/annotations/instances_default.json", ("train", "val")),
}


@pytest.fixture
def usual(tmp_path) -> Path:
    return write_coco(tmp_path / "usual", *small_splits(tmp_path))


def moved(usual: Path, root: Path, images: str, file: str, names: tuple[str, str]) -> Path:
    for split, name in zip(("train", "val"), names, strict=True):
        shutil.copytree(usual / split, root / images.format(name), dirs_exist_ok=True)
        target = root / file.format(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(usual / "annotations" / f"instances_{split}.json", target)
    return root


@pytest.mark.parametrize("tool", LAYOUTS)
def test_the_layouts_of_tools_are_read(usual, tmp_path, tool):
    root = moved(usual, tmp_path / "tool", *LAYOUTS[tool])

    for number, split in enumerate(("train", "val")):
        dataset = CocoDataset(root, split)
        assert [len(sample.labels) for sample in dataset.samples] == [1, 0, 2]
        assert dataset.image(2)[:, 0, 0].tolist() == [80 * number, 80, 200]


def test_one_folder_of_images_serves_both_splits(usual, tmp_path):
    root = tmp_path / "tool"
    shutil.copytree(usual / "annotations", root / "annotations")
    for split in ("train", "val"):
        file = root / "annotations" / f"instances_{split}.json"
        raw = json.loads(file.read_text())
        for image in raw["images"]:
            (root / "images").mkdir(exist_ok=True)
            shutil.copy(usual / split / image["file_name"], root / "images" / f"{split}-{image['file_name']}")
            image["file_name"] = f"{split}-{image['file_name']}"
        file.write_text(json.dumps(raw))

    assert CocoDataset(root, "val").samples[0].path == root / "images" / "val-0.png"
    assert len(CocoDataset(root, "train")) == 3


@pytest.mark.parametrize("other", ["captions_train2017", "person_keypoints_train2017", "panoptic_train", "train_super"])
def test_files_for_other_tasks_are_left_alone(usual, other):
    shutil.copy(usual / "annotations" / "instances_val.json", usual / "annotations" / f"{other}.json")

    assert CocoDataset(usual, "train").annotation_file.name == "instances_train.json"


def test_two_files_of_one_split_are_an_error(usual):
    for name in ("first_train", "second_train"):
        shutil.copy(usual / "annotations" / "instances_val.json", usual / "annotations" / f"{name}.json")
    (usual / "annotations" / "instances_train.json").unlink()

    with pytest.raises(SpinetError, match=r"has annotations/first_train.json and .*second_train.json; expected one"):
        CocoDataset(usual, "train")


@pytest.mark.parametrize("content", ["[]", '{"images": [], "categories": []}', '{"info": {}, "notes": ["bbox"]}'])
def test_json_files_that_are_no_annotations_are_no_second_format(usual, content):
    (usual / "annotations").rename(usual / "kept")
    for split in ("train", "val"):
        (usual / "kept" / f"instances_{split}.json").rename(usual / f"{split}.json")
    (usual / "notes_train.json").write_text(content)

    assert len(CocoDataset(usual, "train")) == 3


@pytest.mark.parametrize(
    ("images", "file"),
    [
        ("images/default", "annotations/instances_default.json"),
        ("images", "result.json"),
        ("data", "labels.json"),
        (".", "coco.json"),
        ("photos", "annotations/default.json"),
    ],
)
def test_an_export_that_is_not_divided_is_read_whole_and_the_ways_to_divide_it_are_named(usual, tmp_path, images, file):
    root = tmp_path / "export"
    shutil.copytree(usual / "train", root / images)
    (root / file).parent.mkdir(exist_ok=True)
    shutil.copy(usual / "annotations" / "instances_train.json", root / file)

    assert len(CocoDataset(root, "all")) == 3
    for split in ("train", "val"):
        with pytest.raises(SpinetError, match=rf"has no {split} split, expected .*spinet split DIR.*data.val_share"):
            CocoDataset(root, split)


@pytest.mark.parametrize(
    ("images", "file"),
    [
        ("images", "test.json"),
        ("images", "annotations/instances_test2017.json"),
        ("test", "test/_annotations.coco.json"),
        ("test", "test.json"),
        ("images/test", "annotations/test.json"),
    ],
)
def test_a_test_set_alone_is_the_whole_dataset_and_that_is_said(usual, tmp_path, images, file):
    root = tmp_path / "export"
    shutil.copytree(usual / "train", root / images)
    (root / file).parent.mkdir(exist_ok=True)
    shutil.copy(usual / "annotations" / "instances_train.json", root / file)

    whole = CocoDataset(root, "all")

    assert [len(sample.labels) for sample in whole.samples] == [1, 0, 2]
    assert whole.image(0).shape == (3, 30, 40)
    assert [(finding.severity, finding.text) for finding in whole.findings] == [
        (
            "hint",
            f"{file} has the name of a test set, but is the only annotation file: it is taken as the whole dataset",
        )
    ]
    with pytest.raises(SpinetError, match="has no train split.*set data.val_share"):
        CocoDataset(root, "train")


@pytest.mark.parametrize("other", ["train.json", "result.json", "annotations/instances_val.json"])
def test_a_test_set_beside_others_is_no_part_of_the_dataset(usual, tmp_path, other):
    root = tmp_path / "export"
    shutil.copytree(usual / "train", root / "images")
    for file in ("test.json", other):
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(usual / "annotations" / "instances_train.json", root / file)

    whole = CocoDataset(root, "all")

    assert whole.annotation_file == root / other
    assert whole.findings == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
def test_files_in_other_encodings_are_recognised(usual, tmp_path, encoding):
    for split in ("train", "val"):
        text = (usual / "annotations" / f"instances_{split}.json").read_text()
        (usual / f"{split}.json").write_text(text, encoding=encoding)
    shutil.rmtree(usual / "annotations")

    assert len(CocoDataset(usual, "train")) == 3


def test_a_dataset_with_both_splits_is_not_read_whole(usual):
    with pytest.raises(SpinetError, match=r"has its own val split \(annotations/instances_val.json\); leave"):
        CocoDataset(usual, "all")


def test_a_train_split_alone_is_the_whole(usual):
    (usual / "annotations" / "instances_val.json").unlink()

    assert len(CocoDataset(usual, "all")) == 3
