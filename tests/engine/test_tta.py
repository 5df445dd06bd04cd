import json

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from spinet.arch.catalog import load_architecture
from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader
from spinet.data.transforms import EvalTransform
from spinet.engine.coco_metrics import coco_metrics
from spinet.engine.evaluate import EvalOptions, detect, to_image
from spinet.engine.tta import Views, merge, mirror, mirror_back
from spinet.errors import SpinetError
from spinet.models.factory import create_retinanet

CPU = torch.device("cpu")
# Photo of (width, height) -> the white rectangle in it, (left, top, width, height).
PHOTOS = {(96, 64): (8, 16, 24, 32), (64, 96): (40, 8, 16, 24), (80, 80): (0, 48, 32, 32)}


class Brightest(nn.Module):
    """Finds the bright pixels of each image as one object: a detector that mirrors and sizes mean nothing to.

    Its masks are where the object is blue too.
    """

    def __init__(self, *, masks=False):
        super().__init__()
        self.masks = masks
        self.seen = []

    def predict(self, images):
        self.seen.append(images)
        return [self.find(image) for image in images]

    def find(self, image):
        rows, columns = (torch.nonzero((image[:2].mean(dim=0) > 1).any(dim=axis))[:, 0] for axis in (1, 0))
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found = {
            "boxes": torch.tensor([box], dtype=torch.float32),
            "scores": torch.tensor([0.9]),
            "labels": torch.tensor([0]),
        }
        if self.masks:
            left, top, right, bottom = (int(side) for side in box)
            blue = (image[2:, top:bottom, left:right] > 1).float()
            found["masks"] = functional.interpolate(blue[None], (28, 28))[0]
            # Surer where the blue half is seen on the right.
            found["scores"] += 0.05 * (found["masks"][..., 14:].mean() - found["masks"][..., :14].mean())
        return found


