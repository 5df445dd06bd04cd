import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.engine.config import differences
from spinet.errors import SpinetError
from spinet.models.factory import create_retinanet
from spinet.recipes import RECIPES, load_recipe

SIZES = ("49s", "49", "96", "143", "190")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_an_architecture_that_can_be_built(name):
    config = RECIPES[name].config
    with torch.device("meta"):
        model = create_retinanet(load_architecture(config.model.arch), 80, anchor_scale=config.model.anchor_scale)
    assert config.data.image_size % model.size_multiple == 0


def test_every_size_has_protocols_a_b_and_c():
    for size in SIZES:
        assert {f"retinanet-spinenet{size}{suffix}" for suffix in ("-a", "", "-c")} <= RECIPES.keys()


@pytest.mark.parametrize("size", SIZES)
def test_the_protocols_share_everything_but_what_the_paper_changes(size):
    b = RECIPES[f"retinanet-spinenet{size}"].config
    a = RECIPES[f"retinanet-spinenet{size}-a"].config
    assert set(differences(a, b)) == {"epochs", "model.dropblock", "data.scale_jitter"}
    c = RECIPES[f"retinanet-spinenet{size}-c"].config
    exceptions = {"data.scale_jitter"} if size in ("143", "190") else set()
    exceptions |= {"optim.lr", "optim.warmup_start"} if size == "190" else set()
    assert set(differences(b, c)) == {"epochs", "model.activation", "model.stochastic_depth"} | exceptions


def test_the_numbers_of_the_protocols_are_those_of_the_sources():
    configs = [RECIPES[f"retinanet-spinenet49{suffix}"].config for suffix in ("-a", "", "-c")]
    assert [config.epochs for config in configs] == [250, 350, 500]
    assert [config.data.scale_jitter for config in configs] == [(0.8, 1.2), (0.5, 2.0), (0.5, 2.0)]
    assert [config.model.dropblock for config in configs] == [0.1, 0, 0]
    assert [config.model.stochastic_depth for config in configs] == [0, 0, 0.2]
    optim = configs[0].optim
    assert (optim.lr, optim.lr_batch, optim.momentum, optim.weight_decay) == (0.28, 256, 0.9, 4e-5)
    assert (optim.clip_norm, optim.drops, optim.warmup_epochs) == (10.0, (30.0, 10.0), 5)
    # From 0.0067 (tensorflow/tpu retinanet_config.py).
    assert optim.lr * optim.warmup_start == pytest.approx(0.0067, rel=0.01)
    assert [RECIPES[f"retinanet-spinenet{size}"].config.data.image_size for size in SIZES] == [
        640,
        640,
        1024,
        1280,
        1280,
    ]
    assert [RECIPES[f"retinanet-spinenet{size}"].config.model.anchor_scale for size in SIZES] == [3, 3, 3, 4, 4]


def test_the_exceptions_of_protocol_c_are_the_released_ones():
    deep = RECIPES["retinanet-spinenet143-c"].config
    assert (deep.model.stochastic_depth, deep.data.scale_jitter) == (0.16, (0.1, 1.9))
    wide = RECIPES["retinanet-spinenet190-c"].config
    assert (wide.epochs, wide.optim.lr, wide.data.scale_jitter) == (400, 0.30, (0.1, 1.9))


def test_a_configuration_file_is_a_recipe_too(tmp_path):
    config = RECIPES["demo"].config
    (tmp_path / "config.json").write_text(config.to_json())
    assert load_recipe(str(tmp_path / "config.json")) == config


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(SpinetError, match="unknown recipe 'retinanet-spinenet94', did you mean 'retinanet-spinenet9"):
        load_recipe("retinanet-spinenet94")
