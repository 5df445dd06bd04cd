import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_api

from spinet.data.coco import CocoDataset, unknown_classes
from spinet.errors import SpinetError


def one_object(**changes: object) -> list[dict[str, object]]:
    return [{"id": 77, "image_id": 11, "category_id": 3, "bbox": [1, 2, 3, 4]} | changes]


def test_boxes_become_corners_and_labels_follow_the_category_ids(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train")

    assert dataset.category_ids == (3, 7)
    assert dataset.class_names == ("dog", "cat")
    assert [sample.image_id for sample in dataset.samples] == [10, 11, 12]
    last = dataset.samples[2]
    assert last.boxes.tolist() == [[5, 6, 15, 14], [20.5, 10.25, 24.5, 14.25]]
    assert last.boxes.dtype == torch.float32
    assert last.labels.tolist() == [1, 0]
    assert (last.width, last.height) == (40, 30)
    assert dataset.problems == {}


def test_an_image_without_objects_stays(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train")

    assert len(dataset) == 3
    assert dataset.samples[1].boxes.shape == (0, 4)
    assert dataset.samples[1].labels.shape == (0,)


def test_a_data_set_without_any_object_opens(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path, annotations=[]), "train")

    assert [len(sample.labels) for sample in dataset.samples] == [0, 0, 0]
    assert dataset.ground_truth()["annotations"] == []


@pytest.mark.parametrize("year", ["2014", "2017", "2031"])
def test_the_official_layout_with_a_year_is_found(tmp_path, write_coco, year):
    dataset = CocoDataset(write_coco(tmp_path, "val", folder=f"val{year}"), "val")

    assert dataset.annotation_file == tmp_path / "annotations" / f"instances_val{year}.json"
    assert dataset.samples[0].path == tmp_path / f"val{year}" / "0.png"


def test_a_folder_without_a_year_wins_and_two_years_are_an_error(tmp_path, write_coco):
    for folder in ("train2014", "train2017"):
        write_coco(tmp_path, folder=folder)
    with pytest.raises(SpinetError, match="train2014.json and annotations.*train2017.json; expected one"):
        CocoDataset(tmp_path, "train")

    write_coco(tmp_path)

    assert CocoDataset(tmp_path, "train").annotation_file.name == "instances_train.json"


def test_images_are_read_again_unless_they_are_cached(tmp_path, write_coco):
    write_coco(tmp_path)
    fresh, cached = CocoDataset(tmp_path, "train"), CocoDataset(tmp_path, "train", cache_images=True)
    before = [fresh.image(0), cached.image(0)]

    Image.new("RGB", (40, 30)).save(tmp_path / "train" / "0.png")

    assert before[0].shape == (3, 30, 40)
    assert fresh.image(0).max() == 0
    assert torch.equal(cached.image(0), before[1])


def test_crowd_regions_are_for_the_metric_only(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(iscrowd=1)), "train")

    assert len(dataset.samples[1].labels) == 0
    assert dataset.ground_truth()["annotations"][0]["iscrowd"] == 1


@pytest.mark.parametrize(
    ("box", "problem", "kept"),
    [
        ([1, 2, 0, 5], "boxes of zero area dropped", []),
        ([1, 2, 5, -1], "boxes of zero area dropped", []),
        ([40, 2, 5, 5], "boxes outside their image dropped", []),
        ([-9, -9, 9, 5], "boxes outside their image dropped", []),
        ([35, -5, 10, 10], "boxes clipped to their image", [[35, 0, 40, 5]]),
    ],
)
def test_odd_boxes_are_mended_or_dropped_and_counted(tmp_path, write_coco, box, problem, kept):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(bbox=box)), "train")

    assert dataset.problems == {problem: 1}
    assert dataset.samples[1].boxes.tolist() == kept
    assert [entry["bbox"] for entry in dataset.ground_truth()["annotations"]] == [box] * len(kept)


@pytest.mark.parametrize(
    ("value", "crowd"),
    [
        *[(value, False) for value in (0, "0", "false", "False", " no ", "", "null", "None", 0.0, "0.0", False, None)],
        *[(value, True) for value in (1, "1", "true", "YES", 1.0, "y", True)],
    ],
)
def test_a_flag_is_read_for_what_it_says(tmp_path, write_coco, value, crowd):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(iscrowd=value)), "train")

    assert dataset.crowd_regions == crowd
    assert len(dataset.samples[1].labels) == (not crowd)


