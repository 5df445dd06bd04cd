import json
import re
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from three_formats import WRITERS

from spinet.data import near
from spinet.doctor.anchors import DetectorSettings
from spinet.doctor.class_pictures import CAPTION, COLUMNS, GAP, HEADER, ROWS, TILE
from spinet.doctor.examine import DatasetReport, examine

WIDTH, HEIGHT = 96, 64


@dataclass
class Planted:
    """A clean data set of distinct pictures, to plant faults in."""

    folder: Path
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        for split, count in (("train", 24), ("val", 12)):
            (self.folder / split).mkdir(parents=True)
            for number in range(count):
                small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
                small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(self.photo(split, number))
            self.splits[split] = {
                "images": [
                    {"id": k + 1, "file_name": f"{k:02}.png", "width": WIDTH, "height": HEIGHT} for k in range(count)
                ],
                "annotations": [
                    {"id": 2 * k + c, "image_id": k + 1, "category_id": c, "bbox": [10 + 40 * (c - 1), 10 + k, 24, 24]}
                    for k in range(count)
                    for c in (1, 2)
                ],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            }

    def photo(self, split: str, number: int) -> Path:
        return self.folder / split / f"{number:02}.png"

    def box(self, number: int, box: list[float], category: int = 1, **more: object) -> None:
        """Add an object to a training image."""
        entries = self.splits["train"]["annotations"]
        entry = {"id": 1000 + len(entries), "image_id": number + 1, "category_id": category, "bbox": box}
        entries.append(entry | more)

    def copy(self, source: tuple[str, int], target: tuple[str, int]) -> None:
        shutil.copy(self.photo(*source), self.photo(*target))

    def save_as(self, number: int, mode: str) -> None:
        path = self.photo("train", number)
        Image.open(path).convert(mode).save(path)

    def write(self) -> Path:
        (self.folder / "annotations").mkdir()
        for split, raw in self.splits.items():
            (self.folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(raw))
        return self.folder


