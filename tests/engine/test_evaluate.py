import contextlib
import io
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from spinet.arch.catalog import load_architecture
from spinet.data.coco import CocoDataset
from spinet.data.loader import eval_loader, train_loader
from spinet.data.masks import decode_columns, encode_columns, read_mask
from spinet.data.transforms import EvalTransform, TrainTransform
from spinet.engine.build import ModelInfo
from spinet.engine.coco_metrics import METRICS, coco_metrics
from spinet.engine.config import ModelConfig
from spinet.engine.evaluate import EvalOptions, check_classes, detect, evaluate, mean_loss, to_image
from spinet.engine.train import model_info
from spinet.errors import SpinetError


def as_detections(truth):
    """Ground truth as detections of score 1, crowd regions left out."""
    keys = ("image_id", "category_id", "bbox")
    return [
        {key: entry[key] for key in keys} | {"score": 1.0} for entry in truth["annotations"] if not entry["iscrowd"]
    ]


def shaken(truth, seed, categories):
    """Ground truth moved, resized, relabelled, dropped and doubled by chance, with random scores."""
    generator = torch.Generator().manual_seed(seed)
    results = []
    for entry in as_detections(truth):
        for _ in range(int(torch.randint(0, 3, (1,), generator=generator))):
            noise = torch.randn(4, generator=generator) * 0.15
            x, y, width, height = entry["bbox"]
            box = [x + noise[0].item() * width, y + noise[1].item() * height]
            box += [width * math.exp(noise[2].item()), height * math.exp(noise[3].item())]
            draw = torch.rand(2, generator=generator).tolist()
            category = entry["category_id"] if draw[0] < 0.8 else categories[int(draw[0] * 100) % len(categories)]
            results.append(entry | {"bbox": box, "category_id": category, "score": draw[1]})
    return results