@pytest.mark.parametrize("area", [-12, 0, math.nan, math.inf, -math.inf, "big", "-3", True, [], "nan"])
@pytest.mark.parametrize(("outline", "expected"), [(None, 12), ([[1, 2, 4, 2, 4, 4, 1, 4]], 6)])
def test_an_area_that_is_none_is_that_of_the_mask_or_the_box_and_counted(tmp_path, write_coco, area, outline, expected):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(area=area, segmentation=outline)), "train")

    assert dataset.problems == {"areas replaced that are not above 0": 1}
    assert dataset.examples["areas replaced that are not above 0"].name == "1.png"
    assert dataset.ground_truth()["annotations"][0]["area"] == expected


@pytest.mark.parametrize(("area", "expected"), [(None, 12), ("5.5", 5.5), (7, 7)])
def test_an_area_that_is_missing_or_a_text_is_no_problem(tmp_path, write_coco, area, expected):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(area=area)), "train")

    assert dataset.problems == {}
    assert dataset.ground_truth()["annotations"][0]["area"] == expected


def test_numbers_as_text_are_read_for_what_they_say(tmp_path, write_coco):
    images = [{"id": f"{10 + k}", "file_name": f"{k}.png", "width": "40", "height": "30.0"} for k in range(3)]
    objects = [{"id": "1", "image_id": 11.0, "category_id": "3", "bbox": ["1", " 2.0", "3e0", "+4"]}]
    categories = [{"id": "3", "name": "dog"}, {"id": "07", "name": 5}]
    dataset = CocoDataset(write_coco(tmp_path, images=images, annotations=objects, categories=categories), "train")

    assert (dataset.category_ids, dataset.class_names) == ((3, 7), ("dog", "5"))
    assert [sample.image_id for sample in dataset.samples] == [10, 11, 12]
    assert [(sample.width, sample.height) for sample in dataset.samples] == [(40, 30)] * 3
    assert dataset.samples[1].boxes.tolist() == [[1, 2, 4, 6]]


@pytest.mark.parametrize("text", ["1_0", "\u0661", "0x10", "1,5", "10 000", "inf", "--1", ""])
def test_a_text_that_is_no_plain_number_is_refused(tmp_path, write_coco, text):
    write_coco(tmp_path, annotations=one_object(bbox=[1, 2, 3, text]))

    with pytest.raises(SpinetError, match="annotation 77 .* four finite numbers"):
        CocoDataset(tmp_path, "train")


def with_ids(first: int) -> dict[str, object]:
    """Images with ids from `first`, and one object in the second."""
    return {
        "images": [{"id": first + k, "file_name": f"{k}.png", "width": 40, "height": 30} for k in range(3)],
        "annotations": one_object(image_id=first + 1),
    }


@pytest.mark.parametrize("first", [0, -7, 2**53, 2**62, 10**40, 10**400])
def test_ids_of_any_size_are_numbered_from_one_inside_and_kept_for_others(tmp_path, write_coco, first):
    dataset = CocoDataset(write_coco(tmp_path, **with_ids(first)), "train")

    assert [sample.image_id for sample in dataset.samples] == [first, first + 1, first + 2]
    assert [sample.number for sample in dataset.samples] == [1, 2, 3]
    assert dataset.ground_truth()["annotations"][0]["image_id"] == first + 1


@pytest.mark.parametrize("sides", [{}, {"width": 0, "height": 0}, {"width": None}, {"width": 40}, {"height": "0"}])
def test_a_size_that_the_file_does_not_say_is_the_upright_one_of_the_image(tmp_path, write_coco, sides):
    images = [{"id": 10 + k, "file_name": f"{k}.png"} | sides for k in range(3)]
    write_coco(tmp_path, images=images)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "train" / "1.png", exif=exif)

    dataset = CocoDataset(tmp_path, "train")

    assert [(sample.width, sample.height) for sample in dataset.samples] == [(40, 30), (20, 30), (40, 30)]


@pytest.mark.parametrize("content", [b"", b"?", b"<html>404</html>"])
def test_an_image_of_unknown_size_that_cannot_be_read_is_left_out_with_its_objects(tmp_path, write_coco, content):
    write_coco(tmp_path, images=[{"id": 10 + k, "file_name": f"{k}.png"} for k in range(3)])
    (tmp_path / "train" / "2.png").write_bytes(content)

    dataset = CocoDataset(tmp_path, "train")

    assert [sample.number for sample in dataset.samples] == [1, 2]
    [finding] = dataset.findings
    assert (finding.severity, finding.check) == ("warning", "broken images")
    assert finding.text.startswith("train: 1 of 3 images cannot be read, such as train/2.png: ")
    assert dataset.problems == {}
    assert dataset.annotated == len(dataset.ground_truth()["annotations"]) == 1
    (tmp_path / "train" / "0.png").write_bytes(content)
    with pytest.raises(SpinetError, match=r"^train: 2 of 3 images cannot be read, such as train/0\.png: "):
        CocoDataset(tmp_path, "train")


