import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image
from three_formats import small_splits, write_yolo

from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError


@pytest.fixture
def root(tmp_path) -> Path:
    return write_yolo(tmp_path / "yolo", *small_splits(tmp_path))


def label(root: Path, text: str, name: str = "labels/train/0.txt") -> None:
    (root / name).write_text(text)


def settings(root: Path, text: str) -> None:
    (root / "data.yaml").write_text(text)


def boxes(root: Path, split: str = "train") -> list[object]:
    return [sample.boxes.tolist() for sample in CocoDataset(root, split).samples]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names:\n  0: cat\n  1: dog", ("cat", "dog")),
        ("names:\n  1: dog\n  0: cat", ("cat", "dog")),
        ("names: {'0': cat, '1': dog}", ("cat", "dog")),
        ("nc: 2\nnames: [0, 1.5]", ("0", "1.5")),
        ("nc: 2", ("class_0", "class_1")),
    ],
)
def test_names_are_a_list_or_a_table(root, text, names):
    settings(root, text + "\ntrain: images/train\nval: images/val\n")

    assert CocoDataset(root, "train").class_names == names


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val",
        "train: [images/train]\nval: [images/val]",
        "train: ./images/train\nvalid: ./images/val",
        "train: images/train\nvalidation: images/val",
        "path: /another/machine\ntrain: images/train\nval: images/val",
        "path: ../datasets/mine\ntrain: images/train\nval: images/val",
        "path: images\ntrain: train\nval: val",
        "train: ../images/train\nval: ../images/val",
        "train:\nval:",
        "",
    ],
)
def test_folders_are_named_as_the_tools_name_them(root, text):
    settings(root, "names: [cat, dog]\n" + text + "\n")

    assert [len(found) for found in boxes(root, "train")] == [1, 0, 2]
    assert CocoDataset(root, "val").samples[1].path == root / "images" / "val" / "1.png"


def test_roboflows_layout_is_read_and_its_leading_dots_do_not_leave_the_folder(root, tmp_path):
    export = tmp_path / "export"
    for split, name in (("train", "train"), ("val", "valid")):
        shutil.copytree(root / "images" / split, export / name / "images")
        shutil.copytree(root / "labels" / split, export / name / "labels")
    (tmp_path / "train" / "images").mkdir(parents=True)
    settings(export, "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")

    assert [len(found) for found in boxes(export, "train")] == [1, 0, 2]
    assert CocoDataset(export, "val").samples[0].path == export / "valid" / "images" / "0.png"


def test_a_list_of_images_and_images_in_sub_folders_are_read_sorted(root):
    (root / "images" / "train" / "deep").mkdir()
    (root / "images" / "train" / "0.png").rename(root / "images" / "train" / "deep" / "0.png")
    (root / "labels" / "train" / "deep").mkdir()
    (root / "labels" / "train" / "0.txt").rename(root / "labels" / "train" / "deep" / "0.txt")
    (root / "val.txt").write_text("./images/val/2.png\n\nimages/val/0.png\nimages/val/2.png\n")
    settings(root, "names: [cat, dog]\ntrain: images/train\nval: val.txt\n")

    assert [len(found) for found in boxes(root, "train")] == [0, 2, 1]
    assert [sample.path.name for sample in CocoDataset(root, "val").samples] == ["0.png", "2.png"]


def test_the_yaml_file_itself_names_the_data_set(root):
    (root / "data.yaml").rename(root / "aquarium.yaml")
    (root / "other.yaml").write_text("names: [fish]\n")

    assert len(CocoDataset(root / "aquarium.yaml", "train")) == 3
    with pytest.raises(SpinetError, match="YAML files aquarium.yaml, other.yaml; pass one of them as the dataset"):
        CocoDataset(root, "train")


def test_a_polygon_gives_its_box_and_stays(root):
    label(root, "1 0.25 0.5 0.5 0.1 0.75 0.5\n")
    label(root, "1 0.25 0.5 0.5 0.1 0.75 0.5\n", "labels/val/0.txt")

    assert boxes(root)[0] == [[10, 3, 30, 15]]
    entry = CocoDataset(root, "val").ground_truth()["annotations"][0]
    assert entry["segmentation"] == [[10, 15, 20, 3, 30, 15]]
    assert entry["area"] == 120


