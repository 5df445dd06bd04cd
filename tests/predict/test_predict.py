import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_api
from pycocotools.coco import COCO

from spinet.arch.catalog import load_architecture
from spinet.data.masks import Rle, encode_columns
from spinet.draw.colours import class_colour
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_model, save_weights
from spinet.engine.config import ModelConfig
from spinet.engine.evaluate import to_image
from spinet.errors import SpinetError
from spinet.formats.listing import find_images
from spinet.predict.ahead import ahead
from spinet.predict.files import predict_files
from spinet.predict.open import load
from spinet.predict.predictor import Predictor
from spinet.predict.visualize import draw_detections

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (3, 8), 64)


# Boxes, scores, labels and class names of one object.
DOG = (np.array([[20.0, 40.0, 80.0, 90.0]]), np.array([0.5]), np.array([1]), ("dog",))


class Finder(torch.nn.Module):
    """Finds one dog in the upper left quarter of the network's input."""

    def predict(self, images, score_threshold):
        found = {
            "boxes": torch.tensor([[0.0, 0.0, 32.0, 16.0]]),
            "scores": torch.tensor([0.9]),
            "labels": torch.tensor([1]),
        }
        return [found for _ in images]


class MaskFinder(Finder):
    """Says of the dog that it is in the left half of its box."""

    def predict(self, images, score_threshold):
        half = torch.zeros(1, 4, 4)
        half[:, :, :2] = 1
        return [found | {"masks": half} for found in super().predict(images, score_threshold)]


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(Finder(), INFO)


def photo(path: Path, size: tuple[int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 150)).save(path)
    return path


def test_boxes_are_in_pixels_of_the_image(predictor):
    # A 200 x 100 photo becomes 64 x 32 in the network: 0.32 of its size.
    result = predictor.predict(torch.zeros(3, 100, 200, dtype=torch.uint8))
    np.testing.assert_allclose(result.boxes, [[0.0, 0.0, 100.0, 50.0]], rtol=1e-6)


def test_boxes_never_leave_the_image(predictor):
    result = predictor.predict(torch.zeros(3, 10, 200, dtype=torch.uint8))
    assert result.boxes.tolist() == [[0.0, 0.0, 100.0, 10.0]]


def test_the_json_holds_coco_boxes_and_category_ids(predictor, tmp_path):
    [prediction] = predict_files(predictor, [photo(tmp_path / "a.png", (200, 100))], tmp_path / "out")
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert entry == prediction.entry
    assert (entry["width"], entry["height"]) == (200, 100)
    assert entry["detections"] == [{"category_id": 8, "class": "dog", "score": 0.9, "bbox": [0.0, 0.0, 100.0, 50.0]}]


def test_images_of_one_name_from_two_folders_do_not_overwrite_each_other(predictor, tmp_path):
    photos = [photo(tmp_path / folder / "x.png", (50, 50)) for folder in ("a", "b")]
    pictures = [prediction.visualization for prediction in predict_files(predictor, photos, tmp_path / "out")]
    assert [picture.name for picture in pictures] == ["x.jpg", "x-2.jpg"]
    assert all(picture.is_file() for picture in pictures)


def test_images_are_not_replaced_by_their_visualizations(predictor, tmp_path):
    source = photo(tmp_path / "x.jpg", (50, 50))
    before = source.read_bytes()

    with pytest.raises(SpinetError, match=r"x\.jpg would be written over"):
        list(predict_files(predictor, [tmp_path], tmp_path))

    assert source.read_bytes() == before


def test_a_folder_means_its_images_in_order(tmp_path):
    for name in ("b.JPG", "a.png"):
        photo(tmp_path / name, (8, 8))
    (tmp_path / "notes.txt").write_text("")
    assert [path.name for path in find_images([tmp_path])] == ["a.png", "b.JPG"]


def test_an_empty_folder_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(SpinetError, match="contains no image"):
        find_images([tmp_path])
    with pytest.raises(SpinetError, match="there is no image or folder"):
        find_images([tmp_path / "gone"])


