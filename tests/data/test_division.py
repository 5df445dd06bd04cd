import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from three_formats import WRITERS, small_splits

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.division import divide, open_split
from spinet.data.near import near_groups
from spinet.data.split_lists import split_dataset
from spinet.errors import SpinetError
from spinet.formats.splits import Division


def pattern(path: Path, seed: int, noise: int = 0) -> Path:
    """Write an image of random patches; another noise gives an image that looks alike."""
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 256, (8, 8)), np.ones((8, 8))) + np.random.default_rng(noise).normal(
        0, 4, (64, 64)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def coco(root: Path, classes: list[list[int]], seeds: list[int] | None = None) -> Path:
    """Write an export that is not divided: the classes of the objects of each image, and what each shows."""
    seeds = seeds or list(range(len(classes)))
    raw: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": []}
    raw["categories"] = [{"id": number, "name": f"class {number}"} for number in range(1, 6)]
    for number, (found, seed) in enumerate(zip(classes, seeds, strict=True)):
        pattern(root / "images" / f"{number:03}.png", seed, number)
        raw["images"].append({"id": number + 1, "file_name": f"{number:03}.png", "width": 64, "height": 64})
        for label in found:
            box = {
                "image_id": number + 1,
                "category_id": label,
                "bbox": [8, 8, 16, 16],
                "id": len(raw["annotations"]) + 1,
            }
            raw["annotations"].append(box)
    (root / "result.json").write_text(json.dumps(raw))
    return root


def names(dataset: CocoDataset | ClassDataset) -> list[str]:
    return [sample.path.name for sample in dataset.samples]


def both(root: Path, share: float = 0.2, seed: int = 0) -> tuple[CocoDataset, CocoDataset]:
    division = Division(share, seed)
    train, val = (open_split(lambda part: CocoDataset(root, part), split, division) for split in ("train", "val"))
    return train, val


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_each_image_is_in_one_split_and_the_fraction_is_kept(tmp_path, share):
    root = coco(tmp_path, [[1], [2], [1, 2], []] * 10)

    train, val = both(root, share)

    assert sorted(names(train) + names(val)) == [f"{number:03}.png" for number in range(40)]
    assert len(val) == round(40 * share)
    assert (train.split, val.split) == ("train", "val")
    truth = val.ground_truth()
    assert [image["file_name"] for image in truth["images"]] == names(val)
    assert len(truth["annotations"]) == sum(len(sample.labels) for sample in val.samples)
    assert "32 images of" in both(root)[0].findings[-1].text


def test_the_division_depends_on_seed_and_names_and_not_on_order_or_place(tmp_path):
    root = coco(tmp_path / "a", [[1], [2]] * 15)
    first = names(both(root)[1])
    shutil.copytree(root, tmp_path / "b")
    raw = json.loads((root / "result.json").read_text())
    raw["images"].reverse()
    (tmp_path / "b" / "result.json").write_text(json.dumps(raw))

    assert names(both(root)[1]) == first
    assert sorted(names(both(tmp_path / "b")[1])) == first
    assert len({tuple(names(both(root, seed=seed)[1])) for seed in range(4)}) == 4


def test_every_class_is_in_train_and_frequent_ones_are_in_val_in_proportion(tmp_path):
    root = coco(tmp_path, [[1]] * 50 + [[2]] * 30 + [[3]] * 10 + [[4, 1]] + [[]] * 9)

    train, val = both(root)

    inside = Counter(label for sample in val.samples for label in sample.labels.tolist())
    assert inside[0] in (9, 10, 11)
    assert inside[1] in (5, 6, 7)
    assert inside[2] in (1, 2, 3)
    assert inside[3] == 0
    assert {label for sample in train.samples for label in sample.labels.tolist()} == {0, 1, 2, 3}


def test_images_that_look_alike_stay_together(tmp_path):
    seeds = [number // 3 for number in range(60)]
    root = coco(tmp_path, [[1]] * 60, seeds)

    for seed in range(3):
        train, val = both(root, seed=seed)
        shown = [{seeds[int(name[:3])] for name in names(part)} for part in (train, val)]
        assert not shown[0] & shown[1]
        assert len(val) == 12
    assert "20 groups of images that look alike are kept together" in train.findings[-1].text


def test_a_camera_that_stands_still_is_cut_into_runs_with_a_warning(tmp_path):
    root = coco(tmp_path, [[1]] * 20, [0] * 20)

    train, val = both(root)

    assert len(val) == 4
    numbers = [int(name[:3]) for name in names(val)]
    assert sum(second - first == 1 for first, second in pairwise(numbers)) >= 2
    assert train.findings[-1].severity == "warning"
    assert "20 images look so much alike that they are in both" in train.findings[-1].text


@pytest.mark.parametrize("classes", [[[1], [1]], [[1], [2]], [[], [1]]])
def test_two_images_are_divided_and_one_is_too_few(tmp_path, classes):
    assert [len(part) for part in both(coco(tmp_path / "two", classes), 0.01)] == [1, 1]
    with pytest.raises(SpinetError, match="has 1 image; dividing it into train and val needs at least two"):
        both(coco(tmp_path / "one", classes[:1]))


def test_copies_of_other_sizes_and_files_that_cannot_be_read(tmp_path):
    paths = [pattern(tmp_path / f"{number}.png", number) for number in range(3)]
    with Image.open(paths[0]) as image:
        image.resize((200, 160)).convert("RGB").save(tmp_path / "copy.jpg")
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("L", (64, 64), 7).save(tmp_path / "flat.png")

    groups = near_groups([*paths, *(tmp_path / name for name in ("copy.jpg", "broken.png", "flat.png", "none.png"))])

    assert groups[3] == groups[0]
    assert len(set(groups)) == 6


def test_chains_over_several_blocks_are_one_group(tmp_path, monkeypatch):
    monkeypatch.setattr("spinet.data.near.BLOCK", 4)
    seeds = [0, 1, 2, 0, 3, 1, 0, 4, 5, 6, 2, 0]
    paths = [pattern(tmp_path / f"{number}.png", seed, number) for number, seed in enumerate(seeds)]

    groups = near_groups(paths)

    assert [groups.index(group) for group in groups] == [seeds.index(seed) for seed in seeds]


@pytest.mark.parametrize("name", WRITERS)
def test_a_dataset_with_both_splits_is_divided_by_its_own(tmp_path, name):
    root = WRITERS[name](tmp_path / "data", *small_splits(tmp_path))

    with pytest.raises(SpinetError, match="has its own val split .*leave data.val_share at 0"):
        both(root)
    optional = Division(0.2, required=False)
    assert len(open_split(lambda part: CocoDataset(root, part), "val", optional)) == 3


def test_class_folders_are_divided_too(tmp_path):
    for name in ("cat", "dog"):
        for number in range(10):
            pattern(tmp_path / name / f"{number}.png", 100 * len(name) * (name == "dog") + number)

    train, val = (
        open_split(lambda part: ClassDataset(tmp_path, part), split, Division(0.3)) for split in ("train", "val")
    )

    assert (len(train), len(val)) == (14, 6)
    assert Counter(sample.label for sample in val.samples) == {0: 3, 1: 3}
    assert train.class_names == val.class_names == ("cat", "dog")


def test_the_choice_is_the_same_for_a_dataset_that_is_open_already(tmp_path):
    root = coco(tmp_path, [[1], [2]] * 10)

    chosen = divide(CocoDataset(root, "all"), Division(0.2)).val

    assert [f"{index:03}.png" for index in chosen] == names(both(root)[1])


def test_the_same_folder_named_by_its_yaml_file_or_a_link_is_divided_alike(tmp_path):
    root = tmp_path / "yolo"
    for number in range(12):
        pattern(root / "images" / f"{number:02}.png", number)
        label = root / "labels" / f"{number:02}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("names: [a]\ntrain: images\n")
    (tmp_path / "link").symlink_to(root)

    first, *others = ([names(part) for part in both(place)] for place in (root, root / "data.yaml", tmp_path / "link"))

    assert others == [first, first]


def test_train_is_never_empty_even_if_all_images_look_alike(tmp_path):
    root = coco(tmp_path, [[1]] * 5, seeds=[0] * 5)

    train, val = both(root, share=0.95)

    assert (len(train) > 0, len(val) > 0) == (True, True)


@pytest.mark.parametrize("place", ["train", "valid"])
def test_lists_that_the_folders_contradict_are_taken_back(tmp_path, place):
    for number in range(10):
        image = pattern(tmp_path / place / f"{number}.png", number)
        box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
        image.with_suffix(".xml").write_text(f"<annotation><object><name>a</name>{box}</object></annotation>")

    with pytest.raises(SpinetError, match=r"cannot divide it; train with data\.val_share"):
        split_dataset(tmp_path, Division(0.2))

    assert not list(tmp_path.rglob("*.txt"))


def test_class_folders_of_one_split_are_not_made_unreadable(tmp_path):
    for number in range(12):
        pattern(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number)

    with pytest.raises(SpinetError, match=r"cannot divide it; train with data\.val_share"):
        split_dataset(tmp_path, Division(0.2))

    assert len(ClassDataset(tmp_path, "train")) == 12


@pytest.mark.parametrize("bad", [0, 4, 9])
def test_lists_leave_out_an_image_that_cannot_be_read_and_keep_the_objects_of_the_others(tmp_path, bad):
    root = coco(tmp_path, [[1 + number % 5] for number in range(10)])
    raw = json.loads((root / "result.json").read_text())
    for image in raw["images"]:
        del image["width"], image["height"]
    (root / "result.json").write_text(json.dumps(raw))
    (root / "images" / f"{bad:03}.png").write_bytes(b"")

    written = split_dataset(root, Division(0.3))

    assert sum(written.counts.values()) == 9
    assert any("all: 1 of 10 images cannot be read" in finding.text for finding in written.findings)
    labels = {}
    for split in ("train", "val"):
        for sample in CocoDataset(root, split).samples:
            labels[int(sample.path.stem)] = sample.labels.tolist()
    assert labels == {number: [number % 5] for number in range(10) if number != bad}