def oracle(truth, results, kind="bbox"):
    """The twelve numbers of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = json.loads(json.dumps(truth))
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(json.loads(json.dumps(results))), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [math.nan if value < 0 else value for value in evaluation.stats.tolist()]


def test_the_ground_truth_as_detections_has_an_ap_of_one(digits):
    truth = CocoDataset(digits, "val").ground_truth()
    metrics = coco_metrics(truth, as_detections(truth))
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["AP50"] == pytest.approx(1.0)
    assert all(value == pytest.approx(1.0) or math.isnan(value) for key, value in metrics.items() if "AP" in key)


@pytest.mark.parametrize("name", ["bccd", "cocomini"])
def test_the_ground_truth_of_real_photos_has_an_ap_of_one(real_photos, name):
    truth = CocoDataset(real_photos(name), "val").ground_truth()
    assert coco_metrics(truth, as_detections(truth))["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_every_number_equals_pycocotools_on_generated_photos(digits, seed):
    dataset = CocoDataset(digits, "val")
    truth = dataset.ground_truth()
    results = shaken(truth, seed, dataset.category_ids)
    assert_equal(coco_metrics(truth, results), oracle(truth, results))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bccd", "cocomini", "aquarium"])
def test_every_number_equals_pycocotools_on_real_photos_with_crowds(real_photos, name):
    dataset = CocoDataset(real_photos(name), "val")
    truth = dataset.ground_truth()
    results = shaken(truth, 0, dataset.category_ids)
    assert_equal(coco_metrics(truth, results), oracle(truth, results))


def assert_equal(metrics, expected):
    for name, value in zip(METRICS, expected, strict=True):
        assert metrics[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name


def test_no_detections_are_an_ap_of_zero(digits):
    metrics = coco_metrics(CocoDataset(digits, "val").ground_truth(), [])
    assert metrics["AP"] == 0
    assert metrics["AR100"] == 0


def test_every_class_has_its_own_ap_and_their_mean_is_the_ap(digits):
    dataset = CocoDataset(digits, "val")
    truth = dataset.ground_truth()
    metrics = coco_metrics(truth, shaken(truth, 1, dataset.category_ids))
    known = [metrics[f"AP/{name}"] for name in dataset.class_names if not math.isnan(metrics[f"AP/{name}"])]
    assert metrics["AP"] == pytest.approx(sum(known) / len(known))


class Oracle(torch.nn.Module):
    """Finds what the batch's targets say; stands for a perfect detector, in the pixels of the network's input."""

    def __init__(self, dataset, image_size):
        super().__init__()
        self.found = []
        for sample in dataset.samples:
            scale = image_size / max(sample.width, sample.height)
            scores = torch.ones(len(sample.labels))
            self.found.append({"boxes": sample.boxes * scale, "scores": scores, "labels": sample.labels})

    def predict(self, images):
        batch, self.found = self.found[: len(images)], self.found[len(images) :]
        return batch


def test_boxes_come_back_in_the_pixels_of_the_original_photos(real_photos):
    dataset = CocoDataset(real_photos("bccd"), "val")
    dataset.samples = dataset.samples[:6]
    results = detect(Oracle(dataset, 256), dataset, EvalOptions(256, 4))
    boxes = torch.tensor([result["bbox"] for result in results])
    boxes[:, 2:] += boxes[:, :2]
    expected = torch.cat([sample.boxes for sample in dataset.samples])
    torch.testing.assert_close(boxes, expected, atol=0.1, rtol=0)


def test_evaluating_leaves_the_model_in_the_mode_it_was_in(digits, config):
    dataset = CocoDataset(digits, "val")
    model = model_info(config, dataset).create_model().train()
    metrics = evaluate(model, dataset, EvalOptions(64, 3)).metrics
    assert model.training
    assert set(METRICS) < set(metrics)


def test_a_network_that_knows_more_classes_is_judged_on_those_of_the_data(digits):
    dataset = CocoDataset(digits, "val")
    names = ("background", *dataset.class_names, "stray")
    info = ModelInfo(load_architecture("tiny"), ModelConfig(), names, (0, *dataset.category_ids, 77), 64)
    check_classes(info, dataset, "converted")
    oracle = Oracle(dataset, 64)
    for found in oracle.found:
        stray = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "scores": torch.ones(1), "labels": torch.tensor([4])}
        found["labels"] = found["labels"] + 1
        found |= {key: torch.cat([found[key], value]) for key, value in stray.items()}
    metrics = evaluate(oracle, dataset, EvalOptions(64, 3), info.category_ids).metrics
    assert metrics["AP"] == pytest.approx(1.0)


def test_other_classes_than_the_networks_are_refused_with_both_counts(digits, config):
    dataset = CocoDataset(digits, "val")
    info = model_info(config, dataset)
    other = ModelInfo(info.architecture, ModelConfig(), ("cat", "dog"), (1, 2), 64)
    check_classes(info, dataset, "runs/mine")
    more = ModelInfo(info.architecture, ModelConfig(), tuple("abcd"), (*dataset.category_ids, 77), 64)
    with pytest.raises(
        SpinetError, match=r"runs/mine was trained on 4 classes \(a, b, c and 1 more\), but .* has 3 \(zero,"
    ):
        check_classes(more, dataset, "runs/mine")
    with pytest.raises(SpinetError, match=r"runs/mine was trained on 2 classes \(cat, dog\), but .* has 3 \(zero,"):
        check_classes(other, dataset, "runs/mine")


def test_the_mean_loss_is_that_of_the_images_without_chance_and_leaves_the_mode(digits, config):
    dataset = CocoDataset(digits, "val").subset(range(3))
    torch.manual_seed(0)
    model = model_info(config, dataset).create_model().train()
    whole = mean_loss(model, dataset, EvalOptions(64, 1))

    single = [mean_loss(model, dataset.subset([index]), EvalOptions(64, 1)) for index in range(3)]
    assert whole == pytest.approx(sum(single) / 3, rel=1e-6)
    assert mean_loss(model, dataset, EvalOptions(64, 2)) == mean_loss(model, dataset, EvalOptions(64, 2))
    assert model.training


def as_mask_results(truth, seed=None, categories=()):
    """The masks of the ground truth as results without boxes; with a seed moved, relabelled, dropped by chance."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    rng = np.random.default_rng(seed)
    results = []
    for entry in truth["annotations"]:
        if entry["iscrowd"]:
            continue
        height, width = sizes[entry["image_id"]]
        mask = decode_columns(read_mask(entry["segmentation"], height, width), height, width, 0, width).astype(bool)
        for _ in range(1 if seed is None else rng.integers(0, 3)):
            category, score, place = entry["category_id"], 1.0, mask
            if seed is not None:
                score = float(rng.random())
                category = int(rng.choice(categories)) if rng.random() < 0.2 else category
                place = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
            rle = encode_columns(place, 0, 0, height, width)
            results.append(
                {"image_id": entry["image_id"], "category_id": category, "segmentation": rle, "score": score}
            )
    return results