def test_the_problems_of_a_part_are_those_of_its_own_images(tmp_path, write_coco):
    boxes = {10: [0, 0, 0, 5], 11: [90, 90, 5, 5], 12: [5, 5, 0, 0]}
    entries = [{"id": key, "image_id": key, "category_id": 3, "bbox": box} for key, box in boxes.items()]
    entries.append({"id": 9, "image_id": 11, "category_id": 3, "bbox": [1, 1, 4, 4], "iscrowd": 1})
    whole = CocoDataset(write_coco(tmp_path, annotations=entries), "train")

    first, rest = whole.subset([0]), whole.subset([1, 2])

    assert whole.problems == {"boxes of zero area dropped": 2, "boxes outside their image dropped": 1}
    assert (first.problems, first.annotated, first.crowd_regions) == ({"boxes of zero area dropped": 1}, 1, 0)
    assert rest.problems == {"boxes of zero area dropped": 1, "boxes outside their image dropped": 1}
    assert (rest.examples["boxes of zero area dropped"].name, rest.annotated, rest.crowd_regions) == ("2.png", 3, 1)


@pytest.mark.parametrize("side", [10**19, 1e308, 10**10])
def test_a_size_beyond_all_images_is_refused(tmp_path, write_coco, side):
    write_coco(tmp_path, images=[IMAGE | {"width": side}])

    with pytest.raises(SpinetError, match="image 10 in .* pixels; must be at most 500,000,000") as caught:
        CocoDataset(tmp_path, "train")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("spelling", ["0.png", "./0.png", ".//0.png"])
def test_a_file_listed_twice_is_a_finding(tmp_path, write_coco, spelling):
    images = [{"id": k, "file_name": name, "width": 40, "height": 30} for k, name in enumerate(["0.png", spelling])]
    write_coco(tmp_path, images=images, annotations=[])

    [finding] = CocoDataset(tmp_path, "train").findings

    assert (finding.severity, finding.check) == ("warning", "listed twice")
    assert finding.text.startswith("train: 1 of 1 image files are listed twice or more, such as train/0.png; each")


def test_val_may_have_a_part_of_the_classes_and_takes_the_labels_of_train(tmp_path, write_coco):
    write_coco(tmp_path)
    write_coco(tmp_path, "val", categories=[{"id": 7, "name": "cat"}], annotations=one_object(category_id=7))
    train, val = CocoDataset(tmp_path, "train"), CocoDataset(tmp_path, "val")

    assert unknown_classes(train, val) == ""
    view = val.with_classes(train.category_ids, train.class_names)

    assert view.class_names == ("dog", "cat")
    assert view.samples[1].labels.tolist() == [1]
    assert [entry["category_id"] for entry in view.ground_truth()["annotations"]] == [7]
    assert [entry["id"] for entry in view.ground_truth()["categories"]] == [3, 7]
    assert val.samples[1].labels.tolist() == [0]


@pytest.mark.parametrize(
    ("category", "sentence"),
    [
        ({"id": 7, "name": "cow"}, "category 7 of .*instances_val.json is 'cow', but 'cat' in train$"),
        ({"id": 8, "name": "cat"}, "category 8 of .*instances_val.json is 'cat', but its id is 7 in train$"),
        ({"id": 8, "name": "newt"}, "category 8 of .*instances_val.json is 'newt', which train does not have$"),
    ],
)
def test_other_classes_in_val_are_named(tmp_path, write_coco, category, sentence):
    write_coco(tmp_path)
    write_coco(tmp_path, "val", categories=[category], annotations=[])

    assert re.search(sentence, unknown_classes(CocoDataset(tmp_path, "train"), CocoDataset(tmp_path, "val")))


def test_a_file_that_changes_while_it_is_in_use_is_named(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path, annotations=with_masks()), "train")
    write_coco(tmp_path, annotations=one_object())

    with pytest.raises(SpinetError, match=r"instances_train\.json has changed since it was opened"):
        dataset.ground_truth()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"images": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": [], ' + b'"x": 1, ' * 20_000, "not valid JSON"),
        (json.dumps({"x" * 5000: 1}).encode(), "missing key 'images', found xxx"),
    ],
)
def test_a_hostile_file_is_one_short_sentence(tmp_path, write_coco, content, sentence):
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_train.json").write_bytes(content)

    with pytest.raises(SpinetError, match=sentence) as caught:
        CocoDataset(tmp_path, "train")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["x" * 5000, ["y"] * 5000, 10**4000, {"a": {"b": [1] * 5000}}, "\ud800"])
