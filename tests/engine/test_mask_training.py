"""Training of detectors with masks: the same loop, on data with outlines."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spinet.arch.catalog import load_architecture
from spinet.doctor.anchors import AnchorShapes
from spinet.engine.build import create_model
from spinet.engine.checkpoint import load_model
from spinet.engine.compiling import compile_for_training
from spinet.engine.config import ModelConfig, TrainConfig
from spinet.engine.task import Detection, Segmentation, detector_settings
from spinet.engine.train import train
from spinet.errors import SpinetError

HEADS = ("faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn")


@pytest.fixture
def config(mask_config: TrainConfig) -> TrainConfig:
    return mask_config


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.slow
def test_every_two_stage_head_trains_is_measured_and_loads(config, tmp_path, head):
    config = replace(config, epochs=0.5, eval_epochs=0, model=replace(config.model, head=head))

    result = train(config, tmp_path / "run", quiet=True)

    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    masks = "mask" in head
    assert ("loss/mask" in lines[0]) == masks
    assert {"loss/proposal_class", "loss/proposal_box", "loss/class", "loss/box"} <= lines[0].keys()
    assert ("mask/AP50" in result.last) == masks
    model, info = load_model(tmp_path / "run")
    assert (info.kind, info.model.head) == ("detector", head)
    [found] = model.predict(torch.zeros(1, 3, 64, 64), score_threshold=0.0)
    assert ("masks" in found) == masks


@pytest.mark.slow
def test_masks_are_learnt(config, tmp_path):
    config = replace(
        config, epochs=80, eval_epochs=0, optim=replace(config.optim, lr=3.0, warmup_epochs=4, ema_decay=0.0)
    )

    result = train(config, None, quiet=True)

    assert result.last["mask/AP50"] > 0.5


def test_masks_without_a_pixel_are_found_before_training(config, kites):
    file = kites / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = [[-9, -9, -5, -9, -5, -5]]
    file.write_text(json.dumps(content))
    task = Segmentation()

    findings = task.findings(config, task.open(config, "train"), task.open(config, "val"))

    [text] = [finding.text for finding in findings if finding.check == "masks without a pixel"]
    assert text.startswith("train: 1 of 8 masks without a pixel, such as train/1.png; redraw them")


def test_anchors_are_judged_with_the_octaves_ratios_and_levels_of_the_network():
    model = ModelConfig(head="mask-rcnn", arch="tiny", octaves=1, aspect_ratios=(1.0,))

    shapes = [detector_settings(TrainConfig(model=replace(model, arch=arch))).shapes for arch in ("tiny", "resnet50")]
    assert shapes[0] == AnchorShapes(1, (1.0,), (3, 4, 5))
    assert shapes[1].levels == (5,)


def test_training_hands_its_anchors_over(config, kites):
    task, texts = Detection(), []
    for octaves in (1, 8):
        model = replace(config.model, octaves=octaves, aspect_ratios=(1.0,), anchor_scale=1.4)
        settings = replace(config, model=model)
        findings = task.findings(settings, task.open(settings, "train"), task.open(settings, "val"))
        texts.append([finding.text for finding in findings if finding.check == "anchors"])

    assert texts[0] != texts[1]


def test_data_without_outlines_are_refused_before_training(config, kites, tmp_path):
    file = kites / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        del entry["segmentation"]
    file.write_text(json.dumps(content))

    with pytest.raises(SpinetError, match=r"has no masks; Mask R-CNN needs"):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.slow
def test_the_command_line_measures_views_and_writes_outlines(spinet, config, tmp_path):
    run = tmp_path / "run"
    train(replace(config, epochs=0.5, eval_epochs=0), run, quiet=True)

    code, out, _ = spinet("evaluate", run, "--device", "cpu", "--flip", "--scales", 0.5, 1, "--json")
    assert code == 0
    assert {"AP", "mask/AP"} <= json.loads(out).keys()

    photo = Path(config.data.root) / "val" / "1.png"
    code, _, _ = spinet("predict", run, photo, "--out", tmp_path / "out", "--score", 0.01, "--device", "cpu")
    assert code == 0
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert all(found["segmentation"]["size"] == [64, 64] for found in entry["detections"])


@pytest.mark.slow
def test_views_that_make_no_sense_are_one_sentence(spinet, config, tmp_path):
    run = tmp_path / "run"
    train(replace(config, epochs=0.5, eval_epochs=0), run, quiet=True)

    code, _, said = spinet("evaluate", run, "--device", "cpu", "--scales", -1)
    assert code == 1
    assert "scales are (-1.0,); must be one or more finite numbers above 0" in said


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.slow
def test_other_classes_start_new_predictors_on_the_old_features(config, kites, tmp_path, head):
    short = replace(config, epochs=0.5, eval_epochs=0, model=replace(config.model, head=head))
    train(short, tmp_path / "first", quiet=True)
    for split in ("train", "val"):
        file = kites / "annotations" / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["categories"] = [{"id": 1, "name": "dragon"}, {"id": 2, "name": "bird"}]
        file.write_text(json.dumps(content))
    model = replace(short.model, weights=str(tmp_path / "first"))

    with pytest.raises(SpinetError, match="turn on model.new_classes to train a new class predictor"):
        train(replace(short, model=model), tmp_path / "refused", quiet=True)
    still = replace(short, model=replace(model, new_classes=True), optim=replace(short.optim, lr=0.0))
    train(still, tmp_path / "second", quiet=True)

    old, new = (load_file(tmp_path / name / "last.safetensors") for name in ("first", "second"))
    assert new["box_heads.0.cls_score.weight"].shape[0] == 3
    shared = "box_heads.0.fc.weight"
    assert torch.equal(old[shared], new[shared])


@pytest.mark.slow
def test_masks_are_put_on_a_detector_of_boxes(config, tmp_path, capsys):
    short = replace(config, epochs=0.5, eval_epochs=0, model=replace(config.model, head="faster-rcnn"))
    train(short, tmp_path / "boxes", quiet=True)
    capsys.readouterr()
    model = replace(config.model, weights=str(tmp_path / "boxes"))

    train(replace(short, model=model, optim=replace(short.optim, lr=0.0)), tmp_path / "masks")

    assert (
        f"weights: from {tmp_path / 'boxes'}, except mask_head, which are newly initialized" in capsys.readouterr().out
    )
    old, new = (load_file(tmp_path / name / "last.safetensors") for name in ("boxes", "masks"))
    same = [name for name in old if "norm" not in name and "num_batches" not in name]
    assert all(torch.equal(old[name], new[name]) for name in same)


def test_the_background_of_published_classes_is_not_for_ones_own(config, tmp_path):
    boxes = replace(config, model=replace(config.model, head="retinanet", background=True))

    with pytest.raises(SpinetError, match="first class is 'background'; here it is 'kite'"):
        train(boxes, tmp_path / "run", quiet=True)
    with pytest.raises(
        SpinetError, match=r"model.background is not supported by head 'mask-rcnn', only by retinanet and"
    ):
        replace(config, model=replace(config.model, background=True))
    with pytest.raises(SpinetError, match=r"model.roi_align is not supported by head 'retinanet', only by faster-rcnn"):
        replace(config, model=replace(config.model, head="retinanet", roi_align="google"))


@pytest.mark.slow
# PyTorch's own remark on inputs of a compiled part that another part has made.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("head", ["retinanet", "mask-rcnn"])
def test_compiling_reaches_every_kind_of_network(config, head):
    frames = []

    def backend(graph, inputs):
        frames.append(graph)
        return graph.forward

    network = create_model(load_architecture("tiny"), replace(config.model, head=head), 1)
    torch._dynamo.reset()
    compile_for_training(network, backend)
    masks = {"masks": torch.ones(2, 1, 112, 112, dtype=torch.uint8)} if head == "mask-rcnn" else {}
    boxes = torch.tensor([[[8.0, 8.0, 40.0, 40.0]]]).repeat(2, 1, 1)
    network.losses(torch.rand(2, 3, 64, 64), {"boxes": boxes, "labels": torch.zeros(2, 1, dtype=torch.int64), **masks})
    assert frames