def with_boxes(results):
    """Mask results with the boxes of their masks."""
    return [result | {"bbox": mask_api.toBbox(result["segmentation"]).tolist()} for result in results]


@pytest.mark.parametrize("name", ["cocomini", "nuclei"])
@pytest.mark.slow
def test_every_number_of_masks_equals_pycocotools_on_real_photos(real_photos, name):
    dataset = CocoDataset(real_photos(name), "val").subset(range(30))
    truth = dataset.ground_truth()
    results = as_mask_results(truth, seed=0, categories=dataset.category_ids)

    metrics = coco_metrics(truth, with_boxes(results))

    numbers = {key.removeprefix("mask/"): value for key, value in metrics.items() if key.startswith("mask/")}
    assert_equal(numbers, oracle(truth, results, "segm"))
    assert_equal(metrics, oracle(truth, [result | {"segmentation": []} for result in with_boxes(results)]))
    assert 0.05 < metrics["mask/AP"] < 0.95
    assert set(numbers) == {key for key in metrics if not key.startswith("mask/")}
    assert all(f"mask/AP/{name}" in metrics for name in dataset.class_names)


def test_boxes_are_measured_as_ever_where_results_have_masks(digits):
    truth = CocoDataset(digits, "val").ground_truth()
    results = with_boxes(as_mask_results(truth, seed=1, categories=(1, 2, 3)))

    both = coco_metrics(truth, results)
    alone = coco_metrics(truth, [{key: entry[key] for key in entry if key != "segmentation"} for entry in results])

    assert "mask/AP" not in alone
    assert both == pytest.approx(both | alone, nan_ok=True)


def test_no_found_masks_are_a_mask_ap_of_zero_and_boxes_alone_have_none(digits):
    truth = CocoDataset(digits, "val").ground_truth()

    assert coco_metrics(truth, [], masks=True)["mask/AP"] == 0
    assert not any(key.startswith("mask/") for key in coco_metrics(truth, as_detections(truth)))


def test_found_masks_are_not_measured_on_a_truth_of_boxes_and_objects_without_a_mask_are_left_out(digits):
    truth = CocoDataset(digits, "val").ground_truth()
    results = with_boxes(as_mask_results(truth))
    boxes = [{key: entry[key] for key in entry if key != "segmentation"} for entry in truth["annotations"]]

    metrics = coco_metrics(truth | {"annotations": boxes}, results)
    assert metrics["AP"] == pytest.approx(1.0)
    assert "mask/AP" not in metrics

    some = coco_metrics(truth | {"annotations": [*truth["annotations"][1:], boxes[0]]}, results)
    assert 0.9 < some["mask/AR100"] == pytest.approx(some["AR100"])
    with pytest.raises(SpinetError, match=r"^an annotation of image \d+, \[.*\], has no segmentation; "):
        coco_metrics(truth | {"annotations": [*truth["annotations"][:1], *boxes[1:]]}, results)


@pytest.mark.parametrize("ids", [(1, 2), (2**62 + 1, 2), (2**62, 2**62 + 1), (2**53 + 1, 2**53), (10**40 + 1, 10**40)])
def test_ids_that_are_equal_as_doubles_are_no_confusion_in_the_metric(ids):
    def entries(images, categories):
        pairs = zip(images, categories, strict=True)
        return [
            {"image_id": image, "category_id": category, "bbox": [1, 1, 9, 9], "score": 1.0, "area": 81, "iscrowd": 0}
            for image, category in pairs
        ]

    truth = {
        "images": [{"id": id_, "width": 20, "height": 20} for id_ in ids],
        "categories": [{"id": id_, "name": str(id_)} for id_ in ids],
        "annotations": [entry | {"id": k} for k, entry in enumerate(entries(ids, ids), start=1)],
    }

    assert coco_metrics(truth, entries(ids, ids))["AP"] == pytest.approx(1.0)
    assert coco_metrics(truth, entries(ids[::-1], ids))["AP"] == 0
    assert coco_metrics(truth, entries(ids, ids[::-1]))["AP"] == 0


