"""Training of classifiers: the same loop, on image folders."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from spinet.engine.checkpoint import load_classifier
from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.distributed import Processes
from spinet.engine.task import Classification
from spinet.engine.train import train
from spinet.errors import SpinetError

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Image folders of three classes that a small network tells apart in seconds."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, colour in COLOURS.items():
            folder = tmp_path / "colours" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + random.normal(0, 30, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "colours"


@pytest.fixture
def config(colours: Path) -> TrainConfig:
    return TrainConfig(
        model=ModelConfig(head="classifier", arch="tiny", bn_momentum=0.2, label_smoothing=0.1),
        data=DataConfig(root=str(colours), image_size=32, workers=0, cache_images=True),
        # 48 calm steps: after 24 at three times the rate one seed in three took a colour for another.
        optim=OptimConfig(lr=1.0, schedule="cosine", warmup_epochs=0.5, ema_decay=0.5),
        epochs=16,
        batch_size=8,
        eval_epochs=2,
        log_steps=1,
        save_seconds=0,
        device="cpu",
    )


def test_a_classifier_learns_colours_and_its_run_folder_holds_it(config, tmp_path):
    result = train(config, tmp_path / "run", quiet=True)

    assert result.best["top1"] >= 0.9
    losses = [loss for _, loss in result.losses]
    assert sum(losses[-3:]) < sum(losses[:3])
    _, info = load_classifier(tmp_path / "run")
    assert (info.task, info.class_names, info.category_ids) == ("classifier", tuple(COLOURS), (1, 2, 3))


@pytest.mark.slow
def test_a_classifier_stopped_and_started_again_ends_bit_equal(config, tmp_path, monkeypatch):
    config = replace(config, epochs=4)
    train(config, tmp_path / "whole", quiet=True)
    from spinet.engine.step import Stepper

    step = Stepper.step

    def stop_at_six(self, batches):
        if self.state.step == 6 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(Stepper, "step", stop_at_six)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", quiet=True)
    train(config, tmp_path / "parts", quiet=True)

    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


@pytest.mark.slow
def test_a_classifier_goes_on_from_another_with_a_new_dense_layer(config, tmp_path):
    train(config, tmp_path / "first", quiet=True)
    source = load_file(tmp_path / "first" / "best.safetensors")
    again = replace(
        config,
        epochs=0.5,
        optim=replace(config.optim, lr=0.0),
        model=replace(config.model, weights=str(tmp_path / "first"), new_classes=True),
    )

    train(again, tmp_path / "second", quiet=True)

    found = load_file(tmp_path / "second" / "last.safetensors")
    assert torch.equal(found["backbone.stem.conv.conv.weight"], source["backbone.stem.conv.conv.weight"])
    assert not torch.equal(found["dense.weight"], source["dense.weight"])


def test_a_classifier_augmented_on_the_device_ends_bit_equal(config, tmp_path):
    config = replace(config, epochs=1, data=replace(config.data, colour_jitter=0.3))
    train(config, tmp_path / "workers", quiet=True)
    train(replace(config, data=replace(config.data, augment_on="device")), tmp_path / "device", quiet=True)

    first, second = (load_file(tmp_path / name / "last.safetensors") for name in ("workers", "device"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_photos_of_a_classifier_are_turned_upside_down_where_the_settings_say_so(config):
    group = Processes(0, 1, 0)
    shown = []
    for flip in (False, True):
        task, settings = Classification(), replace(config, data=replace(config.data, vertical_flip=flip))
        data = task.open(settings, "train")
        shown.append(next(task.batches(settings, data, part_size=24, first_batch=0, group=group)).images)

    same = [torch.equal(plain, flipped) for plain, flipped in zip(*shown, strict=True)]
    turned = [torch.equal(plain.flip(-2), flipped) for plain, flipped in zip(*shown, strict=True)]
    assert all(a != b for a, b in zip(same, turned, strict=True))
    assert any(turned)


def test_a_detection_data_set_is_refused(config, digits, tmp_path):
    with pytest.raises(SpinetError, match="crop-boxes"):
        train(replace(config, data=replace(config.data, root=str(digits))), tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_the_command_line_trains_measures_and_guesses(spinet, config, tmp_path):
    (tmp_path / "config.json").write_text(config.to_json())
    run = tmp_path / "run"
    code, out, _ = spinet("train", tmp_path / "config.json", "--run", run)
    assert code == 0
    assert "model: classifier on tiny" in out

    code, out, _ = spinet("evaluate", run, "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["top1"] >= 0.9

    photo = Path(config.data.root) / "val" / "red" / "0.png"
    code, out, _ = spinet("predict", run, photo, "--out", tmp_path / "out", "--device", "cpu", "--top", 2)
    assert code == 0
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert entry["guesses"][0]["class"] == "red"
    assert len(entry["guesses"]) == 2