def test_a_drawn_box_has_the_colour_of_its_class_and_the_image_is_untouched():
    image = Image.new("RGB", (100, 100), "white")
    picture = draw_detections(image, *DOG)
    assert picture.getpixel((20, 70)) == class_colour(1)
    assert picture.getpixel((50, 70)) == (255, 255, 255)
    assert image.getpixel((20, 70)) == (255, 255, 255)


def test_neighbouring_classes_have_different_colours():
    colours = [class_colour(label) for label in range(20)]
    assert len(set(colours)) == 20


def test_masks_are_in_pixels_of_the_image_and_coco_rle_in_the_json(tmp_path):
    predictor = Predictor(MaskFinder(), INFO)

    [prediction] = predict_files(predictor, [photo(tmp_path / "a.png", (200, 100))], tmp_path / "out")

    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert entry == prediction.entry
    [mask] = [found["segmentation"] for found in entry["detections"]]
    assert mask["size"] == [100, 200]
    assert isinstance(mask["counts"], str)
    assert mask_api.toBbox(mask).tolist() == [0, 0, 50, 50]


def painted(mask: Rle) -> Image.Image:
    return draw_detections(Image.new("RGB", (100, 100), "white"), *DOG, [mask])


def test_a_mask_is_translucent_inside_and_has_an_outline_of_its_classes_colour():
    disc = np.hypot(*(np.indices((60, 50)) - 25)) < 20
    picture = painted(encode_columns(disc, 20, 40, 100, 100))

    inside, edge, corner = (picture.getpixel(place) for place in [(45, 65), (26, 65), (75, 45)])

    assert edge == class_colour(1)
    assert corner == (255, 255, 255)
    assert all(dark < mixed < 255 for dark, mixed in zip(edge, inside, strict=True))


def test_masks_at_the_border_of_the_image_and_empty_ones_are_drawn():
    whole = painted(encode_columns(np.ones((100, 100), dtype=bool), 0, 0, 100, 100))
    empty = painted(encode_columns(np.zeros((0, 0), dtype=bool), 0, 0, 100, 100))

    assert whole.getpixel((0, 50)) == whole.getpixel((99, 20)) == class_colour(1)
    assert empty.getpixel((50, 70)) == (255, 255, 255)


def test_in_a_crowd_only_the_highest_scoring_of_a_class_and_large_objects_are_named():
    corners = np.array([[x, y] for y in range(40, 400, 40) for x in range(20, 400, 40)], dtype=np.float32)
    boxes = np.concatenate([np.concatenate([corners, corners + 8], axis=1), [[100.0, 430, 400, 490]]])
    count = len(boxes)
    objects = (boxes, np.linspace(1, 0.5, count), np.zeros(count, dtype=int), ("cat",) * count)

    picture = np.asarray(draw_detections(Image.new("RGB", (500, 500), "black"), *objects))

    white = picture.min(axis=-1) > 120
    assert white[:45, :100].any()
    assert white[410:, :].any()
    assert not white[60:400].any()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_change_neither_results_nor_order_and_a_corrupt_image_stops_nothing(predictor, tmp_path, batch_size):
    photos = [photo(tmp_path / f"{number}.png", (50 + number, 50)) for number in range(5)]
    photos[2].write_bytes(photos[2].read_bytes()[:60])
    photos[3].write_bytes(b"")

    found = list(predict_files(predictor, photos, tmp_path / "out", batch_size=batch_size))

    assert [each.path for each in found] == photos
    assert [each.entry is None for each in found] == [False, False, True, True, False]
    assert all(str(each.path) in each.summary for each in found[2:4])
    assert "the file is empty" in found[3].summary
    assert [each.entry["width"] for each in found if each.entry] == [50, 51, 54]


def test_names_as_long_as_the_file_system_allows_are_written_and_longer_ones_fail_alone(predictor, tmp_path):
    # 252, 255 and 4 bytes; with .jpg the second one would have 256.
    photos = [tmp_path / f"{stem}.bm" for stem in ("語" * 83, "a" * 252, "b")]
    for path in photos:
        Image.new("RGB", (50, 50)).save(path, "png")

    found = list(predict_files(predictor, photos, tmp_path / "out"))

    assert [each.failed for each in found] == [False, True, False]
    assert found[1].visualization is None
    assert "File name too long" in str(found[1])
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 3
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 2


