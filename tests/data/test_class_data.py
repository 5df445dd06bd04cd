import re

import pytest
import torch
from class_folders import write_folders, write_image, write_json
from PIL import Image

from spinet.data.class_data import ClassDataset
from spinet.errors import SpinetError


def refused(root, sentence: str, split: str = "train") -> None:
    with pytest.raises(SpinetError, match=sentence) as caught:
        ClassDataset(root, split)
    assert "\n" not in str(caught.value)


def test_folders_are_classes_in_sorted_order_with_ids_from_one(tmp_path):
    dataset = ClassDataset(write_folders(tmp_path, ("dog", "cat", "ant")), "train")

    assert dataset.class_names == ("ant", "cat", "dog")
    assert dataset.category_ids == (1, 2, 3)
    assert [sample.label for sample in dataset.samples] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [sample.image_id for sample in dataset.samples] == list(range(1, 10))
    assert len(dataset) == 9


def test_suffixes_count_in_any_case_and_other_and_hidden_files_do_not(tmp_path):
    write_folders(tmp_path)
    write_image(tmp_path / "train" / "cat" / "deep" / "er" / "d.JPEG")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "cat" / "._a.jpg").write_bytes(b"what another system left")
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "README.md").write_text("none either")

    dataset = ClassDataset(tmp_path, "train")

    cats = [str(sample.path.relative_to(tmp_path / "train" / "cat")) for sample in dataset.samples if sample.label == 0]
    assert cats == ["a.jpg", "b.JPG", "c.png", "deep/er/d.JPEG"]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_val_split_with_fewer_classes_keeps_the_labels_of_the_train_split(tmp_path, name):
    write_folders(tmp_path, ("ant", "cat", "dog"))
    write_folders(tmp_path, ("dog",), split=name)

    dataset = ClassDataset(tmp_path, "val")

    assert dataset.class_names == ("ant", "cat", "dog")
    assert [sample.label for sample in dataset.samples] == [2, 2, 2]


def test_a_val_split_alone_has_the_classes_of_its_folders(tmp_path):
    assert ClassDataset(write_folders(tmp_path, split="val"), "val").class_names == ("cat", "dog")


def test_images_come_as_rgb_and_are_read_once_when_kept(tmp_path):
    dataset = ClassDataset(write_folders(tmp_path), "train", cache_images=True)
    first = dataset.image(0)
    dataset.samples[0].path.unlink()

    assert first.shape == (3, 30, 40)
    assert first.dtype == torch.uint8
    assert dataset.subset([0, 5]).image(0) is first


def test_a_subset_keeps_the_classes(tmp_path):
    view = ClassDataset(write_folders(tmp_path), "train").subset([4, 0])

    assert [sample.image_id for sample in view.samples] == [5, 1]
    assert view.class_names == ("cat", "dog")


@pytest.mark.parametrize("file", ["train2017.json", "train.json", "annotations/train2017.json"])
def test_inaturalists_json_keeps_its_ids_and_its_order(tmp_path, file):
    dataset = ClassDataset(write_json(tmp_path, file=file), "train")

    assert dataset.class_names == ("Boletus edulis", "Pica pica")
    assert dataset.category_ids == (0, 7)
    assert [sample.label for sample in dataset.samples] == [1, 0, 1, 1]
    assert [sample.image_id for sample in dataset.samples] == [5, 6, 7, 8]
    assert dataset.samples[1].path == tmp_path / "train_val_images" / "Fungi" / "train1.jpg"
    assert dataset.image(1).shape == (3, 30, 40)


def test_a_val_json_with_fewer_categories_keeps_the_labels_of_the_train_file(tmp_path):
    write_json(tmp_path)
    only = [{"id": 7, "name": "Pica pica"}]
    write_json(tmp_path, "val", categories=only, annotations=[{"image_id": 5 + k, "category_id": 7} for k in range(4)])

    dataset = ClassDataset(tmp_path, "val")

    assert dataset.category_ids == (0, 7)
    assert {sample.label for sample in dataset.samples} == {1}


def test_the_photos_of_clothes_are_ten_classes(real_photos):
    train, val = (ClassDataset(real_photos("clothing10"), split) for split in ("train", "val"))

    assert (len(train), len(val)) == (1817, 713)
    assert train.class_names == val.class_names
    assert len(train.class_names) == 10


def test_what_is_wrong_with_folders_is_one_sentence(tmp_path):
    refused(tmp_path / "none", "there is no dataset folder")
    refused(tmp_path, "has no train images; expected ROOT/.train,val./CLASS.*found nothing")
    with pytest.raises(SpinetError, match="unknown split 'tran', did you mean 'train'"):
        ClassDataset(tmp_path, "tran")
    write_image(tmp_path / "train" / "a.jpg")
    refused(tmp_path, "train has no class folders")
    write_folders(tmp_path, ("cat",))
    refused(tmp_path, r"train has only one class \(cat\); expected at least two")
    (tmp_path / "train" / "dog").mkdir()
    refused(tmp_path, "the class folder .*dog has no images")
    write_folders(tmp_path)
    refused(tmp_path, "has no val split, expected val/CLASS/.*spinet split DIR", split="val")
    write_folders(tmp_path, ("cat", "cow"), split="val")
    refused(tmp_path, "val has classes that are not in .*train: cow", split="val")


def test_two_formats_at_once_are_refused(tmp_path):
    write_json(write_folders(tmp_path))

    refused(tmp_path, "holds class folders .* and a JSON file .*train2017.json.*expected one format")


def test_two_json_files_of_one_split_are_refused(tmp_path):
    write_json(write_json(tmp_path), file="train2018.json")

    refused(tmp_path, "has train2017.json and train2018.json; expected one file")


