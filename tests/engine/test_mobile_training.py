"""The mobile detectors of both sources train, with their own squeeze and excitation, decay and activation."""

from dataclasses import replace

import pytest
import torch

from spinet.engine.checkpoint import load_model
from spinet.engine.train import train
from spinet.recipes import RECIPES
from spinet.recipes_published import change


def settings(name, short):
    """A published recipe on the generated photos for a step or two."""
    config = change(RECIPES[name].config, {"data.image_size": 128, "optim.schedule": "cosine"})
    data = replace(config.data, root=short.data.root, workers=0, cache_images=True)
    brief = {"epochs": 0.25, "batch_size": 2, "eval_epochs": 0.0, "device": "cpu", "log_steps": 1}
    return change(replace(config, data=data), brief)


@pytest.mark.parametrize(
    "size", ["49xs", pytest.param("49s", marks=pytest.mark.slow), pytest.param("49", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("suffix", ["", "-mg"])
@pytest.mark.slow
def test_a_mobile_detector_of_either_source_trains_a_step_and_loads(short, tmp_path, size, suffix):
    config = settings(f"retinanet-spinenet{size}-mobile{suffix}", short)

    result = train(config, tmp_path / "run", quiet=True)
    model, info = load_model(tmp_path / "run")

    assert result.steps == 2
    assert info.model.squeeze_mode == ("mg" if suffix else "tpu")
    weights = [value for value in model.state_dict().values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in weights)
    assert all(flow.isfinite().all() for flow in model(torch.zeros(1, 3, 128, 128)))
