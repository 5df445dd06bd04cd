import contextlib
import io
import json
import math

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from spinet.arch.catalog import load_architecture
from spinet.data.coco import CocoDataset
from spinet.engine.checkpoint import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.engine.distributed import Processes
from spinet.engine.evaluate import METRICS, check_classes, coco_metrics, detect, evaluate, mean_loss
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


def oracle(truth, results):
    """The twelve numbers of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = json.loads(json.dumps(truth))
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(json.loads(json.dumps(results))), "bbox")
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
    results = detect(
        Oracle(dataset, 256), dataset, image_size=256, batch_size=4, device=torch.device("cpu"), processes=Processes()
    )
    boxes = torch.tensor([result["bbox"] for result in results])
    boxes[:, 2:] += boxes[:, :2]
    expected = torch.cat([sample.boxes for sample in dataset.samples])
    torch.testing.assert_close(boxes, expected, atol=0.1, rtol=0)


def test_evaluating_leaves_the_model_in_the_mode_it_was_in(digits, config):
    dataset = CocoDataset(digits, "val")
    model = model_info(config, dataset).create_model().train()
    metrics = evaluate(model, dataset, image_size=64, batch_size=3, device=torch.device("cpu"))
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
    place = torch.device("cpu")
    metrics = evaluate(oracle, dataset, image_size=64, batch_size=3, device=place, category_ids=info.category_ids)
    assert metrics["AP"] == pytest.approx(1.0)


def test_other_classes_than_the_networks_are_refused_with_both_counts(digits, config):
    dataset = CocoDataset(digits, "val")
    info = model_info(config, dataset)
    other = ModelInfo(info.architecture, ModelConfig(), ("cat", "dog"), (1, 2), 64)
    check_classes(info, dataset, "runs/mine")
    more = ModelInfo(info.architecture, ModelConfig(), tuple("abcd"), (*dataset.category_ids, 77), 64)
    with pytest.raises(SpinetError, match=r"runs/mine was trained on 4 classes \(a, b, c, ...\), but .* has 3 \(zero,"):
        check_classes(more, dataset, "runs/mine")
    with pytest.raises(SpinetError, match=r"runs/mine was trained on 2 classes \(cat, dog\), but .* has 3 \(zero,"):
        check_classes(other, dataset, "runs/mine")


def test_the_mean_loss_is_that_of_the_images_without_chance_and_leaves_the_mode(digits, config):
    dataset = CocoDataset(digits, "val").subset(range(3))
    torch.manual_seed(0)
    model = model_info(config, dataset).create_model().train()
    settings = {"image_size": 64, "device": torch.device("cpu")}

    whole = mean_loss(model, dataset, batch_size=1, **settings)

    single = [mean_loss(model, dataset.subset([index]), batch_size=1, **settings) for index in range(3)]
    assert whole == pytest.approx(sum(single) / 3, rel=1e-6)
    assert mean_loss(model, dataset, batch_size=2, **settings) == mean_loss(model, dataset, batch_size=2, **settings)
    assert model.training
