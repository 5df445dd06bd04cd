import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from three_formats import small_splits, voc_object, write_voc

from spinet.data.coco import CocoDataset
from spinet.errors import SpinetError


@pytest.fixture
def root(tmp_path) -> Path:
    return write_voc(tmp_path / "voc", *small_splits(tmp_path))


def annotate(root: Path, objects: str, size: str = "<width>40</width><height>30</height>") -> None:
    """Replace the annotations of the first training image."""
    (root / "Annotations" / "train_0.xml").write_text(f"<annotation>\n<size>{size}</size>\n{objects}</annotation>")


def first(root: Path) -> list[list[float]]:
    return CocoDataset(root, "train").samples[0].boxes.tolist()


def warned(root: Path) -> str:
    """Return the only finding about the training images, a warning."""
    [finding] = CocoDataset(root, "train").findings
    assert finding.severity == "warning"
    return finding.text


def test_pixels_count_from_one_and_both_ends_lie_inside_the_box(root):
    box = "<xmin>1</xmin><ymin>2</ymin><xmax>40</xmax><ymax>2</ymax>"
    annotate(root, f"<object><name>cat</name><bndbox>{box}</bndbox></object>")

    assert first(root) == [[0, 1, 40, 2]]
    assert CocoDataset(root, "train").problems == {}


def test_fractions_keep_two_digits_and_the_boxes_of_parts_are_left_out(root):
    head = "<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    annotate(root, voc_object("cat", [4.7, 5.12, 10, 11], head))

    [box] = first(root)
    assert box == pytest.approx([4.7, 5.12, 14.7, 16.12])


def test_difficult_objects_are_not_learnt_from_and_crowd_in_the_metric(root):
    annotate(root, voc_object("cat", [1, 1, 5, 5], "<difficult>1</difficult>") + voc_object("dog", [2, 2, 5, 5]))

    dataset = CocoDataset(root, "train")

    assert dataset.samples[0].labels.tolist() == [1]
    assert [entry["iscrowd"] for entry in dataset.ground_truth()["annotations"][:2]] == [1, 0]


@pytest.mark.parametrize(
    ("text", "crowd"),
    [
        *[(text, 1) for text in ("1", " true ", "True", "1.0", "yes")],
        *[(text, 0) for text in ("0", "false", "", "no", "0.0")],
    ],
)
def test_difficult_is_read_for_what_it_says(root, text, crowd):
    annotate(root, voc_object("cat", [1, 1, 5, 5], f"<difficult>{text}</difficult>"))

    assert CocoDataset(root, "train").ground_truth()["annotations"][0]["iscrowd"] == crowd


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("GBK", "gbk", "\u7ea2\u7ef3"),
        ("gb2312", "gbk", "\u9555"),
        ("Shift_JIS", "shift_jis", "\u732b"),
        ("shift-jis", "cp932", "\u2460"),
        ("EUC-KR", "cp949", "\uac1c\uace0\uc591\uc774"),
        ("Big5", "big5", "\u72d7"),
        ("EUC-JP", "euc_jp", "\u72ac"),
        ("windows-1251", "cp1251", "\u043a\u043e\u0442"),
        ("KOI8-R", "koi8_r", "\u043a\u043e\u0442"),
        ("ISO-8859-15", "iso8859-15", "\u20ac"),
        ("cp437", "cp437", "\u00e9"),
        ("UTF-16", "utf-16", "\u732b"),
        ("utf-16", "utf-8", "\u732b"),
        ("UTF-8", "utf-8-sig", "\u732b"),
        ("utf8", "utf-8", "\u732b"),
    ],
)
def test_xml_in_any_encoding_of_python_is_read(root, declared, codec, name):
    text = f"<?xml version='1.0' encoding='{declared}' ?>\n<annotation>{voc_object(name, [1, 1, 5, 5])}</annotation>"
    (root / "Annotations" / "train_0.xml").write_bytes(text.encode(codec))

    assert name in CocoDataset(root, "train").class_names


@pytest.mark.parametrize(
    ("head", "body", "sentence"),
    [
        ("utf-8x", b"", r"train_0.xml declares the unknown encoding 'utf-8x', did you mean 'utf-?8'"),
        ("GB2313", b"", "unknown encoding 'GB2313', did you mean 'gb2312'"),
        ("klingon", b"", "unknown encoding 'klingon'"),
        ("rot13", b"", "unknown encoding 'rot13'"),
        ("hex", b"", "unknown encoding 'hex'"),
        ("undefined", b"", "unknown encoding 'undefined'"),
        ("x" * 79, b"", "unknown encoding 'xxx"),
        ("utf-8", b"\xff\xfe", "train_0.xml is not valid XML: byte .* is not UTF-8 text"),
        ("Shift_JIS", b"\x81", "train_0.xml is not valid XML: byte .* is not CP932 text"),
        ("utf-8", b"\0", "train_0.xml is not valid XML: line 1"),
    ],
)
def test_xml_that_is_not_in_its_encoding_is_named(root, head, body, sentence):
    content = f"<?xml version='1.0' encoding='{head}'?>".encode() + b"<annotation>" + body + b"</annotation>"
    (root / "Annotations" / "train_0.xml").write_bytes(content)

    text = warned(root)
    assert re.search(sentence, text)
    assert len(text) < 400


