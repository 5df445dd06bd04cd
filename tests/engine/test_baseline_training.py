"""Baselines go through the same training, checkpoints and reloading as our own networks."""

from dataclasses import replace

import pytest
import torch

from spinet.arch.baseline import Baseline
from spinet.engine.checkpoint import load_model
from spinet.engine.config import ModelConfig
from spinet.engine.train import train
from spinet.errors import SpinetError

NARROW = Baseline(body="resnet18", neck="nas-fpn", channels=8, repeats=1, head_channels=8, head_convs=1)


@pytest.mark.slow
def test_a_baseline_trains_resumes_and_loads(short, tmp_path):
    (tmp_path / "mine.json").write_text(NARROW.to_json())
    config = replace(short, model=ModelConfig(arch=str(tmp_path / "mine.json")))

    train(config, tmp_path / "run", quiet=True)
    result = train(config, tmp_path / "run", quiet=True)
    model, info = load_model(tmp_path / "run")

    assert result.steps == 2
    assert info.architecture == NARROW
    assert model(torch.zeros(1, 3, 64, 64))[0].shape[-1] == 3


@pytest.mark.slow
def test_a_baseline_refuses_to_train_with_settings_that_it_has_not(short, tmp_path):
    config = replace(short, model=ModelConfig(arch="resnet18-fpn", dropblock=0.1))

    with pytest.raises(SpinetError, match="dropblock is not supported by the baseline resnet18-fpn"):
        train(config, tmp_path / "run", quiet=True)
