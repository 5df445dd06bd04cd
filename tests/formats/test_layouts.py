import json
import shutil
from pathlib import Path

import pytest
from class_folders import write_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from three_formats import WRITERS, small_splits

from spinet.data.coco import CocoDataset
from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.train import train
from spinet.errors import SpinetError
from spinet.formats.layouts import read_split, recognise
from spinet.formats.yolo_labels import LabelFiles


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the small data set in a format and returns its folder."""

    def writer(name: str) -> Path:
        return WRITERS[name](tmp_path / name.replace(" ", "-"), *small_splits(tmp_path))

    return writer


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_is_recognised_and_gives_the_same_boxes_labels_and_ids(write, name):
    root = write(name)

    assert recognise(root) == name
    for number, split in enumerate(("train", "val")):
        dataset = CocoDataset(root, split)
        assert dataset.category_ids == (1, 2)
        assert dataset.class_names == ("cat", "dog")
        assert [sample.image_id for sample in dataset.samples] == [1, 2, 3]
        assert [(sample.width, sample.height) for sample in dataset.samples] == [(40, 30)] * 3
        assert [sample.boxes.tolist() for sample in dataset.samples] == [
            [[0, 0, 40, 30]],
            [],
            [[5, 6, 16, 13], [39, 29, 40, 30]],
        ]
        assert [sample.labels.tolist() for sample in dataset.samples] == [[0], [], [1, 0]]
        assert dataset.problems == {}
        assert dataset.image(0).shape == (3, 30, 40)
        assert dataset.image(2)[:, 0, 0].tolist() == [80 * number, 80, 200]


def test_the_ground_truth_of_the_three_formats_is_the_same(write):
    truths = [CocoDataset(write(name), "val").ground_truth() for name in WRITERS]

    assert truths[0]["annotations"] == truths[1]["annotations"] == truths[2]["annotations"]
    assert len(truths[0]["annotations"]) == 3
    assert truths[0]["categories"] == truths[1]["categories"] == truths[2]["categories"]


@pytest.mark.slow
def test_the_same_data_set_given_as_coco_yolo_and_voc_trains_to_bit_equal_losses(digits, tmp_path, spinet):
    splits = {}
    for split in ("train", "val"):
        raw = json.loads((digits / "annotations" / f"instances_{split}.json").read_text())
        # The other formats have no area of a mask, and VOC no order of its classes.
        kept = [{key: entry[key] for key in ("id", "image_id", "category_id", "bbox")} for entry in raw["annotations"]]
        names = [{"id": entry["id"], "name": f"{entry['id']}-{entry['name']}"} for entry in raw["categories"]]
        splits[split] = {"images": raw["images"], "annotations": kept, "categories": names}
    images = {split: digits / split for split in splits}

    lines = []
    for name, writer in WRITERS.items():
        config = TrainConfig(
            model=ModelConfig(arch="tiny"),
            data=DataConfig(root=str(writer(tmp_path / name, splits, images)), image_size=64, workers=0),
            optim=OptimConfig(lr=1.0, schedule="cosine", warmup_epochs=0.5),
            epochs=1,
            batch_size=4,
            log_steps=1,
            device="cpu",
        )
        train(config, tmp_path / f"run-{name}", quiet=True)
        text = (tmp_path / f"run-{name}" / "metrics.jsonl").read_text().splitlines()
        lines.append([without_timings(json.loads(line)) for line in text])

    assert sum("loss" in line for line in lines[0]) == 4
    assert any("AP" in key for line in lines[0] for key in line)
    assert lines[0] == lines[1] == lines[2]

    run = tmp_path / "run-COCO"
    measured = [
        spinet("evaluate", run, "--data.root", tmp_path / name, "--device", "cpu", "--json") for name in WRITERS
    ]
    assert [code for code, _, _ in measured] == [0, 0, 0]
    assert json.loads(measured[0][1]) == json.loads(measured[1][1]) == json.loads(measured[2][1])


def without_timings(line):
    return {key: value for key, value in line.items() if "second" not in key and key != "memory_gib"}


@pytest.mark.slow
@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 6600), st.integers(1, 6600)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    hundredths=st.booleans(),
)
def test_six_digits_of_a_share_give_back_every_box_in_hundredths_of_a_pixel(
    tmp_path_factory, size, corners, hundredths
):
    unit = 100 if hundredths else 1
    width, height = size
    x0, x1 = sorted(int(value * width * unit) for value in corners[:2])
    y0, y1 = sorted(int(value * height * unit) for value in corners[2:])
    x, y, w, h = (value / unit for value in (x0, y0, x1 - x0, y1 - y0))
    file = tmp_path_factory.mktemp("labels") / "a.txt"
    file.write_text(f"0 {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} {w / width:.6f} {h / height:.6f}\n")

    [entry] = LabelFiles(classes=1).read(file, width, height)

    assert entry["bbox"] == [x, y, w, h]


def test_two_formats_in_one_folder_are_refused_with_both_names(write):
    root = write("COCO")
    (root / "data.yaml").write_text("names: [cat]\n")
    with pytest.raises(
        SpinetError, match=r"files of COCO \(annotations/.*json\) and of YOLO \(data.yaml\); expected one"
    ):
        CocoDataset(root, "train")

    root = write("Pascal VOC")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("")
    with pytest.raises(SpinetError, match=r"files of YOLO \(labels/a.txt\) and of Pascal VOC \(Annotations/.*xml\)"):
        CocoDataset(root, "train")


def test_a_yaml_file_of_another_tool_beside_coco_files_is_no_second_format(write):
    root = write("COCO")
    (root / "dvc.yaml").write_text("stages:\n  download: {}\n")

    assert recognise(root) == "COCO"


def test_a_folder_of_no_format_is_refused_with_the_layouts_and_what_is_there(tmp_path):
    (tmp_path / "photos").mkdir()

    with pytest.raises(SpinetError, match=r"is not a dataset folder; expected COCO: .*YOLO: .*VOC: .*; found photos$"):
        CocoDataset(tmp_path, "train")

    with pytest.raises(SpinetError, match="unknown split 'test'; expected 'train' or 'val'"):
        CocoDataset(tmp_path, "test")


@pytest.mark.parametrize("split", ["train", "val"])
def test_class_folders_are_recognised_and_the_way_to_learn_from_them_is_named(tmp_path, split):
    write_folders(tmp_path, split=split)

    with pytest.raises(SpinetError, match=f"image classes .{split}/cat, {split}/dog .*small-cpu-classes"):
        CocoDataset(tmp_path, split)


def test_images_without_their_annotations_are_no_classes(tmp_path):
    write_folders(tmp_path, classes=("images",))
    (tmp_path / "train" / "labels").mkdir()

    with pytest.raises(SpinetError, match="is not a dataset folder"):
        CocoDataset(tmp_path, "train")


def test_roboflows_coco_export_is_read(tmp_path):
    splits, folders = small_splits(tmp_path)
    for split, folder in (("train", "train"), ("val", "valid")):
        shutil.copytree(folders[split], tmp_path / "export" / folder)
        (tmp_path / "export" / folder / "_annotations.coco.json").write_text(json.dumps(splits[split]))

    assert recognise(tmp_path / "export") == "COCO"
    for split in ("train", "val"):
        dataset = CocoDataset(tmp_path / "export", split)
        assert [len(sample.labels) for sample in dataset.samples] == [1, 0, 2]
    assert dataset.samples[0].path == tmp_path / "export" / "valid" / "0.png"


def test_line_breaks_in_names_and_values_do_not_break_the_message(write):
    root = write("YOLO")
    (root / "data.yaml").write_text('names: [cat, dog]\ntrain: "no\\nsuch\\tfolder"\n')

    with pytest.raises(SpinetError, match="has train: no such folder, but there is no") as caught:
        CocoDataset(root, "train")
    assert str(caught.value).isprintable()


def test_sizes_that_are_known_are_not_looked_up_again(write):
    root = write("YOLO")
    dataset = CocoDataset(root, "val")
    for sample in dataset.samples:
        sample.path.write_bytes(b"")

    assert len(dataset.ground_truth()["annotations"]) == 3
    with pytest.raises(SpinetError, match=r"^val: 3 of 3 images cannot be read, such as val/0\.png: the file is empty"):
        read_split(root, "val")
