"""A training that will take hours says so after its first steps, and one with another scaling is built."""

from dataclasses import replace

import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.data.coco import CocoDataset
from spinet.engine.config import ModelConfig
from spinet.engine.loop import TrainRun
from spinet.engine.progress import Pace
from spinet.engine.train import model_info, train
from spinet.errors import SpinetError


def warnings(seconds_each, first_step, steps, between=0.0):
    """Warnings of a training whose first two steps are slow and all others take so many seconds."""
    now = [0.0]
    pace = Pace(steps, torch.device("cpu"), clock=lambda: now[0])
    found = []
    for step in range(first_step + 1, steps + 1):
        with pace.measured():
            now[0] += seconds_each if step > first_step + 2 else 1000
        found += [(step, text)] if (text := pace.warning(step)) else []
        now[0] += between  # an evaluation
    return found


@pytest.mark.parametrize("first_step", [0, 100])
@pytest.mark.parametrize("between", [0.0, 500.0])
def test_a_long_training_is_warned_of_once_without_slow_first_steps_and_evaluations(first_step, between):
    (warning,) = warnings(10.0, first_step, first_step + 1006, between)
    assert warning[0] == first_step + 6
    assert "1,000 more steps of 10.0 s take about 2.8 h" in warning[1]


@pytest.mark.parametrize("steps", [3, 300])
def test_a_short_training_is_not(steps):
    assert warnings(10.0, 0, steps) == []


def test_an_architecture_takes_the_scaling_of_another(config, digits):
    model = ModelConfig(arch="spinenet49", scaling="spinenet49-quarter")
    network = model_info(replace(config, model=model), CocoDataset(digits, "train")).architecture
    assert network.genotype == load_architecture("spinenet49").genotype
    assert network.scaling == load_architecture("spinenet49-quarter").scaling
    assert network.name == "spinenet49@spinenet49-quarter"


@pytest.mark.parametrize(
    ("arch", "scaling", "words"),
    [
        ("spinenet49", "spinenet49-quarte", "did you mean 'spinenet49-quarter'"),
        ("resnet18-fpn", "spinenet49", "the baseline resnet18-fpn has none to change"),
    ],
)
def test_a_scaling_that_does_not_fit_is_one_sentence(config, digits, arch, scaling, words):
    model = ModelConfig(arch=arch, scaling=scaling)
    with pytest.raises(SpinetError, match=words):
        model_info(replace(config, model=model), CocoDataset(digits, "train"))


@pytest.mark.parametrize(("epochs", "warned"), [(2, True), (20, False)])
def test_a_warm_up_of_most_of_the_training_is_warned_of(config, tmp_path, capsys, monkeypatch, epochs, warned):
    monkeypatch.setattr(TrainRun, "_train", lambda run: None)
    config = replace(config, epochs=epochs, optim=replace(config.optim, warmup_epochs=2))
    train(config, tmp_path / "run")
    text = f"warning: the learning rate rises for 2 epochs and the training has {epochs}; set optim.warmup_epochs to"
    assert (text in capsys.readouterr().out) == warned
