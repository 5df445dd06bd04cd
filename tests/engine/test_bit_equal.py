"""Training of every kind of model ends bit-equal when it is resumed or augmented elsewhere."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from spinet.engine.config import TrainConfig
from spinet.engine.loop import TrainRun
from spinet.engine.train import train


@pytest.fixture(params=["classifier_config", pytest.param("mask_config", marks=pytest.mark.slow)])
def config(request) -> TrainConfig:
    return request.getfixturevalue(request.param)


def assert_equal_weights(first, second):
    one, other = (load_file(folder / "last.safetensors") for folder in (first, second))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_a_run_that_is_stopped_and_resumed_ends_bit_equal(config, tmp_path, monkeypatch):
    config = replace(config, epochs=min(config.epochs, 4))
    train(config, tmp_path / "whole", quiet=True)
    step, middle = TrainRun.step, round(config.epochs) * 3 // 2

    def stop_once(self, batches):
        if self.state.step == middle and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        step(self, batches)

    monkeypatch.setattr(TrainRun, "step", stop_once)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", quiet=True)
    train(config, tmp_path / "parts", quiet=True)

    assert_equal_weights(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_augmented_on_the_device_ends_bit_equal(config, tmp_path, workers):
    config = replace(config, epochs=1, data=replace(config.data, colour_jitter=0.3))
    on_device = replace(config.data, augment_on="device", workers=workers)

    train(config, tmp_path / "workers", quiet=True)
    train(replace(config, data=on_device), tmp_path / "device", quiet=True)

    assert_equal_weights(tmp_path / "workers", tmp_path / "device")