def test_a_box_among_polygons_is_named_by_its_line_when_masks_are_asked_for(root):
    label(root, "1 0.25 0.5 0.5 0.1 0.75 0.5\n\n0 0.5 0.5 0.2 0.2\n")

    with pytest.raises(SpinetError, match=r"^.*labels/train/0.txt, line 3 has no segmentation; Mask R-CNN needs"):
        CocoDataset(root, "train", masks=True)


def test_key_points_after_the_box_are_left_out(root):
    settings(root, "names: [cat, dog]\nkpt_shape: [1, 2]\ntrain: images/train\nval: images/val\n")
    label(root, "0 0.5 0.5 0.5 0.5 0.1 0.1\n")

    assert boxes(root)[0] == [[10, 7.5, 30, 22.5]]


def test_labels_of_a_turned_photo_are_shares_of_the_upright_one(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(root / "images" / "train" / "0.png", exif=exif)
    label(root, "0 0.5 0.5 1 1\n")

    dataset = CocoDataset(root, "train")

    assert dataset.samples[0].boxes.tolist() == [[0, 0, 20, 40]]
    assert dataset.image(0).shape == (3, 40, 20)


def test_a_box_a_little_outside_is_clipped_and_counted(root):
    label(root, "0 1.0 0.5 0.5 0.5\n")

    dataset = CocoDataset(root, "train")

    assert dataset.samples[0].boxes.tolist() == [[30, 7.5, 40, 22.5]]
    assert dataset.problems == {"boxes clipped to their image": 1}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 0.5 0.5 0.5 0.5\n\n0 0.5 0.5 0.5\n", r"labels/train/0.txt, line 3: 4 numbers; must be 5"),
        ("0 0.5 0.5 0.5 0.5 0.9\n", r"0.txt, line 1: 6 numbers; must be 5"),
        ("0 .1 .1 .2 .2 .3 .3 .4\n", r"0.txt, line 1: 8 numbers; must be 5"),
        ("0 0.5 0.5 0.5 wide\n", r"0.txt, line 1: 'wide' is not a number"),
        ("0 0.5 0.5 0.5 nan\n", r"0.txt, line 1: 'nan' is not a finite number"),
        ("2 0.5 0.5 0.5 0.5\n", r"0.txt, line 1: class 2 is not one of the 2 in the YAML file, 0 to 1"),
        ("-1 0.5 0.5 0.5 0.5\n", r"0.txt, line 1: class -1 is not one"),
        ("0.5 0.5 0.5 0.5 0.5\n", r"0.txt, line 1: class 0.5 is not one"),
        ("cat 0.5 0.5 0.5 0.5\n", r"0.txt, line 1: 'cat' is not a number"),
        ("0 20 15 10 10\n", r"0.txt, line 1: 20 is not a normalized coordinate \(0-1\); is it in pixels\?; correct"),
    ],
)
def test_a_faulty_label_line_is_named_with_its_file_and_number(root, text, sentence):
    label(root, text)

    [finding] = CocoDataset(root, "train").findings
    assert (finding.severity, finding.check) == ("warning", "invalid label lines")
    assert finding.text.startswith("train: 1 of ")
    assert re.search(sentence, finding.text)


@pytest.mark.parametrize(("good", "bad", "refused"), [(19, 1, False), (40, 2, False), (39, 3, True), (0, 1, True)])
def test_lines_are_left_out_until_they_are_many(root, good, bad, refused):
    shutil.rmtree(root / "labels" / "train")
    (root / "labels" / "train").mkdir()
    label(root, good * "0 0.5 0.5 0.5 0.5\n" + bad * "7 0.5 0.5 0.5 0.5\n")

    if refused:
        with pytest.raises(SpinetError, match=rf"^.*0.txt, line {good + 1}: class 7 is not one of the 2"):
            CocoDataset(root, "train")
        return
    dataset = CocoDataset(root, "train")
    assert [len(sample.labels) for sample in dataset.samples] == [good, 0, 0]
    assert f"train: {bad} of {good + bad} " in dataset.findings[0].text


