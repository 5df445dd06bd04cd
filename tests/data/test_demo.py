import json
import sys
from pathlib import Path

import numpy as np
import pytest

from spinet.data.coco import CocoDataset
from spinet.data.demo import NAMES, make_demo_dataset
from spinet.errors import SpinetError

pytest.importorskip("sklearn", reason="the demo data set needs scikit-learn")
pytest.importorskip("skimage", reason="the demo data set needs scikit-image")

SMALL = {"train_images": 12, "val_images": 6, "image_size": 96, "object_sizes": (16, 64)}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_demo_dataset(tmp_path_factory.mktemp("demo"), **SMALL)


def annotations(folder: Path, split: str) -> dict:
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())


def mask_of(segmentation: dict) -> np.ndarray:
    values = np.repeat(np.arange(len(segmentation["counts"])) % 2, segmentation["counts"])
    return values.reshape(segmentation["size"], order="F").astype(bool)


@pytest.mark.slow
def test_it_opens_as_a_clean_coco_data_set(made):
    train, val = CocoDataset(made, "train"), CocoDataset(made, "val")

    assert (len(train), len(val)) == (12, 6)
    assert train.class_names == NAMES
    assert train.category_ids == tuple(range(1, 11))
    assert train.problems == val.problems == {}
    assert train.image(0).shape == (3, 96, 96)
    assert all(len(sample.labels) >= 1 for sample in train.samples)


def test_boxes_and_areas_are_those_of_the_masks_and_masks_do_not_overlap(made):
    content = annotations(made, "train")
    covered = {image["id"]: np.zeros((96, 96), dtype=int) for image in content["images"]}

    for entry in content["annotations"]:
        mask = mask_of(entry["segmentation"])
        rows, columns = mask.nonzero()
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert entry["bbox"] == box
        assert entry["area"] == mask.sum()
        assert entry["iscrowd"] == 0
        assert 14 <= max(entry["bbox"][2:]) <= 64
        covered[entry["image_id"]] += mask
    assert max(cover.max() for cover in covered.values()) == 1


def test_digits_differ_clearly_from_what_is_around_them(made):
    dataset = CocoDataset(made, "train")
    images = {sample.image_id: dataset.image(k).float() for k, sample in enumerate(dataset.samples)}

    for entry in annotations(made, "train")["annotations"]:
        image, mask = images[entry["image_id"]], mask_of(entry["segmentation"])
        x, y, width, height = entry["bbox"]
        around = np.zeros_like(mask)
        around[y : y + height, x : x + width] = True
        if (around & ~mask).sum() > 20:
            digit, behind = image[:, mask].median(1).values, image[:, around & ~mask].median(1).values
            assert (digit - behind).norm() > 60


def test_the_metric_reads_its_ground_truth(made):
    mask = pytest.importorskip("pycocotools.mask")
    truth = CocoDataset(made, "val").ground_truth()

    for entry in truth["annotations"]:
        rle = mask.frPyObjects(entry["segmentation"], 96, 96)
        assert int(mask.area(rle)) == entry["area"]
        assert mask.toBbox(rle).tolist() == entry["bbox"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(made, tmp_path):
    again = make_demo_dataset(tmp_path, **SMALL)
    other = make_demo_dataset(tmp_path, **SMALL, seed=1)

    files = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all((made / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert again.name == made.name != other.name
    assert annotations(other, "train") != annotations(made, "train")


def test_a_finished_data_set_is_reused_and_nothing_else_is_left(made):
    mark = made / "mark"
    mark.touch()

    assert make_demo_dataset(made.parent, **SMALL) == made

    assert mark.exists()
    assert list(made.parent.iterdir()) == [made]


def test_a_failed_build_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.data.demo.PHOTOS", {"train": ("camera.png",), "val": ("no_such_photo.png",)})

    with pytest.raises(SpinetError, match="no_such_photo"):
        make_demo_dataset(tmp_path, **SMALL)

    assert list(tmp_path.iterdir()) == []


def test_fewer_classes_give_fewer_categories(tmp_path):
    folder = make_demo_dataset(tmp_path, **SMALL, classes=1, objects_per_image=(0, 1))

    content = annotations(folder, "train")
    assert content["categories"] == [{"id": 1, "name": "zero"}]
    assert {entry["category_id"] for entry in content["annotations"]} == {1}
    assert len({entry["image_id"] for entry in content["annotations"]}) < 12


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("classes", 0),
        ("classes", 11),
        ("train_images", 0),
        ("val_images", 0),
        ("image_size", 8),
        ("object_sizes", (64, 16)),
        ("object_sizes", (16, 97)),
        ("object_sizes", (2, 16)),
        ("objects_per_image", (3, 2)),
        ("objects_per_image", (-1, 2)),
        ("seed", -1),
    ],
)
def test_an_argument_out_of_range_is_an_error_that_names_it(tmp_path, argument, value):
    with pytest.raises(SpinetError, match=argument):
        make_demo_dataset(tmp_path, **(SMALL | {argument: value}))


def test_without_scikit_image_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)

    with pytest.raises(SpinetError, match=r"pip install 'spinet\[demo\]'"):
        make_demo_dataset(tmp_path, **SMALL)


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(SpinetError, match=r"could not write the demo dataset .*file"):
        make_demo_dataset(tmp_path / "file", **SMALL)