@pytest.mark.parametrize("key", ["id", "bbox", "category_id", "image_id", "iscrowd"])
def test_a_long_value_is_cut_in_the_message(tmp_path, write_coco, key, value):
    annotation = one_object()[0] | {"bbox": None, key: value}
    write_coco(tmp_path, annotations=[annotation])

    with pytest.raises(SpinetError) as caught:
        CocoDataset(tmp_path, "train")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("box", [[0, 0, 1e308, 5], [-5, 2, 1.5e308, 5], [1, 1, 10**200, 10**200]])
def test_a_box_beyond_all_images_is_clipped_like_any_other(tmp_path, write_coco, box):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(bbox=box)), "train")

    assert dataset.problems == {"boxes clipped to their image": 1}
    assert math.isfinite(dataset.ground_truth()["annotations"][0]["area"])


@pytest.mark.parametrize("box", [[3, 4, 1, 1], [39, 29, 1, 1], [0, 0, 40.01, 30]])
def test_one_pixel_boxes_and_rounded_edges_are_no_problem(tmp_path, write_coco, box):
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(bbox=box)), "train")

    assert dataset.problems == {}
    assert len(dataset.samples[1].labels) == 1


def test_the_ground_truth_fills_in_area_and_crowd_and_numbers_from_one(tmp_path, write_coco):
    annotations = one_object(id=0, ignore=1) + one_object(id=1, area=5.5, segmentation=[[1, 2, 3, 4, 5, 6]])
    dataset = CocoDataset(write_coco(tmp_path, annotations=annotations), "train")

    truth = dataset.ground_truth()

    assert [entry["id"] for entry in truth["annotations"]] == [1, 2]
    assert [entry["area"] for entry in truth["annotations"]] == [12, 5.5]
    assert [entry["iscrowd"] for entry in truth["annotations"]] == [0, 0]
    assert "ignore" not in truth["annotations"][0]
    assert truth["annotations"][1]["segmentation"] == [[1, 2, 3, 4, 5, 6]]
    assert len(truth["images"]) == 3
    assert len(truth["categories"]) == 2


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        ({"category_id": 99}, "annotation 77 in .*instances_train.json has category_id 99; .* are 3, 7"),
        ({"category_id": "3.5"}, "annotation 77 .* category_id '3.5'; must be an integer"),
        ({"category_id": "dog"}, "annotation 77 .* category_id 'dog'; must be an integer"),
        ({"category_id": True}, "annotation 77 .* category_id True; must be an integer"),
        ({"iscrowd": "maybe"}, "annotation 77 .* iscrowd 'maybe'; must be 0 or 1"),
        ({"iscrowd": 2}, "annotation 77 .* iscrowd 2; must be 0 or 1"),
        ({"iscrowd": [0]}, r"annotation 77 .* iscrowd \[0\]; must be 0 or 1"),
        ({"image_id": 5}, "annotation 77 in .*instances_train.json has image_id 5, but no image has that id"),
        ({"image_id": [1]}, "annotation 77 .* image_id"),
        ({"bbox": [1, 2, 3]}, r"annotation 77 .* bbox \[1, 2, 3\]; must be four finite numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, "annotation 77 .* four finite numbers"),
        ({"bbox": [1, 2, 3, float("inf")]}, "annotation 77 .* four finite numbers"),
        ({"bbox": [1, 2, 3, "4px"]}, "annotation 77 .* four finite numbers"),
        ({"bbox": [1, 2, 3, True]}, "annotation 77 .* four finite numbers"),
        ({"bbox": None}, "annotation 77 .* four finite numbers"),
    ],
)
def test_a_faulty_annotation_is_named_by_its_id(tmp_path, write_coco, annotation, sentence):
    write_coco(tmp_path, annotations=one_object(**annotation))

    with pytest.raises(SpinetError, match=sentence):
        CocoDataset(tmp_path, "train")


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("change", [{"bbox": [1, 2, 3]}, {"image_id": 99}, {"category_id": 99}, {"iscrowd": 2}])
def test_a_few_faulty_annotations_are_left_out_and_counted(tmp_path, write_coco, change, masks):
    def entry(side):
        outline = [[1, 2, 1 + side, 2, 1 + side, 2 + side]]
        return {"image_id": 11, "category_id": 3, "bbox": [1, 2, side, side], "segmentation": outline}

    entries = [entry(4), entry(6) | {"id": 77} | change, entry(8)]
    dataset = CocoDataset(write_coco(tmp_path, annotations=entries), "train", masks=masks)

    assert dataset.samples[1].boxes.tolist() == [[1, 2, 5, 6], [1, 2, 9, 10]]
    assert (dataset.annotated, dataset.problems) == (2, {})
    [finding] = dataset.findings
    assert finding.severity == "warning"
    assert finding.text.startswith("train: 1 of 3 annotations are invalid and left out, such as annotation 77 in ")
    truth = dataset.ground_truth()["annotations"]
    assert [annotation["segmentation"] for annotation in truth] == [
        entries[0]["segmentation"],
        entries[2]["segmentation"],
    ]