def test_labels_that_are_no_text_take_their_image_out(root):
    (root / "labels" / "train" / "0.txt").write_bytes(b"\xff\xfe0")

    dataset = CocoDataset(root, "train")

    assert [sample.path.name for sample in dataset.samples] == ["1.png", "2.png"]
    assert re.search(r"1 of 2 label files .*labels/train/0.txt: it is not UTF-8 text", dataset.findings[0].text)
    (root / "labels" / "train" / "2.txt").write_bytes(b"\xff\xfe0")
    with pytest.raises(SpinetError, match=r"0.txt: it is not UTF-8 text \(invalid label files in all: 2 of 2\)$"):
        CocoDataset(root, "train")


def test_labels_in_another_place_are_missed(root):
    shutil.rmtree(root / "labels" / "train")

    with pytest.raises(SpinetError, match=r"no image has a label file; expected .*labels/train/0.txt for .*0.png$"):
        CocoDataset(root, "train")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"data.yaml is empty; expected a YAML file with 'names: \[cat, dog\]'"),
        ("# nothing\n", "data.yaml is empty"),
        ("[cat, dog]", "data.yaml holds a list; expected a YAML file with"),
        ("names: [cat\ntrain: a", r"data.yaml is not valid YAML: line 2, column 6: "),
        ("names: \x00", "data.yaml is not valid YAML"),
        ("train: images/train", "data.yaml has names None; must be a list of class names"),
        ("names: []", r"data.yaml has names \[\]; must be"),
        ("names: {0: cat, 2: dog}", "the names in .*data.yaml are numbered 0, 2; must be 0, 1, 2 ... without a gap"),
        ("names: [cat, yes]", "data.yaml has the name True for class 1; must be a string, in quotes if need be"),
        ("names: [cat, [dog]]", r"has the name \['dog'\] for class 1"),
        ("nc: 3\nnames: [cat, dog]", "data.yaml has nc 3 but 2 names"),
        ("names: [cat, dog]\ntrain: fotos", r"has train: fotos, but there is no .*yolo/fotos; expected a folder"),
        ("names: [cat, dog]\npath: a\ntrain: fotos", r"there is no .*yolo/a/fotos and no .*yolo/fotos; expected"),
        ("names: [cat, dog]\ntrain: {a: b}", r"has train {'a': 'b'}; must be a folder of images, or a list of folders"),
        ("names: [cat, dog]\ntrain: labels", "data.yaml has no train images in labels"),
        ("nc: 9999999", "data.yaml has 9999999 classes; must be at most 100,000"),
        ("names: [cat, dog]\n" + "#" * 2**20, "data.yaml has 1,048,594 bytes; settings must have at most 1,048,576"),
        ("names: [cat, dog]\npath: [a, a]", r"data.yaml has path \['a', 'a'\]; must be the path of a folder"),
        ('names: [cat, dog]\npath: "\\ud800"', r"data.yaml has path '\\ud800'; must be the path of a folder"),
        ('names: [cat, dog]\ntrain: "\\ud800"', r"data.yaml has train '\\ud800'; must be a folder of images or a list"),
        ("names: [cat, dog]\ntrain: list.txt", r"1 of 1 image files are missing, the first one is .*images/9.png"),
    ],
)
def test_a_faulty_yaml_file_is_named_with_its_fault(root, text, sentence):
    (root / "list.txt").write_text("images/9.png\n")
    settings(root, text)

    with pytest.raises(SpinetError, match=sentence):
        CocoDataset(root, "train")


def test_missing_folders_and_a_missing_yaml_file_are_named(root):
    shutil.rmtree(root / "images" / "val")
    settings(root, "names: [cat, dog]\n")
    with pytest.raises(SpinetError, match="has no val split, expected a line such as 'val: images/val' in data.yaml"):
        CocoDataset(root, "val")

    (root / "data.yaml").unlink()
    with pytest.raises(SpinetError, match="has labels but no class names; expected a data.yaml .* or a classes.txt"):
        CocoDataset(root, "train")