def test_entities_in_utf_16_are_refused_as_well(root):
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    (root / "Annotations" / "train_0.xml").write_bytes(text.encode("utf-16"))

    assert "train_0.xml declares a document type or entities" in warned(root)


def test_two_images_with_one_xml_file_are_a_warning(root):
    shutil.copy(root / "JPEGImages" / "train_0.png", root / "JPEGImages" / "train_0.tif")

    [finding] = CocoDataset(root, "train").findings

    assert finding.text.startswith("train: 1 images share an XML file with one of another suffix, such as JPEGImages/")


def test_classes_are_those_of_both_splits_so_that_their_ids_agree(root):
    annotate(root, voc_object("ant", [1, 1, 5, 5]))

    for split in ("train", "val"):
        dataset = CocoDataset(root, split)
        assert dataset.class_names == ("ant", "cat", "dog")
        assert dataset.category_ids == (1, 2, 3)


@pytest.mark.parametrize(
    ("lists", "train", "val"),
    [
        (("train", "val", "trainval", "test"), "train", "val"),
        (("train", "trainval", "test"), "trainval", "test"),
        (("train", "valid", "test"), "train", "valid"),
        (("train", "test"), "train", "test"),
    ],
)
def test_of_several_lists_a_pair_that_shares_no_image_is_taken(root, lists, train, val):
    folder = root / "ImageSets" / "Main"
    (folder / "train.txt").rename(root / "first")
    (folder / "val.txt").rename(root / "second")
    for name in lists:
        shutil.copy(root / ("first" if "train" in name else "second"), folder / f"{name}.txt")

    assert CocoDataset(root, "train").annotation_file.stem == train
    assert CocoDataset(root, "val").annotation_file.stem == val


def test_a_size_that_the_file_does_not_say_is_that_of_the_image(root):
    annotate(root, voc_object("cat", [1, 1, 5, 5]), size="<width>0</width><height>0</height>")

    sample = CocoDataset(root, "train").samples[0]

    assert (sample.width, sample.height) == (40, 30)


def test_roboflows_layout_has_xml_files_beside_the_images(root, tmp_path):
    export = tmp_path / "export"
    for split, name in (("train", "train"), ("val", "valid")):
        (export / name).mkdir(parents=True)
        for number in range(3):
            shutil.copy(root / "Annotations" / f"{split}_{number}.xml", export / name)
            shutil.copy(root / "JPEGImages" / f"{split}_{number}.png", export / name)

    for split in ("train", "val"):
        assert [len(sample.labels) for sample in CocoDataset(export, split).samples] == [1, 0, 2]

    (export / "valid" / "val_1.xml").unlink()
    with pytest.raises(SpinetError, match=r"the image .*valid/val_1.png has no XML file"):
        CocoDataset(export, "val")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation>\n<object>\n</annotation>", "train_0.xml is not valid XML: line 3, column 3: mismatched tag"),
        ("", "train_0.xml is not valid XML: line 1, column 1: no element found"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "train_0.xml declares a document type or entities"),
        (
            "<annotation><object><bndbox/></object></annotation>",
            "object number 1 in .*train_0.xml has no name; expected the name of its class",
        ),
        (
            "<annotation><object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object></annotation>",
            "object number 1 in .*train_0.xml has the box 1, None, None, None; must be numbers: xmin, ymin",
        ),
        (
            "<annotation><object><name>cat</name></object></annotation>",
            "object number 1 in .*train_0.xml has the box None, None, None, None",
        ),
        (
            "<annotation>" + voc_object("cat", [1, 1, 2, float("nan")]) + "</annotation>",
            "object number 1 in .*train_0.xml has the box 2, 2, 3, nan",
        ),
        (
            "<annotation><size><width>wide</width><height>1</height></size></annotation>",
            "train_0.xml has the size wide x 1; must be two integers",
        ),
        (
            "<annotation><size><width>1e300</width><height>9</height></size></annotation>",
            "train_0.xml has the size 1e300 x 9; must be at most 500,000,000 pixels",
        ),
        (
            f"<annotation><size><width>{'9' * 6000}</width><height>9</height></size></annotation>",
            "train_0.xml has the size 9{40} x 9; must be",
        ),
        (
            "<annotation>" + voc_object("cat", [1, 1, 2, 2], "<difficult>maybe</difficult>") + "</annotation>",
            "object number 1 in .*train_0.xml has difficult 'maybe'; must be 0 or 1",
        ),
        (
            "<annotation>" + voc_object("cat", [1, 1, 2, 1e300]) + "</annotation>",
            r"object number 1 in .*train_0.xml has the box 2, 2, 3, 1e\+300; must be numbers",
        ),
        ("<a>" * 100_000, "train_0.xml is not valid XML"),
    ],
)
def test_a_faulty_xml_file_is_named_with_its_fault(root, text, sentence):
    (root / "Annotations" / "train_0.xml").write_text(text)

    assert re.search(sentence, warned(root))