def test_annotations_after_one_that_is_left_out_keep_their_names(tmp_path, write_coco):
    entries = [{"image_id": 11, "category_id": 3, "bbox": [1, 2, 3, 4]} for _ in range(4)]
    entries[0]["bbox"] = None
    for entry, outline in zip(entries[1:], ([[1, 2, 4, 2, 4, 6]], [[1, 2]], [[1, 2, 4, 2, 4, 6]]), strict=True):
        entry["segmentation"] = outline
    dataset = CocoDataset(write_coco(tmp_path, annotations=entries), "train", masks=True)

    [sentence] = dataset.details.values()
    assert "annotation 3 in " in sentence


def test_many_faulty_annotations_are_refused_and_counted(tmp_path, write_coco):
    entries = [{"id": k, "image_id": 11, "category_id": 3, "bbox": [1, 2, 3, "x" if k < 3 else 4]} for k in range(40)]
    write_coco(tmp_path, annotations=entries)

    with pytest.raises(SpinetError, match=r"annotation 0 in .*invalid annotations in all: 3 of 40 \(7.5 %\)"):
        CocoDataset(tmp_path, "train")


IMAGE = {"id": 10, "file_name": "0.png", "width": 40, "height": 30}
CATEGORY = {"id": 3, "name": "dog"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": []}, "instances_train.json has no images"),
        ({"categories": []}, "instances_train.json has no categories"),
        ({"images": [IMAGE, IMAGE]}, "instances_train.json has two images with id 10"),
        ({"categories": [CATEGORY, CATEGORY]}, "instances_train.json has two categories with id 3"),
        ({"images": [IMAGE | {"id": "a"}]}, "image number 1 in .* has id 'a'"),
        ({"images": [IMAGE | {"width": -1}]}, "image 10 in .* has width -1; must be an integer of at least 1"),
        ({"images": [IMAGE | {"height": 30.5}]}, "image 10 in .* has height 30.5"),
        ({"images": [IMAGE | {"file_name": ""}]}, "image 10 in .* has file_name ''"),
        ({"categories": [{"id": 3}]}, "category 3 in .* has name None"),
        ({"categories": None}, "missing key 'categories', found images, annotations"),
        ({"annotations": {"a": 1}}, "'annotations' is not a list of objects"),
        ({"annotations": [1]}, "'annotations' is not a list of objects"),
    ],
)
def test_a_faulty_file_is_named_with_its_fault(tmp_path, write_coco, changes, sentence):
    write_coco(tmp_path, **changes)

    with pytest.raises(SpinetError, match=sentence):
        CocoDataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b'{"images": [],\n "annotations": [,]}',
            "instances_train.json is not valid JSON: line 2, column 18",
        ),
        (b"", "instances_train.json is not valid JSON: line 1"),
        (b'{"images": "\xff\xfe"}', "instances_train.json is not valid JSON: byte 12"),
        (b"[1]", "instances_train.json is not in COCO format.* found a list"),
    ],
)
def test_a_file_that_is_no_coco_json_is_named(tmp_path, write_coco, content, sentence):
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_train.json").write_bytes(content)

    with pytest.raises(SpinetError, match=sentence):
        CocoDataset(tmp_path, "train")


def test_missing_folders_and_files_are_errors_that_say_what_is_expected(tmp_path, write_coco):
    with pytest.raises(SpinetError, match=r"no dataset folder .*nowhere"):
        CocoDataset(tmp_path / "nowhere", "train")

    write_coco(tmp_path)
    with pytest.raises(SpinetError, match=r"has no val split, expected annotations/instances_val.json or val/"):
        CocoDataset(tmp_path, "val")

    with pytest.raises(SpinetError, match="unknown split 'test'; expected 'train' or 'val'"):
        CocoDataset(tmp_path, "test")