def test_an_image_that_cannot_be_read_is_left_out_and_several_are_refused(root):
    (root / "images" / "train" / "1.png").write_bytes(b"no image")

    dataset = CocoDataset(root, "train")

    assert [sample.path.name for sample in dataset.samples] == ["0.png", "2.png"]
    assert dataset.findings[0].text.startswith("train: 1 of 3 images cannot be read, such as train/1.png: not an image")
    (root / "images" / "train" / "2.png").write_bytes(b"")
    with pytest.raises(SpinetError, match=r"^train: 2 of 3 images cannot be read, such as train/1.png: not an image"):
        CocoDataset(root, "train")


def test_a_missing_yaml_library_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(
        SpinetError, match=r"reading .*data.yaml needs pyyaml, which is not installed: pip install pyyaml"
    ):
        CocoDataset(root, "train")


def test_a_val_split_that_is_the_train_split_is_said_and_can_be_divided(root):
    settings(root, "names: [cat, dog]\ntrain: images/train\nval: ./images/train\n")

    findings = CocoDataset(root, "val").findings
    assert [finding.severity for finding in findings if "the same images for train and val" in finding.text] == [
        "warning"
    ]
    assert len(CocoDataset(root, "all")) == 3


def test_a_val_folder_that_the_export_does_not_have_names_the_ways_to_divide(root):
    settings(root, "names: [cat, dog]\ntrain: ../images/train\nval: ../valid/images\n")
    shutil.rmtree(root / "images" / "val")

    with pytest.raises(SpinetError, match=r"expected '../valid/images', which data.yaml names; .*spinet split DIR"):
        CocoDataset(root, "val")
    assert len(CocoDataset(root, "all")) == 3


@pytest.mark.parametrize(
    "entry",
    ["/content/drive/mine/images/train", "C:\\data\\images\\train", "images\\train", "D:/x/train", "/a/b/pictures"],
)
def test_paths_of_another_machine_mean_the_folder_of_that_name_or_the_usual_one(root, entry):
    settings(root, f"names: [cat, dog]\ntrain: '{entry}'\nval: images/val\n")

    assert [len(found) for found in boxes(root, "train")] == [1, 0, 2]


def test_lists_with_other_leading_folders_are_read(root):
    (root / "train.txt").write_text("\ufeffdata/images/train/0.png\n.\\images\\train\\2.png\n", encoding="utf-8")
    settings(root, "names: [cat, dog]\ntrain: train.txt\nval: images/val\n")

    assert [len(found) for found in boxes(root, "train")] == [1, 2]


def test_labels_are_found_beside_the_images_and_below_folders_called_images_twice(root):
    for name in ("0", "2"):
        (root / "labels" / "train" / f"{name}.txt").rename(root / "images" / "train" / f"{name}.txt")
    assert [len(found) for found in boxes(root)] == [1, 0, 2]

    (root / "images").rename(root / "moved")
    (root / "images").mkdir()
    (root / "moved").rename(root / "images" / "images")
    settings(root, "names: [cat, dog]\ntrain: images/images/train\nval: images/images/val\n")
    assert [len(found) for found in boxes(root)] == [1, 0, 2]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("classes.txt", "cat\n\ndog\n", "has the name '' for class 1"),
        ("classes.txt", "", "must be a list of class names"),
        ("classes.txt", b"\xff\xfe\xff", "classes.txt is not valid text"),
        (
            "obj.data",
            "classes = 2\nnames = data/none.names\n",
            "obj.data has names = 'none.names', but there is no such",
        ),
        ("obj.data", "classes = 3\nnames = data/obj.names\n", "obj.data has nc 3 but 2 names"),
    ],
)
def test_faulty_files_of_class_names_are_named(root, name, text, sentence):
    (root / "data.yaml").unlink()
    if "obj.names" in str(text):
        (root / "obj.names").write_text("cat\ndog\n")
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(SpinetError, match=sentence):
        CocoDataset(root, "train")
