import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spinet.data.class_data import ClassDataset
from spinet.errors import SpinetError
from spinet.formats.images import image_size
from spinet.predict.crops import crop_boxes, crop_window, folder_names

CATEGORIES = ({"id": 3, "name": "cat"}, {"id": 7, "name": "sea/star"})
# Of a 60 x 40 photo: a box in its middle and one in its upper left corner.
MIDDLE, CORNER = [20, 10, 20, 12], [0, 0, 10, 8]


def write_boxes(root, split="train", objects=((3, MIDDLE), (7, CORNER)), categories=CATEGORIES, **extra):
    """Write one photo, blue with a red rectangle for each object."""
    photo = Image.new("RGB", (60, 40), (0, 0, 255))
    for _, (x, y, width, height) in objects:
        photo.paste((255, 0, 0), (x, y, x + width, y + height))
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    photo.save(root / split / "a.png")
    content = {
        "images": [{"id": 8, "file_name": "a.png", "width": 60, "height": 40}],
        "categories": list(categories),
        "annotations": [
            {"id": k, "image_id": 8, "category_id": category, "bbox": box} | extra
            for k, (category, box) in enumerate(objects)
        ],
    }
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def boxes(tmp_path):
    write_boxes(tmp_path / "boxes", "val")
    return write_boxes(tmp_path / "boxes")


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*.jpg"))


def test_a_crop_is_one_and_a_half_times_its_box(boxes, tmp_path):
    report = crop_boxes(boxes, tmp_path / "out")

    assert files(tmp_path / "out" / "train") == ["cat/000008-000.jpg", "sea_star/000008-001.jpg"]
    with Image.open(tmp_path / "out" / "train" / "cat" / "000008-000.jpg") as crop:
        assert crop.size == (30, 18)
        # The box itself is the red middle, with a sixth of the side on each side of it.
        assert crop.getpixel((15, 9))[0] > 240
        assert crop.getpixel((1, 1))[2] > 240
    assert report.crops == {"train": {"cat": 1, "sea/star": 1}, "val": {"cat": 1, "sea/star": 1}}


def test_a_crop_ends_where_the_image_ends(boxes, tmp_path):
    crop_boxes(boxes, tmp_path / "out")

    with Image.open(tmp_path / "out" / "train" / "sea_star" / "000008-001.jpg") as crop:
        # A quarter of the box (2.5 and 2 pixels) on the two sides that are inside.
        assert crop.size == (13, 10)


def test_the_crops_are_a_data_set_of_classes(boxes, tmp_path):
    crop_boxes(boxes, tmp_path / "out")

    for split in ("train", "val"):
        dataset = ClassDataset(tmp_path / "out", split)
        assert dataset.class_names == ("cat", "sea_star")
        assert len(dataset) == 2


def test_the_settings_of_the_crops_are_written_beside_them(boxes, tmp_path):
    report = crop_boxes(boxes, tmp_path / "out", context=1.2, size=20)

    assert json.loads((tmp_path / "out" / "crops.json").read_text()) == {
        "context": 1.2,
        "size": 20,
        "min_side": 1,
        "folders": {"sea/star": "sea_star"},
    }
    assert report.folders == {"sea/star": "sea_star"}


def test_a_size_makes_longer_crops_smaller_and_leaves_the_others(boxes, tmp_path):
    crop_boxes(boxes, tmp_path / "out", size=15)

    sizes = [image_size(tmp_path / "out" / "train" / file) for file in files(tmp_path / "out" / "train")]
    assert sizes == [(15, 9), (13, 10)]


def test_small_boxes_are_counted_and_left_out(tmp_path):
    write_boxes(tmp_path / "boxes", objects=((3, MIDDLE), (7, MIDDLE), (7, CORNER)))

    report = crop_boxes(tmp_path / "boxes", tmp_path / "out", splits=("train",), min_side=9)

    assert report.small == {"train": 1}
    assert report.crops == {"train": {"cat": 1, "sea/star": 1}}


def test_a_class_that_only_val_has_is_left_out_and_named(boxes, tmp_path):
    three = (*CATEGORIES, {"id": 9, "name": "whale"})
    write_boxes(boxes, "val", objects=((3, MIDDLE), (9, CORNER)), categories=three)

    report = crop_boxes(boxes, tmp_path / "out")

    assert report.left_out == ("whale",)
    assert files(tmp_path / "out" / "val") == ["cat/000008-000.jpg"]
    assert len(ClassDataset(tmp_path / "out", "val")) == 1


def test_crowd_regions_are_no_crops(tmp_path):
    write_boxes(tmp_path / "boxes", iscrowd=1)

    with pytest.raises(SpinetError, match=r"boxes of fewer than two classes \(none\)"):
        crop_boxes(tmp_path / "boxes", tmp_path / "out", splits=("train",))


