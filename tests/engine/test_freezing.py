"""What is frozen stays bit-equal, and so do the statistics of frozen batch norms."""

from dataclasses import replace

import forked
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from spinet.arch.catalog import load_network
from spinet.engine.build import create_model
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig, OptimConfig, TrainConfig
from spinet.engine.freezing import count_trained, freeze, train_mode
from spinet.engine.optim import create_optimizer
from spinet.engine.task import task_of
from spinet.engine.train import model_info, train
from spinet.errors import SpinetError

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def tuned(short, tmp_path) -> TrainConfig:
    """Two steps from weights in a file, whose batch norms have seen something."""
    info = model_info(short, task_of(short.model).open(short, "train"))
    weights = info.create_model().state_dict()
    for name, value in weights.items():
        if value.is_floating_point() and name.endswith(STATISTICS):
            weights[name] = value + 0.01 * torch.randn_like(value)
    save_weights(tmp_path / "w.safetensors", weights, info, {})
    model = replace(short.model, weights=str(tmp_path / "w.safetensors"))
    return replace(short, model=model, optim=replace(short.optim, weight_decay=0.01, ema_decay=0.9))


def moved(config, run) -> set[str]:
    """Train, and return the tensors that are not bit-equal to those that the training started from."""
    train(config, run, quiet=True)
    before, after = load_file(config.model.weights), load_file(run / "last.safetensors")
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def with_model(config, **settings):
    return replace(config, model=replace(config.model, **settings))


def is_stem(name: str) -> bool:
    return name.startswith(("backbone.stem.", "backbone.blocks.0.", "backbone.blocks.1."))


def test_a_frozen_stem_stays_bit_equal_under_weight_decay_and_averaging(tuned, tmp_path):
    changed = moved(with_model(tuned, freeze="stem"), tmp_path / "run")

    assert not {name for name in changed if is_stem(name)}
    assert {name for name in changed if name.startswith("backbone.blocks.2.")}
    assert "backbone.blocks.2.body.0.convs.0.norm.running_mean" in changed


@pytest.mark.slow
def test_a_frozen_backbone_stays_bit_equal_and_the_head_trains(tuned, tmp_path):
    changed = moved(with_model(tuned, freeze="backbone"), tmp_path / "run")

    assert changed
    assert not {name for name in changed if name.startswith("backbone.")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["statistics", "all"])
def test_frozen_batch_norms_keep_their_statistics_and_if_asked_scale_and_shift(tuned, tmp_path, kind):
    changed = moved(with_model(tuned, freeze_norm=kind), tmp_path / "run")

    of_norms = {name for name in changed if name.startswith("backbone.") and ".norm." in name}
    assert not {name for name in of_norms if name.endswith(STATISTICS)}
    assert bool(of_norms) == (kind == "statistics")
    assert "backbone.stem.conv.conv.weight" in changed
    assert {name for name in changed if name.startswith("cls_tower.") and name.endswith("running_mean")}


@pytest.mark.slow
def test_nothing_is_frozen_unless_it_is_said(tuned, tmp_path):
    changed = moved(tuned, tmp_path / "run")

    assert {name for name in changed if is_stem(name)}


@pytest.mark.parametrize("arch", ["tiny", pytest.param("resnet18-fpn", marks=pytest.mark.slow)])
def test_a_frozen_part_is_in_evaluation_mode_and_has_neither_gradient_nor_place_in_the_optimizer(arch):
    settings = ModelConfig(arch=arch, freeze="stem", freeze_norm="statistics")
    model = create_model(load_network(arch), settings, 3)

    still = freeze(model, settings)
    train_mode(model, still)
    optimizer = create_optimizer(model, OptimConfig(layer_decay=0.5))
    boxes = torch.tensor([[[4.0, 4.0, 40.0, 40.0]]] * 2)
    losses = model.losses(torch.rand(2, 3, 64, 64), {"boxes": boxes, "labels": torch.tensor([[1], [0]])})
    (losses["class"] + losses["box"]).backward()

    stem = {module for part in model.backbone.parts().stem for module in part.modules()}
    assert not any(module.training for module in stem)
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert model.cls_tower.norms["3"][0].training
    frozen = [parameter for part in model.backbone.parts().stem for parameter in part.parameters()]
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in frozen)
    trained = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    assert trained == set(model.parameters()) - set(frozen)
    assert all(parameter.grad is not None for parameter in trained)
    total, rest = (sum(p.numel() for p in some) for some in (model.parameters(), trained))
    assert count_trained(model) == f"{total:,} parameters, {rest:,} of them trained"


@pytest.mark.parametrize(
    "setting", [{"freeze": "stem"}, {"freeze_norm": "all"}, {"class_start": "nearest"}, {"new_classes": True}]
)
def test_what_is_about_weights_needs_some(short, tmp_path, setting):
    ((name, value),) = setting.items()

    with pytest.raises(SpinetError, match=f"model.{name} is {value}, which needs model.weights: a weights file or run"):
        train(with_model(short, **setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_part_is_refused_with_those_there_are():
    with pytest.raises(
        SpinetError, match="unknown model.freeze 'steam', did you mean 'stem'. Known: backbone, none, stem"
    ):
        ModelConfig(freeze="steam")


@pytest.mark.slow
def test_two_processes_train_around_a_frozen_stem(tuned, tmp_path):
    config = with_model(tuned, freeze="stem", freeze_norm="statistics")
    (tmp_path / "config.json").write_text(config.to_json())

    forked.group(
        forked.command,
        "train",
        tmp_path / "config.json",
        "--run",
        tmp_path / "two",
        "--no-report",
        output=tmp_path / "said",
    )

    before, after = load_file(config.model.weights), load_file(tmp_path / "two" / "last.safetensors")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert not {name for name in changed if is_stem(name)}
    assert not {name for name in changed if name.startswith("backbone.") and name.endswith(STATISTICS)}
    assert {name for name in changed if name.startswith("backbone.blocks.2.")}
