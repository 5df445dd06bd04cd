"""What the network sees: written once, before the first step, and without any effect on the training."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spinet.data.batch import Batch
from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.label_statistics import label_statistics
from spinet.draw.colours import class_colour
from spinet.engine import first_batch
from spinet.engine.first_batch import LABELS, PICTURE, draw_batch, read_labels
from spinet.engine.train import train


def weights(run):
    return load_file(run / "last.safetensors")


def near(pixel, colour, most=40):
    return all(abs(one - other) <= most for one, other in zip(pixel, colour, strict=True))


@pytest.fixture
def tiny(short):
    return replace(short, epochs=0.25)


def test_a_training_writes_the_picture_and_the_statistics(tiny, digits, tmp_path):
    train(tiny, tmp_path / "run", quiet=True)

    with Image.open(tmp_path / "run" / PICTURE) as picture:
        assert picture.size == (2 * 320 + 3 * 6, 2 * 320 + 3 * 6)  # four images
    labels = read_labels(tmp_path / "run")
    val = CocoDataset(digits, "val")
    assert labels["val"]["images"] == len(val)
    assert labels["val"]["objects"] == sum(len(sample.labels) for sample in val.samples)
    assert labels["image_size"] == 64


def test_the_weights_are_the_same_without_it_and_a_failure_is_one_warning(tiny, tmp_path, monkeypatch, capsys):
    train(tiny, tmp_path / "with", quiet=True)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(first_batch, "draw_batch", fail)
    train(tiny, tmp_path / "without")

    said = capsys.readouterr().out
    assert said.count("could not show what the network sees (no space left)") == 1
    assert not (tmp_path / "without" / PICTURE).exists()
    one, other = weights(tmp_path / "with"), weights(tmp_path / "without")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_resumed_run_writes_nothing_again(short, tmp_path, stop_at):
    stop_at(1)
    with pytest.raises(KeyboardInterrupt):
        train(short, tmp_path / "run", quiet=True)
    stop_at(None)
    for name in (PICTURE, LABELS):
        (tmp_path / "run" / name).unlink()

    train(short, tmp_path / "run", quiet=True)

    assert not (tmp_path / "run" / PICTURE).exists()
    assert not (tmp_path / "run" / LABELS).exists()


@pytest.mark.parametrize("kind", ["classifier_config", pytest.param("mask_config", marks=pytest.mark.slow)])
def test_every_kind_of_model_has_one_and_it_is_the_same_from_the_device(kind, request, tmp_path):
    config = replace(request.getfixturevalue(kind), epochs=0.125, eval_epochs=0)
    config = replace(config, data=replace(config.data, colour_jitter=0.3))
    train(config, tmp_path / "workers", quiet=True)
    train(replace(config, data=replace(config.data, augment_on="device")), tmp_path / "device", quiet=True)

    assert (tmp_path / "workers" / PICTURE).read_bytes() == (tmp_path / "device" / PICTURE).read_bytes()


def detection_batch(masks=None):
    """One black image of 40 px with an object in its upper left quarter, and padding."""
    targets = {"boxes": torch.tensor([[[4.0, 4, 20, 20], [0, 0, 0, 0]]]), "labels": torch.tensor([[1, -1]])}
    if masks is not None:
        targets["masks"] = masks
    black = (torch.zeros(3) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    images = black.view(1, 3, 1, 1).expand(1, 3, 40, 40)
    return Batch(images, targets, torch.tensor([1]), torch.ones(1, 2), torch.tensor([[40, 40]]))


def test_boxes_are_drawn_where_they_are_and_padding_is_not():
    picture = draw_batch(detection_batch(), ("cat", "dog"))

    scale, gap = 320 / 40, 6
    assert picture.getpixel((gap + int(20 * scale), gap + int(12 * scale))) == class_colour(1)
    assert picture.getpixel((gap + int(12 * scale), gap + int(12 * scale))) == (0, 0, 0)
    assert picture.getpixel((gap, gap)) == (0, 0, 0)  # where the padded box would be


def test_masks_are_drawn_inside_their_boxes():
    half = torch.zeros(1, 2, 112, 112, dtype=torch.uint8)
    half[0, 0, :56] = 1
    picture = draw_batch(detection_batch(half), ("cat", "dog"))

    inside, below = picture.getpixel((6 + 96, 6 + 64)), picture.getpixel((6 + 96, 6 + 144))
    assert below == (0, 0, 0)
    assert near(inside, tuple(value * 100 // 255 for value in class_colour(1)), 3)


def test_the_picture_shows_sixteen_images_at_most_and_names_of_any_letters():
    batch = detection_batch()
    many = Batch(
        batch.images.expand(20, 3, 40, 40),
        {name: value.expand(20, *value.shape[1:]) for name, value in batch.targets.items()},
        torch.arange(20),
        torch.ones(20, 2),
        torch.full((20, 2), 40),
    )

    assert draw_batch(many, ("cat", "犬\n\x1b[0m" * 30)).size == (4 * 326 + 6, 4 * 326 + 6)


def test_statistics_count_objects_images_and_sizes(tmp_path):
    root = tmp_path / "data"
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        Image.new("RGB", (200, 100)).save(root / split / "a.png")
        Image.new("RGB", (200, 100)).save(root / split / "b.png")
        images = [{"id": n, "file_name": f"{f}.png", "width": 200, "height": 100} for n, f in ((1, "a"), (2, "b"))]
        boxes = [(1, [0, 0, 20, 20]), (1, [0, 0, 40, 80]), (2, [0, 0, 100, 100])]
        annotations = [
            {"id": n, "image_id": 1, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (c, box) in enumerate(boxes, 1)
        ]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "none"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))

    found = label_statistics(CocoDataset(root, "train"), 100)

    assert (found["images"], found["images_without_objects"], found["objects"]) == (2, 1, 3)
    assert [(c["name"], c["objects"], c["images"]) for c in found["classes"]] == [
        ("cat", 2, 1), ("dog", 1, 1), ("none", 0, 0),
    ]  # fmt: skip
    assert found["sizes"] == {"small": 1, "medium": 1, "large": 1}
    assert found["sides"]["min"] == 10  # 20 px of 200, at 100
    assert found["aspect_ratios"]["min"] == 0.5


def test_statistics_of_classes_count_images(colours):
    found = label_statistics(ClassDataset(colours, "train"), 32)

    assert found["images"] == 24
    assert [one["images"] for one in found["classes"]] == [8, 8, 8]