def test_a_batch_size_of_zero_and_an_unknown_precision_are_refused(predictor, tmp_path):
    with pytest.raises(SpinetError, match="batch_size is 0; must be at least 1"):
        list(predict_files(predictor, [photo(tmp_path / "a.png", (9, 9))], tmp_path / "out", batch_size=0))
    with pytest.raises(SpinetError, match="unknown precision 'fp16'.*Known: auto, bf16, fp32"):
        load(tmp_path, device="cpu", precision="fp16")


def test_an_image_without_pixels_is_refused(predictor):
    with pytest.raises(SpinetError, match=r"an image of shape \(3, 5, 0\) has no pixels"):
        predictor.predict(torch.zeros(3, 5, 0, dtype=torch.uint8))


def test_coco_results_are_what_pycocotools_reads(predictor, tmp_path):
    photos = [photo(tmp_path / f"{number:012d}.png", (200, 100)) for number in (139, 285)]
    truth = {
        "images": [{"id": number, "width": 200, "height": 100} for number in (139, 285)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 285, "category_id": 8, "bbox": [0, 0, 100, 50], "area": 5000, "iscrowd": 0}
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))

    list(predict_files(predictor, photos, tmp_path / "out", coco_results=tmp_path / "results.json"))

    loaded = COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "results.json"))
    [own] = loaded.loadAnns(loaded.getAnnIds(imgIds=[285]))
    assert (own["category_id"], own["bbox"], own["score"]) == (8, [0, 0, 100, 50], pytest.approx(0.9))


def test_images_without_numbers_are_counted_in_coco_results(predictor, tmp_path):
    photos = [photo(tmp_path / name, (20, 20)) for name in ("7.png", "b.png")]

    list(predict_files(predictor, photos, tmp_path / "out", coco_results=tmp_path / "results.json"))

    assert [each["image_id"] for each in json.loads((tmp_path / "results.json").read_text())] == [1, 2]


@pytest.mark.slow
def test_a_fused_predictor_finds_what_the_network_finds(tmp_path, digits):
    torch.manual_seed(0)
    model = INFO.create_detector().eval()
    torch.nn.init.constant_(model.cls_tower.bias, 0.0)
    torch.nn.init.normal_(model.cls_tower.predictor.weight, std=0.3)
    save_weights(tmp_path / "w.safetensors", model.state_dict(), INFO, {})
    predictor = load(tmp_path / "w.safetensors", device="cpu")
    plain, _ = load_model(tmp_path / "w.safetensors")
    files = find_images([digits / "val"])[:3]
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in predictor.model.modules())

    for file in files:
        prepared = predictor.prepare(file)
        [expected] = plain.predict(prepared.pixels[None], score_threshold=0.3)
        expected = to_image(expected, prepared.scale, *prepared.image.shape[-2:])
        result = predictor.predict(file)
        assert len(result) > 0
        assert result.labels.tolist() == expected["labels"].tolist()
        np.testing.assert_allclose(result.boxes, expected["boxes"], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(result.scores, expected["scores"], rtol=1e-4, atol=1e-5)


def test_reading_ahead_keeps_the_order_and_raises_errors_where_they_occur():
    def items():
        yield from range(20)
        raise SpinetError("the end")

    seen = []
    with pytest.raises(SpinetError, match="the end"):
        seen.extend(item for item in iter_into(ahead(items(), 3), seen))

    assert seen == list(range(20))


def iter_into(items, seen):
    for item in items:
        seen.append(item)
    yield from ()


def test_reading_ahead_is_bounded_and_ends_with_its_user():
    made = []

    def items():
        for number in range(1000):
            made.append(number)
            yield number

    reader = ahead(items(), 3)
    assert next(reader) == 0
    reader.close()

    assert len(made) <= 6