def broken(planted):
    content = planted.photo("train", 3).read_bytes()
    planted.photo("train", 3).write_bytes(content[: len(content) // 2])


def wrong_size(planted):
    planted.splits["train"]["images"][4] |= {"width": 48, "height": 64}
    for entry in planted.splits["train"]["annotations"]:
        if entry["image_id"] == 5:
            entry["bbox"] = [5 * entry["category_id"], 10, 24, 24]


def leak(planted):
    planted.copy(("train", 5), ("val", 1))


def near_leak(planted):
    photo = Image.open(planted.photo("train", 6))
    photo.resize((48, 32)).resize((WIDTH, HEIGHT)).point(lambda value: value * 0.9).save(planted.photo("val", 2))


def duplicate(planted):
    planted.copy(("train", 7), ("train", 8))


def near_duplicate(planted):
    photo = Image.open(planted.photo("train", 7))
    photo.point(lambda value: value * 0.9).save(planted.photo("train", 8))


def outside(planted):
    planted.box(9, [200, 10, 20, 20])


def clipped(planted):
    planted.box(9, [80, 20, 24, 24])


def zero_area(planted):
    planted.box(10, [20, 20, 0, 9])


def one_pixel(planted):
    planted.box(11, [40, 20, 1, 9])


def repeated(planted):
    planted.box(12, [10, 22, 24, 24])


def two_classes(planted):
    planted.box(13, [10, 23, 24, 24], category=2)


def unused_class(planted):
    for raw in planted.splits.values():
        raw["categories"].append({"id": 3, "name": "ghost"})


def gap(planted):
    for raw in planted.splits.values():
        raw["categories"][1]["id"] = 9
        for entry in raw["annotations"]:
            entry["category_id"] = {1: 1, 2: 9}[entry["category_id"]]


def only_in_val(planted):
    for split, raw in planted.splits.items():
        raw["categories"].append({"id": 3, "name": "newt"})
        if split == "val":
            raw["annotations"] += [entry | {"category_id": 3, "id": 500 + k} for k, entry in enumerate(ten_more(raw))]


def ten_more(raw):
    return [entry | {"bbox": [60, 2, 20, 20]} for entry in raw["annotations"] if entry["category_id"] == 1][:10]


def rare(planted):
    for split, raw in planted.splits.items():
        raw["categories"].append({"id": 3, "name": "newt"})
        more = ten_more(raw) if split == "val" else ten_more(raw)[:2]
        raw["annotations"] += [entry | {"category_id": 3, "id": 500 + k} for k, entry in enumerate(more)]


def same_name(planted):
    for raw in planted.splits.values():
        raw["categories"][1]["name"] = "Cat "


def no_objects_here(planted):
    entries = planted.splits["train"]["annotations"]
    planted.splits["train"]["annotations"] = [entry for entry in entries if entry["image_id"] != 15]


def crowd(planted):
    planted.box(15, [60, 2, 20, 20], iscrowd=1)


def crowded(planted):
    for number in range(130):
        planted.box(16, [number % 13 * 5, number // 13 * 4, 30, 23], category=1 + number % 2)


def turned(planted):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = planted.photo("train", 17)
    Image.open(path).save(path, exif=exif)


def half_turned(planted):
    exif = Image.Exif()
    exif[0x0112] = 3
    path = planted.photo("train", 17)
    Image.open(path).save(path, exif=exif)


def transparent(planted):
    planted.save_as(18, "RGBA")
    photo = Image.open(planted.photo("train", 18))
    photo.putpixel((0, 0), (0, 0, 0, 0))
    photo.save(planted.photo("train", 18))


def grey(planted):
    planted.save_as(19, "L")


def sixteen_bits(planted):
    values = np.asarray(Image.open(planted.photo("train", 20)).convert("L")).astype(np.uint16) * 257
    Image.fromarray(values).save(planted.photo("train", 20))


def twelve_bits(planted):
    values = np.asarray(Image.open(planted.photo("train", 20)).convert("L")).astype(np.uint16) * 16
    Image.fromarray(values).save(planted.photo("train", 20))


def blank(planted):
    Image.new("RGB", (WIDTH, HEIGHT), (7, 7, 7)).save(planted.photo("train", 21))


def unlisted(planted):
    rng = np.random.default_rng(5)
    Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(planted.folder / "train" / "99.png")


def tiny(planted):
    for raw in planted.splits.values():
        for entry in raw["annotations"]:
            entry["bbox"][2:] = [3, 3]


def shares(planted):
    for entry in planted.splits["train"]["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]


def far_outside(planted):
    for entry in planted.splits["val"]["annotations"]:
        entry["bbox"][0] += 300


def nothing_to_learn(planted):
    planted.splits["train"]["annotations"] = []


def unlike(planted):
    planted.splits["val"]["categories"][0]["name"] = "cow"


def unreadable(planted):
    for annotation in planted.splits["val"]["annotations"][3:]:
        annotation["category_id"] = 77


def one_unknown_class(planted):
    planted.splits["val"]["annotations"][3]["category_id"] = 77


# What is planted, and what the doctor has to say: severity, check, and words of its sentence.
FAULTS = {
    broken: ("error", "broken images", "train: 1 of 24 (4.2 %) images cannot be read, such as train/03.png"),
    wrong_size: ("error", "wrong size", "train/04.png with 96 x 64 pixels instead of 48 x 64"),
    leak: (
        "error",
        "leakage",
        "1 of 12 images of val show the same pixels as one of train, such as train/05.png and val/01",
    ),
    near_leak: (
        "warning",
        "near leakage",
        "nearly the same image as one of train, such as train/06.png and val/02.png",
    ),
    duplicate: ("warning", "duplicate images", "1 of 36 (2.8 %) images show the same pixels as another of their split"),
    near_duplicate: ("hint", "near-duplicate images", "such as train/07.png and train/08.png"),
    outside: ("warning", "boxes outside their image", "train: 1 of 49 (2.0 %) boxes outside their image dropped"),
    clipped: ("warning", "boxes clipped to their image", "train/09.png"),
    zero_area: ("warning", "boxes of zero area", "train/10.png"),
    one_pixel: ("warning", "one-pixel boxes", "boxes are at most one pixel wide or high, such as train/11.png"),
    repeated: ("warning", "duplicate boxes", "boxes duplicate another of their class, such as train/12.png"),
    two_classes: (
        "warning",
        "boxes of two classes",
        "boxes duplicate another of a different class, such as train/13.png",
    ),
    unused_class: (
        "warning",
        "classes without objects",
        "1 of 3 classes have no object in either split; delete them (ghost)",
    ),
    gap: ("hint", "gaps in category ids", "the 2 category ids from 1 to 9 skip 2, 3, 4, 5 and 3 more"),
    only_in_val: ("warning", "split without a class", "have objects in val but none in train: not trained (newt)"),
    rare: ("warning", "few objects", "1 of 3 classes have fewer than 20 objects in train (newt: 2)"),
    same_name: ("warning", "category names", "(Cat , cat)"),
    no_objects_here: ("hint", "images without objects", "1 of 24 (4.2 %) images have no object, such as train/14.png"),
    crowd: ("hint", "crowd regions", "train: 1 of 49 (2.0 %) annotations are crowd regions"),
    crowded: (
        "warning",
        "crowded images",
        "have more than 100 objects, such as train/16.png with 132; raise data.max_obj",
    ),
    turned: ("warning", "unrotated annotations", "annotated as if they were not, such as train/17.png; prediction"),
    half_turned: ("hint", "turned images", "1 of 24 (4.2 %) images are rotated by EXIF, such as train/17.png"),
    transparent: ("hint", "transparent images", "train/18.png"),
    grey: (
        "hint",
        "grey images",
        "1 of 24 (4.2 %) images are grey, which is read as three equal channels, such as train/19.png",
    ),
    sixteen_bits: ("hint", "16-bit images", "train/20.png"),
    twelve_bits: ("warning", "dark images", "16-bit images have values of at most 12 bits, such as train/20.png"),
    blank: ("warning", "blank images", "images are a single color, such as train/21.png"),
    unlisted: (
        "hint",
        "unused files",
        "1 of 37 (2.7 %) image files are not in any annotation file, such as train/99.png",
    ),
    tiny: (
        "warning",
        "anchors",
        "at 96 pixels and anchor scale 3 only 0% of the objects match an anchor (IoU of 0.5 or more); 100% are",
    ),
    shares: ("error", "one-pixel boxes", "are these normalized coordinates (0-1) rather than pixels?"),
    far_outside: ("error", "boxes outside their image", "val: 24 of 24 (100.0 %) boxes outside their image dropped"),
    nothing_to_learn: ("error", "no objects", "has no objects in any image: there is nothing to train on"),
    unlike: ("error", "categories differ", "do not list the same categories"),
    unreadable: ("error", "split cannot be opened", "val: annotation 4 in"),
    one_unknown_class: (
        "warning",
        "invalid annotations",
        "annotations are invalid and left out, such as annotation 4 in",
    ),
}
# What comes with a fault of itself.
COMPANIONS = {
    rare: {"class imbalance"},
    twelve_bits: {"16-bit images"},
    shares: {"anchors"},
    far_outside: {"no objects"},
}


def checked(folder: Path, **options: object) -> DatasetReport:
    names = {item.name for item in fields(DetectorSettings)} & options.keys()
    settings = {name: options.pop(name) for name in names}
    return examine(folder, DetectorSettings(**({"image_size": 96} | settings)), **options)


def test_a_clean_data_set_gets_no_finding(tmp_path):
    report = checked(Planted(tmp_path / "data").write())

    assert report.findings == []
    assert report.format == "COCO"
    assert (report.splits["train"].images, report.splits["train"].objects) == (24, 48)
    assert report.classes == {"cat": {"train": 24, "val": 12}, "dog": {"train": 24, "val": 12}}
    assert report.sizes.matched[3.0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_doctor_finds_a_planted_fault_and_nothing_else(tmp_path, fault):
    planted = Planted(tmp_path / "data")
    fault(planted)

    report = checked(planted.write())

    severity, check, words = FAULTS[fault]
    found = {finding.check: finding for finding in report.findings}
    assert found.keys() == {check} | COMPANIONS.get(fault, set())
    assert found[check].severity == severity
    assert words in found[check].text
    assert report.count(severity) >= 1


def outline(planted):
    """Give every object a mask, its box."""
    for split in planted.splits.values():
        for entry in split["annotations"]:
            x, y, width, height = entry["bbox"]
            entry["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]


def a_mask_missing(planted):
    del planted.splits["train"]["annotations"][5]["segmentation"]


def a_broken_polygon(planted):
    planted.splits["train"]["annotations"][5]["segmentation"] = [[1, 2, 3, 4]]


def run_lengths_of_another_size(planted):
    planted.splits["val"]["annotations"][5]["segmentation"] = {"size": [8, 8], "counts": [64]}


def an_empty_mask(planted):
    planted.splits["train"]["annotations"][5]["segmentation"] = [[-9, -9, -5, -9, -5, -5]]


def masks_in_shares(planted):
    for entry in planted.splits["train"]["annotations"]:
        entry["segmentation"] = [[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]]


NO_MASK = "objects without a valid mask"


def masks_missing(planted):
    for entry in planted.splits["train"]["annotations"][:30]:
        del entry["segmentation"]


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        (masks_missing, "masks", r"train: boxes can be trained, masks cannot: .* has no segmentation.* \(.*: 30 of 48"),
        (a_mask_missing, NO_MASK, "1 of 48 .* dropped, such as annotation .*instances_train.json has no segmentation"),
        (a_broken_polygon, NO_MASK, "such as annotation 6 in .*instances_train.json has a polygon of 4 numbers"),
        (run_lengths_of_another_size, NO_MASK, r"^val: 1 of 24 .* has RLE of size \[8, 8\]"),
        (an_empty_mask, "masks without a pixel", "1 of 48 .* masks without a pixel, such as train/02.png; redraw them"),
        (masks_in_shares, "masks without a pixel", "48 of 48 .*; are the polygons x and y in pixels"),
    ],
)
def test_what_training_masks_would_refuse_or_lose_is_a_warning(tmp_path, fault, check, words):
    planted = Planted(tmp_path / "data")
    outline(planted)
    fault(planted)

    [finding] = checked(planted.write(), quick=True).findings

    assert (finding.severity, finding.check) == ("warning", check)
    assert re.search(words, finding.text)


def test_a_clean_data_set_with_masks_gets_no_finding(tmp_path):
    planted = Planted(tmp_path / "data")
    outline(planted)

    assert checked(planted.write(), quick=True).findings == []


def test_anchors_of_one_octave_are_judged_as_such(tmp_path, spinet):
    planted = Planted(tmp_path / "data")
    for split in planted.splits.values():
        for entry in split["annotations"]:
            # 34 x 34: beside the anchors of 24 and 48 pixels, and close to those of 30 and 38 between them.
            entry["bbox"][2:] = [34, 34]
    root = planted.write()
    options = ("--quick", "--recipe", "demo", "--image-size", "96", "--anchor-scale", "3")

    _, three, _ = spinet("doctor", root, *options)
    _, one, _ = spinet("doctor", root, *options, "--octaves", "1")

    def share(text: str) -> float:
        [line] = [line for line in text.splitlines() if "IoU of 0.5 or more, scale 3 " in line]
        return float(line.split()[-1].removesuffix("%"))

    assert share(one) < share(three)
    # The last level has one size of anchors only, so that no range of sizes is its own.
    assert one.count(" level ") == three.count(" level ") - 1


def test_a_number_of_octaves_that_makes_no_sense_is_one_sentence(tmp_path, spinet):
    code, _, err = spinet("doctor", tmp_path, "--octaves", "0")

    assert (code, err) == (1, "spinet: error: --octaves is 0; must be from 1 to 100\n")


TEN = (broken, wrong_size, leak, near_leak, outside, one_pixel, repeated, only_in_val, no_objects_here, transparent)


def test_the_doctor_finds_each_of_ten_planted_faults_in_one_data_set_and_names_it(tmp_path):
    planted = Planted(tmp_path / "data")
    for fault in TEN:
        fault(planted)

    report = checked(planted.write())

    found = [(finding.severity, finding.check) for finding in report.findings]
    assert sorted(found) == sorted(FAULTS[fault][:2] for fault in TEN)
    assert len(found) == 10
    assert [severity for severity, _ in found] == sorted((s for s, _ in found), key=["error", "warning", "hint"].index)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_faults_are_found_in_every_format(tmp_path, name):
    planted = Planted(tmp_path / "source")
    for fault in (leak, repeated, no_objects_here):
        fault(planted)
    images = {split: planted.folder / split for split in planted.splits}
    root = WRITERS[name](tmp_path / "data", planted.splits, images)

    report = checked(root)

    assert report.format == name
    assert [finding.check for finding in report.findings] == ["leakage", "duplicate boxes", "images without objects"]


@pytest.mark.slow
def test_labels_whose_image_has_another_name_are_named(tmp_path):
    planted = Planted(tmp_path / "source")
    root = WRITERS["YOLO"](
        tmp_path / "data", planted.splits, {split: planted.folder / split for split in planted.splits}
    )
    (root / "labels" / "train" / "00.txt").rename(root / "labels" / "train" / "00 new.txt")
    (root / "labels" / "train" / "classes.txt").write_text("cat\ndog\n")

    found = {finding.check: finding.text for finding in checked(root).findings}

    assert found.keys() == {"images without objects", "label names"}
    assert "1 of 24 (4.2 %) label files have no image of their name, such as train/00 new.txt" in found["label names"]


def lying(planted):
    exif = Image.Exif()
    exif[0x0112] = 8
    for number, entry in enumerate(planted.splits["train"]["images"]):
        path = planted.photo("train", number)
        photo = Image.open(path).transpose(Image.Transpose.ROTATE_90)
        photo.save(path, exif=exif)
        entry["width"], entry["height"] = photo.size


@pytest.mark.slow
def test_images_annotated_as_if_they_were_not_rotated_are_a_warning_with_two_ways_out(tmp_path):
    planted = Planted(tmp_path / "data")
    lying(planted)

    found = {finding.check: finding for finding in checked(planted.write()).findings}

    assert found["unrotated annotations"].severity == "warning"
    assert "train: 24 of 24 (100.0 %) images are rotated by EXIF, but annotated" in found["unrotated annotations"].text
    assert "correct sizes and boxes" in found["unrotated annotations"].text
    assert "remove the EXIF rotation" in found["unrotated annotations"].text


def corners_for_sizes(planted):
    for entry in planted.splits["train"]["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x, y, x + w + 60, y + h + 60]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("COCO", "are they x, y, width, height in pixels of these images?"),
        ("YOLO", "are they center x, center y, width, height, divided by the size of the image?"),
        ("Pascal VOC", "are they xmin, ymin, xmax, ymax in pixels of these images?"),
    ],
)
def test_boxes_that_are_mostly_cut_are_an_error_in_the_words_of_the_format(tmp_path, name, words):
    planted = Planted(tmp_path / "source")
    corners_for_sizes(planted)
    images = {split: planted.folder / split for split in planted.splits}
    root = WRITERS[name](tmp_path / "data", planted.splits, images)

    found = {finding.check: finding for finding in checked(root, quick=True).findings}

    assert found["boxes clipped to their image"].severity == "error"
    assert found["boxes clipped to their image"].text.endswith(words)


def test_boxes_that_are_cut_by_a_pixel_are_no_error_however_many(tmp_path):
    planted = Planted(tmp_path / "data")
    for entry in planted.splits["train"]["annotations"]:
        entry["bbox"] = [-1, 10, 40, 30 + entry["id"] / 100]

    found = {finding.check: finding for finding in checked(planted.write(), quick=True).findings}

    assert found["boxes clipped to their image"].severity == "warning"


def test_a_file_listed_twice_is_an_error(tmp_path):
    planted = Planted(tmp_path / "data")
    planted.splits["train"]["images"].append(planted.splits["train"]["images"][0] | {"id": 900})

    found = {finding.check: finding for finding in checked(planted.write()).findings}

    assert found["listed twice"].severity == "error"


def test_areas_that_are_none_are_counted(tmp_path):
    planted = Planted(tmp_path / "data")
    planted.splits["train"]["annotations"][3]["area"] = -4

    [finding] = checked(planted.write(), quick=True).findings

    assert finding.text.startswith("train: 1 of 48 (2.1 %) areas replaced that are not above 0, such as train/01.png;")


def test_val_that_is_train_is_an_error(tmp_path):
    planted = Planted(tmp_path / "source")
    root = WRITERS["YOLO"](
        tmp_path / "data", planted.splits, {split: planted.folder / split for split in planted.splits}
    )
    (root / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train\nval: images/train\n")

    found = {finding.check: finding for finding in checked(root).findings}

    assert found.keys() == {"leakage", "val is train"}
    assert found["leakage"].severity == "error"
    assert "24 of 24 (100.0 %) images of val are files of train" in found["leakage"].text


def test_the_quick_part_opens_no_image_and_writes_no_picture(tmp_path):
    planted = Planted(tmp_path / "data")
    repeated(planted)
    for number in range(24):
        planted.photo("train", number).write_bytes(b"")

    report = checked(planted.write(), quick=True)

    assert [finding.check for finding in report.findings] == ["duplicate boxes"]


@pytest.mark.slow
def test_each_class_gets_a_picture_of_its_boxes(tmp_path):
    planted = Planted(tmp_path / "data")
    for split in planted.splits.values():
        split["categories"][0]["name"] = "../cat & co"
    broken(planted)

    report = checked(planted.write(), pictures=tmp_path / "pictures")

    assert [path.name for path in report.pictures] == ["000-cat-co.png", "001-dog.png"]
    assert sorted((tmp_path / "pictures").iterdir()) == report.pictures
    sheet = np.asarray(Image.open(report.pictures[1]).convert("RGB")).astype(int)
    # One of the 24 photos is broken and grey here.
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 90) & (sheet[..., 2] < 90)
    tiles = [
        red[HEADER + row * (TILE + CAPTION + GAP) :, GAP + column * (TILE + GAP) :][:TILE, :TILE]
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    # An outline of half a tile on a side, two pixels wide.
    assert sum(tile.sum() >= 4 * 2 * (TILE // 2 - 4) for tile in tiles) == 23


def test_near_duplicates_are_found_across_the_blocks_of_a_large_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(near, "BLOCK", 5)
    planted = Planted(tmp_path / "data")
    near_leak(planted)
    near_duplicate(planted)

    assert [finding.check for finding in checked(planted.write()).findings] == ["near leakage", "near-duplicate images"]


@pytest.mark.slow
def test_the_same_seed_draws_the_same_pictures(tmp_path):
    root = Planted(tmp_path / "data").write()
    one, two = (checked(root, pictures=tmp_path / name).pictures for name in ("one", "two"))

    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


@pytest.mark.slow
def test_the_command_prints_the_verdict_and_ends_with_one_for_errors(tmp_path, spinet):
    planted = Planted(tmp_path / "data")
    leak(planted)
    gap(planted)
    root = planted.write()

    code, out, _ = spinet("doctor", root, "--out", tmp_path / "pictures", "--image-size", "96")

    assert code == 1
    lines = out.splitlines()
    assert next(line for line in lines if line.startswith("error: ")).startswith("error: 1 of 12 images of val")
    assert "verdict: 1 errors, 0 warnings, 1 hints" in lines
    assert f"contact sheets of 2 classes: {tmp_path / 'pictures'}" in lines
    assert "COCO format" in lines[0]


def test_the_command_prints_json_and_ends_with_zero_without_errors(tmp_path, spinet):
    root = Planted(tmp_path / "data").write()

    code, out, _ = spinet("doctor", root, "--quick", "--json", "--recipe", "demo")

    assert code == 0
    report = json.loads(out)
    assert (report["errors"], report["findings"], report["pictures"]) == (0, [], [])
    assert report["sizes"]["image_size"] == 128
    assert report["splits"]["val"] == {"images": 12, "objects": 24, "empty": 0, "median_side": 96}


def test_sizes_that_make_no_sense_and_folders_of_no_format_are_one_sentence(tmp_path, spinet):
    code, _, err = spinet("doctor", tmp_path, "--image-size", "0")
    assert (code, err) == (1, "spinet: error: image size 0 and anchor scale 3.0 must be above 0\n")

    code, _, err = spinet("doctor", tmp_path / "nowhere")
    assert (code, err) == (1, f"spinet: error: there is no dataset folder {tmp_path / 'nowhere'}\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aquarium", "bccd", "cocomini", "nuclei"])
def test_real_data_sets_have_no_error(real_photos, name):
    assert examine(real_photos(name), DetectorSettings()).count("error") == 0