def test_missing_image_files_are_counted_and_the_first_is_named(tmp_path, write_coco):
    write_coco(tmp_path)
    for name in ("1.png", "2.png"):
        (tmp_path / "train" / name).unlink()

    with pytest.raises(SpinetError, match=r"^2 of 3 image files are missing, the first one is .*train/1\.png; the nea"):
        CocoDataset(tmp_path, "train")


def test_images_in_sub_folders_are_found(tmp_path, write_coco):
    write_coco(tmp_path, images=[IMAGE | {"file_name": "deep/0.png"}], annotations=[])
    (tmp_path / "train" / "deep").mkdir()
    (tmp_path / "train" / "0.png").rename(tmp_path / "train" / "deep" / "0.png")

    assert CocoDataset(tmp_path, "train").image(0).shape == (3, 30, 40)


def test_a_broken_image_is_named_when_it_is_read(tmp_path, write_coco):
    write_coco(tmp_path)
    (tmp_path / "train" / "1.png").write_bytes(b"")
    dataset = CocoDataset(tmp_path, "train")

    with pytest.raises(SpinetError, match=r"1\.png"):
        dataset.image(1)


def test_a_subset_has_the_images_asked_for_in_their_order(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train")

    view = dataset.subset([2, 0])

    assert [sample.image_id for sample in view.samples] == [12, 10]
    assert torch.equal(view.image(0), dataset.image(2))
    assert len(dataset) == 3


def test_the_ground_truth_of_a_subset_is_that_of_its_images(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train", cache_images=True)
    whole = dataset.ground_truth()

    truth = dataset.subset([2, 1]).ground_truth()

    assert [image["id"] for image in truth["images"]] == [11, 12]
    assert [(entry["image_id"], entry["bbox"]) for entry in truth["annotations"]] == [
        (12, [5, 6, 10, 8]),
        (12, [20.5, 10.25, 4, 4]),
    ]
    assert truth["categories"] == whole["categories"]
    assert dataset.ground_truth() == whole


def test_a_subset_shares_the_images_kept_in_memory(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train", cache_images=True)
    read = dataset.subset([1, 2]).image(1)

    (tmp_path / "train" / "2.png").unlink()

    assert dataset.image(2) is read
    assert dataset.subset([2]).image(0) is read


def test_the_ground_truth_of_a_subset_is_read_once(tmp_path, write_coco):
    view = CocoDataset(write_coco(tmp_path), "train").subset([0])
    first = view.ground_truth()

    (tmp_path / "annotations" / "instances_train.json").unlink()

    assert view.ground_truth() == first


def test_a_ground_truth_kept_in_memory_is_not_changed_by_what_the_metric_writes(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path), "train", cache_images=True)
    first = dataset.ground_truth()

    first["annotations"][0]["ignore"] = 1
    (tmp_path / "annotations" / "instances_train.json").unlink()

    assert all("ignore" not in entry for entry in dataset.ground_truth()["annotations"])


def many_objects(images: int, objects: int) -> dict[str, object]:
    """Objects of many images in mixed order, each with a box of its own; all images share one file."""
    return {
        "images": [{"id": k, "file_name": "0.png", "width": 40, "height": 30} for k in range(images)],
        "annotations": [
            {"id": k, "image_id": (k * 7919) % images, "category_id": 3, "bbox": [0, 0, 1 + k / objects, 2]}
            for k in range(objects)
        ],
    }


@pytest.mark.slow
def test_objects_of_many_images_in_mixed_order_come_to_their_images_in_the_files_order(tmp_path, write_coco):
    content = many_objects(images=1009, objects=7000)

    dataset = CocoDataset(write_coco(tmp_path, **content), "train")

    own = {image["id"]: [] for image in content["images"]}
    for entry in content["annotations"]:
        own[entry["image_id"]].append(entry["bbox"])
    assert [sample.image_id for sample in dataset.samples] == list(range(1009))
    for sample in dataset.samples:
        assert sample.labels.tolist() == [0] * len(own[sample.image_id])
        torch.testing.assert_close(sample.boxes, torch.tensor(own[sample.image_id]))


def test_the_image_folder_is_listed_once_and_no_file_is_asked_for(tmp_path, write_coco, monkeypatch):
    # benchmarks/open_coco.py measures how long a file as large as COCO's takes.
    root, listed, listing = write_coco(tmp_path, **many_objects(images=100, objects=300)), [], os.listdir
    asked = []
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listing(folder))
    monkeypatch.setattr(Path, "is_file", lambda path: asked.append(path) or path.exists())

    CocoDataset(root, "train")

    assert listed.count(root / "train") == 1
    assert [path for path in asked if path.suffix == ".png"] == []


@pytest.mark.parametrize("name", ["aquarium", "bccd", "cocomini", "nuclei"])
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.slow
def test_real_data_sets_open(real_photos, name, split):
    dataset = CocoDataset(real_photos(name), split)

    assert dataset.image(0).shape == (3, dataset.samples[0].height, dataset.samples[0].width)
    truth = dataset.ground_truth()["annotations"]
    objects = sum(len(sample.labels) for sample in dataset.samples)
    assert objects == sum(not entry["iscrowd"] for entry in truth) > 100


POLYGON = [[5, 6, 15, 6, 15, 14, 5, 14]]
RUNS = {"size": [30, 40], "counts": [100, 50, 1050]}


def with_masks() -> list[dict[str, object]]:
    """Objects of three images in mixed order: a dropped one, a crowd region and one of each form of mask."""
    boxes = {"bbox": [5, 6, 10, 8], "category_id": 3}
    return [
        {"id": 1, "image_id": 12, "segmentation": POLYGON} | boxes,
        {"id": 2, "image_id": 12, "segmentation": None} | boxes | {"bbox": [1, 1, 0, 5]},
        {"id": 3, "image_id": 10, "segmentation": RUNS, "iscrowd": 1} | boxes,
        {"id": 4, "image_id": 12, "segmentation": RUNS} | boxes,
        {"id": 5, "image_id": 10, "segmentation": {"size": [30, 40], "counts": "0`U1"}} | boxes,
    ]


def test_masks_lie_beside_their_boxes_without_dropped_objects_and_crowd_regions(tmp_path, write_coco):
    dataset = CocoDataset(write_coco(tmp_path, annotations=with_masks()), "train", masks=True)

    assert [len(sample.labels) for sample in dataset.samples] == [1, 0, 2]
    sizes = [mask_api.area({"size": [30, 40], "counts": mask}) for s in dataset.samples for mask in s.masks]
    assert sizes == [1200, 80, 50]
    assert dataset.subset([2]).samples[0].masks == dataset.samples[2].masks
    assert dataset.has_masks
    assert dataset.subset([2]).has_masks
    assert dataset.ground_truth()["annotations"][0]["segmentation"] == POLYGON


def test_without_masks_nobody_looks_at_them(tmp_path, write_coco):
    broken = [entry | {"segmentation": [[1, 2, 3]]} for entry in with_masks()]
    dataset = CocoDataset(write_coco(tmp_path, annotations=broken), "train")

    assert [sample.masks for sample in dataset.samples] == [None] * 3
    assert not dataset.has_masks


def test_a_mask_without_a_pixel_is_counted_and_its_object_stays(tmp_path, write_coco):
    speck = one_object(segmentation=[[1.1, 2.1, 1.2, 2.1, 1.2, 2.2]])
    dataset = CocoDataset(write_coco(tmp_path, annotations=speck), "train", masks=True)

    assert dataset.problems == {"masks without a pixel": 1}
    assert dataset.examples["masks without a pixel"].name == "1.png"
    assert len(dataset.samples[1].masks) == 1


def test_a_data_set_without_masks_is_refused_when_they_are_asked_for(tmp_path, write_coco):
    write_coco(tmp_path, annotations=one_object(segmentation=[]))

    with pytest.raises(SpinetError, match=r"instances_train.json has no masks; Mask R-CNN needs a segmentation"):
        CocoDataset(tmp_path, "train", masks=True)

    write_coco(tmp_path, annotations=[])
    assert [sample.masks for sample in CocoDataset(tmp_path, "train", masks=True).samples] == [()] * 3


def test_all_broken_masks_are_counted(tmp_path, write_coco):
    annotations = [*with_masks(), *one_object(segmentation=[[1, 2]]), *5 * one_object(segmentation=None)]
    write_coco(tmp_path, annotations=annotations)

    with pytest.raises(SpinetError, match=r"polygon of 2 numbers; .* \(missing or invalid masks in total: 6 of 10\)$"):
        CocoDataset(tmp_path, "train", masks=True)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_box_of_a_number_beyond_floats_is_named(tmp_path, write_coco, value):
    write_coco(tmp_path, annotations=one_object(bbox=[value, 0, 4, 4]))

    with pytest.raises(SpinetError, match=r"annotation 77 in .* must be four finite numbers"):
        CocoDataset(tmp_path, "train")


@pytest.mark.parametrize("crowd", [0, 1])
@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        (None, "^annotation 77 in .*instances_train.json has no segmentation; Mask R-CNN needs"),
        ([[1, 2, 3, 4, 5]], "^annotation 77 in .*instances_train.json has a polygon of 5 numbers"),
        ({"size": [40, 30], "counts": [1200]}, r"^annotation 77 in .*instances_train.json has RLE of size \[40, 30\]"),
        ({"size": [30, 40], "counts": "5O"}, "^annotation 77 in .*instances_train.json has invalid RLE counts"),
    ],
)
def test_an_object_with_a_broken_mask_is_dropped_counted_and_named(tmp_path, write_coco, segmentation, sentence, crowd):
    write_coco(tmp_path, annotations=[*with_masks(), *one_object(segmentation=segmentation, iscrowd=crowd)])

    dataset = CocoDataset(tmp_path, "train", masks=True)

    assert dataset.problems["objects without a valid mask dropped"] == 1
    assert re.search(sentence, dataset.details["objects without a valid mask dropped"])
    assert [len(sample.masks) for sample in dataset.samples] == [1, 0, 2]
    assert len(dataset.ground_truth()["annotations"]) == 4