def test_progress_is_reported_up_to_the_end(boxes, tmp_path):
    told = []

    crop_boxes(boxes, tmp_path / "out", progress=lambda done, total: told.append((done, total)))

    assert told == [(2, 4), (4, 4)]


def test_a_failure_leaves_nothing_behind(boxes, tmp_path):
    (boxes / "val" / "a.png").write_bytes(b"no image")

    with pytest.raises(SpinetError, match=r"^val: 1 of 1 images cannot be read \(val/a\.png\): not an image"):
        crop_boxes(boxes, tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["boxes"]


@pytest.mark.parametrize("broken", ["train", "val"])
def test_one_image_that_cannot_be_read_has_no_crops_and_is_named(boxes, tmp_path, broken):
    file = boxes / "annotations" / f"instances_{broken}.json"
    raw = json.loads(file.read_text())
    raw["images"].append(raw["images"][0] | {"id": 9, "file_name": "b.png"})
    raw["annotations"].append(raw["annotations"][0] | {"id": 77, "image_id": 9})
    file.write_text(json.dumps(raw))
    (boxes / broken / "b.png").write_bytes(b"")

    report = crop_boxes(boxes, tmp_path / "out")

    assert report.crops == {split: {"cat": 1, "sea/star": 1} for split in ("train", "val")}
    assert len(files(tmp_path / "out")) == 4
    assert report.warnings == (
        f"{broken}: 1 of 2 images cannot be read ({broken}/b.png): the file is empty; there are no crops of them",
    )


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_is_not(boxes, tmp_path):
    (tmp_path / "out").mkdir()
    crop_boxes(boxes, tmp_path / "out")

    with pytest.raises(SpinetError, match="out exists already; the output must be a new or empty folder"):
        crop_boxes(boxes, tmp_path / "out")
    assert len(files(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"context": 0.5}, "context is 0.5; it must be at least 1"),
        ({"context": float("nan")}, "context is nan"),
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"min_side": -1}, "min_side is -1; it must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(boxes, tmp_path, options, sentence):
    with pytest.raises(SpinetError, match=sentence):
        crop_boxes(boxes, tmp_path / "out", **options)


@given(
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    context=st.floats(1, 3),
)
def test_a_window_holds_its_box_and_stays_in_the_image(corners, width, height, context):
    xs, ys = sorted((corners[0] * width, corners[1] * width)), sorted((corners[2] * height, corners[3] * height))

    left, top, right, bottom = crop_window((xs[0], ys[0], xs[1], ys[1]), context, width, height)

    assert 0 <= left <= xs[0] <= xs[1] <= right <= width
    assert 0 <= top <= ys[0] <= ys[1] <= bottom <= height
    assert right - left <= context * (xs[1] - xs[0]) + 2


@given(st.lists(st.text(max_size=30), max_size=8, unique=True))
def test_every_class_gets_a_folder_of_its_own(names):
    folders = folder_names(names)

    assert folders.keys() == set(names)
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    for folder in folders.values():
        assert folder == Path(folder).name
        assert not folder.startswith(".")
        assert folder == folder.strip(" ") != ""


def test_names_that_no_file_may_have_are_changed():
    assert folder_names(["..", "a/../../b", "nul", "x" * 300]) == {
        "..": "class",
        "a/../../b": "a_.._.._b",
        "nul": "class nul",
        "x" * 300: "x" * 200,
    }


def test_the_command_crops_and_counts(spinet, boxes, tmp_path):
    code, output, _ = spinet("crop-boxes", boxes, "-o", tmp_path / "out", "--split", "train", "--min-side", "9")
    assert code == 1

    code, output, _ = spinet("crop-boxes", boxes, "-o", tmp_path / "out", "--split", "train")

    assert code == 0
    assert "class 'sea/star' is in folder 'sea_star'" in output
    assert files(tmp_path / "out") == ["train/cat/000008-000.jpg", "train/sea_star/000008-001.jpg"]


@pytest.mark.parametrize(("split", "other"), [("train", "val"), ("val", "train")])
def test_the_command_says_that_one_split_alone_trains_nothing(spinet, boxes, tmp_path, split, other):
    _, output, _ = spinet("crop-boxes", boxes, "-o", tmp_path / "out", "--split", split)
    assert f"no {other} images were written; `spinet train` needs both splits" in output

    _, output, _ = spinet("crop-boxes", boxes, "-o", tmp_path / "both")
    assert "there are no" not in output


@pytest.mark.slow
def test_real_images_become_crops_that_train_a_classifier(real_photos, tmp_path):
    report = crop_boxes(real_photos("bccd"), tmp_path / "out", splits=("val",), size=64)

    dataset = ClassDataset(tmp_path / "out", "val")
    assert dataset.class_names == ("Platelets", "RBC", "WBC")
    assert len(dataset) == sum(report.crops["val"].values()) == 945
    assert dataset.image(0).dtype == torch.uint8