@pytest.fixture
def photos(tmp_path):
    """Black photos with a rectangle each, whose left half is white and right half yellow."""
    images, annotations = [], []
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations").mkdir()
    for number, ((width, height), (left, top, wide, high)) in enumerate(PHOTOS.items(), start=1):
        photo = Image.new("RGB", (width, height))
        photo.paste((255, 255, 0), (left, top, left + wide, top + high))
        photo.paste((255, 255, 255), (left, top, left + wide // 2, top + high))
        photo.save(tmp_path / "val" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        box = {"bbox": [left, top, wide, high], "area": wide * high, "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": 7, **box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "white"}]}
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return CocoDataset(tmp_path, "val")


def looked(model, dataset, views, image_size=96, batch_size=2):
    return detect(model, dataset, EvalOptions(image_size, batch_size, CPU, views=views))


def boxes_of(results):
    return {result["image_id"]: pytest.approx(result["bbox"], abs=1.5) for result in results}


def test_one_plain_view_gives_exactly_what_the_network_predicts(digits):
    torch.manual_seed(0)
    model = create_retinanet(load_architecture("tiny"), 3)
    nn.init.constant_(model.cls_tower.bias, -1.0)  # so that an untrained network finds something
    dataset = CocoDataset(digits, "val")

    results = looked(model, dataset, Views(), image_size=64, batch_size=3)

    expected = []
    for batch in eval_loader(dataset, EvalTransform(64), batch_size=3):
        rows = zip(model.eval().predict(batch.images), batch.scales, batch.sizes.tolist(), strict=True)
        expected += [to_image(found, scale, *size) for found, scale, size in rows]
    assert len(results) > 100
    assert [result["score"] for result in results] == torch.cat([found["scores"] for found in expected]).tolist()
    corners = torch.cat([found["boxes"] for found in expected])
    corners[:, 2:] -= corners[:, :2]
    assert [result["bbox"] for result in results] == corners.tolist()


@pytest.mark.slow
def test_more_views_of_a_real_network_change_what_is_found(digits):
    torch.manual_seed(0)
    model = create_retinanet(load_architecture("tiny"), 3)
    nn.init.constant_(model.cls_tower.bias, -1.0)
    dataset = CocoDataset(digits, "val")

    plain, mirrored, scaled = (
        looked(model, dataset, views, image_size=64) for views in (Views(), Views(True), Views(scales=(1.0, 1.5)))
    )

    assert plain != mirrored
    assert plain != scaled
    assert all(0 <= value <= 64 for result in mirrored + scaled for value in result["bbox"])


@pytest.mark.parametrize("views", [Views(True), Views(scales=(0.5, 1.0, 1.5)), Views(True, (0.75, 1.25))])
def test_a_detector_to_which_views_mean_nothing_finds_every_object_once_where_it_is(photos, views):
    results = looked(Brightest(), photos, views)

    assert boxes_of(results) == {number: list(box) for number, box in enumerate(PHOTOS.values(), start=1)}
    assert {result["category_id"] for result in results} == {7}


def test_a_mirrored_view_alone_is_exact_where_the_photo_keeps_its_pixels(photos):
    # 96 is the long side of the first two photos; the third one is resized.
    results = looked(Brightest(), photos, Views(flip=True))

    assert [result["bbox"] for result in results[:2]] == [[8, 16, 24, 32], [40, 8, 16, 24]]


def test_the_network_sees_photos_at_the_left_with_their_padding_at_the_right(photos):
    model = Brightest()

    looked(model, photos, Views(flip=True), batch_size=3)

    plain, mirrored = model.seen
    # The second photo is 64 of 96 pixels wide.
    torch.testing.assert_close(mirrored[1, :, :, :64], plain[1, :, :, :64].flip(-1))
    assert not mirrored[1, :, :, 64:].any()


def test_every_scale_is_resized_from_the_photo(photos):
    model = Brightest()

    looked(model, photos, Views(scales=(0.5, 1.0, 1.25)), batch_size=3)

    assert [tuple(images.shape) for images in model.seen] == [(3, 3, size, size) for size in (48, 96, 120)]


def test_a_mask_found_in_the_mirror_image_is_turned_back(photos):
    plain, mirrored = (looked(Brightest(masks=True), photos, views) for views in (Views(), Views(True)))

    # White, and so blue, is the left half. The mirror image shows it on the right and wins.
    assert [result["score"] for result in plain] == pytest.approx([0.85] * 3, abs=0.01)
    assert [result["score"] for result in mirrored] == pytest.approx([0.95] * 3, abs=0.01)
    truth = photos.ground_truth()
    for annotation, result in zip(truth["annotations"], plain, strict=True):
        annotation["segmentation"] = result["segmentation"]
    assert coco_metrics(truth, mirrored)["mask/AP"] == pytest.approx(1.0)


def test_a_box_of_the_mirror_image_is_as_far_from_the_other_side():
    masks = torch.arange(4.0).reshape(1, 2, 2)
    found = {
        "boxes": torch.tensor([[10.0, 20, 30, 60]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([2]),
        "masks": masks,
    }

    back = mirror_back(found, 100)

    assert back["boxes"].tolist() == [[70, 20, 90, 60]]
    assert back["masks"].tolist() == [[[1, 0], [3, 2]]]
    assert (back["scores"].item(), back["labels"].item()) == (0.5, 2)
    assert mirror_back(back, 100)["boxes"].tolist() == found["boxes"].tolist()


def test_mirroring_twice_gives_the_photo_again():
    images = torch.zeros(2, 3, 8, 8)
    images[0, :, :, :5] = torch.rand(3, 8, 5)
    images[1] = torch.rand(3, 8, 8)

    assert torch.equal(mirror(mirror(images, [5, 8]), [5, 8]), images)


def look(*objects):
    """Detections from (box, score, label); the mask of each is filled with its score."""
    boxes, scores, labels = zip(*objects, strict=True)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels),
        "masks": torch.tensor(scores)[:, None, None].expand(-1, 2, 2),
    }


def test_of_overlapping_boxes_of_one_class_the_best_of_all_views_is_kept_with_its_mask():
    one = look(([0, 0, 10, 10], 0.6, 0), ([50, 50, 60, 60], 0.5, 1))
    other = look(([0, 0, 10, 9], 0.8, 0), ([0, 0, 10, 10], 0.7, 1))

    merged = merge([one, other])

    # The overlap of the first boxes is 0.9; the third one is of another class.
    assert merged["scores"].tolist() == pytest.approx([0.8, 0.7, 0.5])
    assert merged["labels"].tolist() == [0, 1, 1]
    assert merged["boxes"][0].tolist() == [0, 0, 10, 9]
    assert merged["masks"][:, 0, 0].tolist() == pytest.approx([0.8, 0.7, 0.5])


def test_boxes_that_overlap_by_less_than_the_threshold_are_both_kept():
    looks = [look(([0, 0, 10, 10], 0.6, 0)), look(([0, 0, 10, 6], 0.8, 0))]

    assert len(merge(looks)["scores"]) == 1
    assert len(merge(looks, nms_threshold=0.7)["scores"]) == 2
    assert merge(looks, nms_threshold=0.7, max_detections=1)["scores"].tolist() == pytest.approx([0.8])


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0), (float("nan"),), (float("inf"),)])
def test_scales_that_are_none_are_refused(scales):
    with pytest.raises(SpinetError, match="must be one or more finite numbers above 0"):
        Views(scales=scales)