def test_one_splinter_beside_a_polygon_costs_the_splinter_only(tmp_path, write_coco):
    outline = [*POLYGON, [5, 5, 6, 6]]
    dataset = CocoDataset(write_coco(tmp_path, annotations=one_object(segmentation=outline)), "train", masks=True)

    assert dataset.problems == {"masks without some invalid polygon": 1}
    assert dataset.details["masks without some invalid polygon"].startswith("annotation 77 in ")
    assert mask_api.area({"size": [30, 40], "counts": dataset.samples[1].masks[0]}) == 80


# Official boxes are those of the polygons, which are up to some pixels larger than the pixels that they cover.
@pytest.mark.parametrize(("name", "mean", "most"), [("cocomini", 1, 12), ("nuclei", 0, 0)])
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.slow
def test_real_masks_are_those_of_the_metric_and_lie_in_their_boxes(real_photos, name, mean, most, split):
    dataset = CocoDataset(real_photos(name), split, masks=True)

    truth = [entry for entry in dataset.ground_truth()["annotations"] if not entry["iscrowd"]]
    by_image = {sample.image_id: iter(sample.masks) for sample in dataset.samples}
    sizes = {sample.image_id: (sample.height, sample.width) for sample in dataset.samples}
    assert dataset.problems == {}
    differences = []
    for entry in truth:
        size = sizes[entry["image_id"]]
        mask = next(by_image[entry["image_id"]])
        assert mask == rle_of(entry["segmentation"], *size)
        found = mask_api.toBbox({"size": list(size), "counts": mask}).tolist()
        differences.append(max(abs(a - b) for a, b in zip(found, entry["bbox"], strict=True)))
    assert max(differences) <= most
    assert sum(differences) / len(differences) <= mean