def test_two_folders_of_one_split_are_refused(tmp_path):
    for name in ("train", "val", "valid"):
        write_folders(tmp_path, split=name)

    refused(tmp_path, "has val/ and valid/; expected one folder of val images", split="val")


def test_a_data_set_of_boxes_is_told_how_to_become_one_of_classes(tmp_path, write_coco):
    write_coco(tmp_path / "coco")
    refused(tmp_path / "coco", "is a detection dataset .COCO format.*`spinet crop-boxes`")

    write_image(tmp_path / "yolo" / "train" / "images" / "a.jpg")
    (tmp_path / "yolo" / "train" / "labels").mkdir()
    (tmp_path / "yolo" / "train" / "labels" / "a.txt").write_text("0 .5 .5 .2 .2")
    (tmp_path / "yolo" / "data.yaml").write_text("names: [cat, dog]")
    refused(tmp_path / "yolo", "is a detection dataset .YOLO format")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"annotations": []}, "image 5 in .*train2017.json has no annotation; expected one class per image"),
        ({"annotations": [{"id": 3, "image_id": 5, "category_id": 9}]}, "annotation 3 in .* category_id 9.*are 0, 7"),
        ({"annotations": [{"image_id": None, "category_id": 7}]}, "annotation number 1 in .* has image_id None"),
        (
            {"annotations": [{"image_id": 5, "category_id": 7}, {"image_id": 5, "category_id": 0}]},
            "image 5 in .* is of category 7 and of category 0",
        ),
        ({"annotations": [{"image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 4]}]}, "is a detection dataset"),
        ({"categories": [{"id": 7, "name": "Pica pica"}], "annotations": []}, "no annotation"),
        ({"categories": [{"id": 7}]}, "category 7 in .* has name None"),
        ({"images": [], "annotations": []}, "has no images"),
        ({"images": [{"id": "x", "file_name": "a.jpg"}]}, "image number 1 in .* has id 'x'"),
        ({"images": [{"id": 5}]}, "image 5 in .* has file_name None"),
        ({"images": [{"id": 5, "file_name": "gone/a.jpg"}] * 2}, "two images with id 5"),
        ({"images": [{"id": 5, "file_name": "train_val_images/Aves/train0.jpg"}]}, "image_id 6, but no image has that"),
        ({"images": [{"id": 5 + k, "file_name": "gone/a.jpg"} for k in range(4)]}, "4 of 4 image files .*gone/a.jpg"),
    ],
)
def test_what_is_wrong_with_a_json_file_is_one_sentence(tmp_path, changes, sentence):
    refused(write_json(tmp_path, **changes), sentence)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "image 8 in .*train2017.json has no annotation; expected one class per image"),
        ([7, 0], "image 8 in .*train2017.json is of category 7 and of category 0; expected one class per image"),
        ([0, 7, 0], "image 8 in .*train2017.json is of category 0 and of category 7; expected one class per image"),
    ],
)
def test_one_image_without_one_class_is_left_out_and_several_are_refused(tmp_path, more, sentence):
    entries = [{"id": k, "image_id": 5 + k, "category_id": (7, 0, 7)[k]} for k in range(3)]
    entries += [{"image_id": 8, "category_id": category} for category in more]

    dataset = ClassDataset(write_json(tmp_path, annotations=entries), "train")

    assert [sample.image_id for sample in dataset.samples] == [5, 6, 7]
    [finding] = dataset.findings
    assert finding.severity == "warning"
    assert re.search(f"^train: 1 of 4 images are invalid and left out, such as {sentence}; correct", finding.text)
    refused(write_json(tmp_path, annotations=entries[1:]), r"has no annotation; .* \(invalid images in all: 2 of 4\)$")


def test_a_json_file_with_one_category_is_refused(tmp_path):
    annotations = [{"image_id": 5 + k, "category_id": 7} for k in range(4)]
    write_json(tmp_path, categories=[{"id": 7, "name": "Pica pica"}], annotations=annotations)

    refused(tmp_path, r"has only one class \(Pica pica\)")


def test_broken_json_is_named_with_its_place(tmp_path):
    (tmp_path / "train2017.json").write_text('{"images": [,]}')

    refused(tmp_path, "train2017.json is not valid JSON: line 1, column 13")


def test_a_category_that_the_train_file_lacks_is_refused(tmp_path):
    write_json(tmp_path)
    write_json(tmp_path, "val", categories=[{"id": 7, "name": "Corvus corax"}, {"id": 0, "name": "Boletus edulis"}])

    refused(tmp_path, "val2017.json has classes that are not in .*train2017.json: Corvus corax", split="val")


def test_an_unreadable_image_is_named(tmp_path):
    dataset = ClassDataset(write_folders(tmp_path), "train")
    dataset.samples[1].path.write_bytes(b"")

    with pytest.raises(SpinetError, match=r"could not read the image .*cat.b\.JPG: the file is empty"):
        dataset.image(1)


@pytest.mark.parametrize("name", ["classes.txt", "meta/classes.txt", "words.names"])
def test_a_list_of_class_names_beside_class_folders_makes_no_detection_dataset(tmp_path, name):
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            image = tmp_path / split / label / "0.png"
            image.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(image)
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("cat\ndog\n")

    assert ClassDataset(tmp_path, "train").class_names == ("cat", "dog")


def test_a_link_to_itself_is_no_class_folder(tmp_path):
    for label in ("cat", "dog"):
        image = tmp_path / "train" / label / "0.png"
        image.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(image)
    (tmp_path / "train" / "loop").symlink_to(tmp_path / "train" / "loop")

    assert ClassDataset(tmp_path, "train").class_names == ("cat", "dog")