@pytest.mark.parametrize("text", ["", "<annotation>", "<annotation><size><width>?</width></size></annotation>"])
def test_an_xml_file_that_cannot_be_read_takes_its_image_out_and_several_are_refused(root, text):
    (root / "Annotations" / "train_0.xml").write_text(text)

    assert "train: 1 of 3 XML files are invalid and left out, such as " in warned(root)
    assert [sample.path.name for sample in CocoDataset(root, "train").samples] == ["train_1.png", "train_2.png"]
    (root / "Annotations" / "train_2.xml").write_text(text)
    with pytest.raises(SpinetError, match=r"train_0.xml .*\(invalid XML files in all: 2 of 3\)$"):
        CocoDataset(root, "train")
    assert len(CocoDataset(root, "val")) == 3


def test_an_invalid_object_is_left_out_and_several_are_refused(root):
    annotate(root, voc_object("cat", [1, 1, 5, 5]) + "<object><name>cat</name></object>")

    assert "train: 1 of 4 objects are invalid and left out, such as object number 2 in " in warned(root)
    assert [len(sample.labels) for sample in CocoDataset(root, "train").samples] == [1, 0, 2]
    annotate(root, 2 * "<object><name>cat</name></object>")
    with pytest.raises(SpinetError, match=r"^object number 1 in .* \(invalid objects in all: 2 of 4\)$"):
        CocoDataset(root, "train")


def test_an_image_whose_size_nothing_says_is_left_out(root):
    annotate(root, voc_object("cat", [1, 1, 5, 5]), size="")
    (root / "JPEGImages" / "train_0.png").write_bytes(b"GIF89a")

    assert warned(root).startswith("train: 1 of 3 images cannot be read, such as JPEGImages/train_0.png: ")
    assert len(CocoDataset(root, "train")) == 2


def test_missing_files_are_named(root):
    (root / "Annotations" / "val_1.xml").rename(root / "kept.xml")
    with pytest.raises(SpinetError, match=r"the annotation file .*Annotations/val_1.xml is missing"):
        CocoDataset(root, "val")

    (root / "kept.xml").rename(root / "Annotations" / "val_1.xml")
    (root / "JPEGImages" / "val_1.png").unlink()
    with pytest.raises(SpinetError, match=r"Main/val.txt lists the image val_1, but .*JPEGImages has no val_1.jpg"):
        CocoDataset(root, "val")

    (root / "ImageSets" / "Main" / "val.txt").unlink()
    with pytest.raises(SpinetError, match=r"has no val split, expected ImageSets/Main/val.txt, or a folder val/ with"):
        CocoDataset(root, "val")


def test_files_without_any_object_have_no_classes(root):
    for file in (root / "Annotations").iterdir():
        file.write_text("<annotation/>")

    with pytest.raises(SpinetError, match="the 6 XML files of .* have no objects; expected at least one"):
        CocoDataset(root, "train")


def test_an_image_without_xml_does_not_take_that_of_a_different_folder(tmp_path):
    for folder, numbers in (("s1", (0, 1, 2)), ("s2", (0,))):
        for number in numbers:
            file = tmp_path / "Annotations" / folder / f"{number}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"<annotation>{voc_object('cat', [1, 1, 5, 5])}</annotation>")
    names = [f"{folder}/{number}" for folder in ("s1", "s2") for number in range(3)]
    for name in names:
        image = tmp_path / "JPEGImages" / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(image)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(names))

    with pytest.raises(SpinetError, match=r"s2/1\.xml is missing"):
        CocoDataset(tmp_path, "train")


def test_xml_files_with_a_suffix_in_capitals_are_read(root):
    file = root / "Annotations" / "train_0.xml"
    file.rename(file.with_suffix(".XML"))

    assert len(CocoDataset(root, "train").samples[0].boxes) > 0