def rle_of(segmentation: object, height: int, width: int) -> bytes:
    """The mask as pycocotools' own `COCO.annToRLE` has it."""
    if isinstance(segmentation, list):
        return mask_api.merge(mask_api.frPyObjects(segmentation, height, width))["counts"]
    if isinstance(segmentation["counts"], list):
        return mask_api.frPyObjects(segmentation, height, width)["counts"]
    return segmentation["counts"].encode()


def test_crowd_regions_of_real_photos_keep_their_masks_for_the_metric(real_photos):
    dataset = CocoDataset(real_photos("cocomini"), "val", masks=True)

    crowds = [entry for entry in dataset.ground_truth()["annotations"] if entry["iscrowd"]]

    assert dataset.crowd_regions == len(crowds) == 5
    assert all(entry["segmentation"]["counts"] for entry in crowds)
    assert sum(len(sample.masks) for sample in dataset.samples) == dataset.annotated - 5


def test_an_image_that_is_listed_twice_without_its_size_has_it_in_both_entries(write_coco, tmp_path):
    images = [{"id": number, "file_name": "0.png"} for number in (10, 12)]

    dataset = CocoDataset(write_coco(tmp_path, images=images), "train")

    assert [(sample.width, sample.height) for sample in dataset.samples] == [(40, 30)] * 2
    assert "boxes outside their image dropped" not in dataset.problems


def test_a_file_name_that_is_a_number_is_looked_for_like_any_other(write_coco, tmp_path):
    images = [{"id": number, "file_name": number, "width": 40, "height": 30} for number in (10, 12)]

    with pytest.raises(SpinetError, match="2 of 2 image files are missing"):
        CocoDataset(write_coco(tmp_path, images=images), "train")