def test_classes_of_one_name_are_told_apart_by_their_ids(digits):
    truth = CocoDataset(digits, "val").ground_truth()
    for category, name in zip(truth["categories"], ("part", "whole", "part"), strict=True):
        category["name"] = name

    metrics = coco_metrics(truth, as_detections(truth))

    assert [name for name in metrics if name.startswith("AP/")] == ["AP/part (1)", "AP/whole", "AP/part (3)"]


class MaskOracle(Oracle):
    """Finds the masks of the batch's targets too, as coarse as a network's."""

    def __init__(self, dataset, image_size):
        super().__init__(dataset, image_size)
        for found, batch in zip(self.found, eval_loader(dataset, EvalTransform(image_size), batch_size=1), strict=True):
            real = batch.targets["labels"] >= 0
            found["boxes"] = batch.targets["boxes"][real]
            found["masks"] = torch.nn.functional.avg_pool2d(batch.targets["masks"][real].float()[:, None], 4)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("nuclei", 0.97), ("cocomini", 0.97)])
def test_masks_come_back_to_the_original_photos(real_photos, name, least):
    dataset = CocoDataset(real_photos(name), "val", masks=True).subset(range(20))

    metrics = evaluate(MaskOracle(dataset, 256), dataset, EvalOptions(256, 4)).metrics

    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["mask/AP"] > least
    assert metrics["mask/AP50"] == pytest.approx(1.0)


def test_a_mask_that_reaches_out_of_the_photo_is_cut_off_and_not_pressed_into_it():
    # The left half of the box is the object, and the box reaches as far out of the photo as it lies inside.
    found = {"boxes": torch.tensor([[20.0, 0, 60, 20]]), "scores": torch.ones(1), "labels": torch.zeros(1).long()}
    found["masks"] = torch.zeros(1, 4, 4)
    found["masks"][:, :, :2] = 1

    placed = to_image(found, torch.tensor([0.5, 0.5]), 40, 80)

    assert placed["boxes"].tolist() == [[40, 0, 80, 40]]
    assert mask_api.toBbox(placed["masks"]).tolist() == [[40, 0, 40, 40]]


def test_the_mean_loss_is_given_masks_where_the_data_set_has_them(digits):
    class Sum(torch.nn.Module):
        def losses(self, images, targets):
            return {"mask": targets["masks"].float().sum() + 0 * images.sum(), "one": torch.tensor(1.0)}

    dataset = CocoDataset(digits, "val", masks=True)
    expected = sum(
        batch.targets["masks"].float().sum().item() + 1
        for batch in eval_loader(dataset, EvalTransform(64), batch_size=1)
    )

    total = mean_loss(Sum(), dataset, EvalOptions(64, 1))

    assert total == pytest.approx(expected / len(dataset))


@pytest.mark.slow
def test_a_real_mask_rcnn_learns_from_the_masks_and_is_measured_on_them(digits, config):
    dataset = CocoDataset(digits, "val", masks=True)
    torch.manual_seed(0)
    settings = replace(config, model=ModelConfig(arch="tiny", head="mask-rcnn"))
    model = model_info(settings, dataset).create_model()
    options = EvalOptions(64, 4)
    [batch] = itertools.islice(train_loader(dataset, TrainTransform(64), batch_size=4, seed=0), 1)

    losses = model.losses(batch.images, batch.targets)
    metrics = evaluate(model, dataset, options).metrics

    assert losses["mask"] > 0
    assert {f"mask/{name}" for name in METRICS} < set(metrics)
    assert math.isfinite(metrics["mask/AP"])
    assert mean_loss(model, dataset, options) > 0
