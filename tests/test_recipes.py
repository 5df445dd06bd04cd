import pytest
import torch

from spinet.arch.catalog import load_network
from spinet.engine.build import create_model
from spinet.engine.config import differences
from spinet.errors import SpinetError
from spinet.models.retinanet import RetinaNet
from spinet.recipes import RECIPES, load_recipe

SIZES = ("49s", "49", "96", "143", "190")
# One recipe of each network: the protocols do not change what is built.
NETWORKS = {(recipe.config.model.head, recipe.config.model.arch): name for name, recipe in RECIPES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS.values())
def test_every_recipe_names_a_network_that_can_be_built_and_takes_its_images(name):
    config = RECIPES[name].config

    with torch.device("meta"):
        model = create_model(load_network(config.model.arch), config.model, 80)

    if isinstance(model, RetinaNet):
        assert config.data.image_size % model.size_multiple == 0


def test_every_family_has_its_sizes_and_protocols():
    families = {
        "retinanet": ((*SIZES, "49-896"), ("-a", "", "-c")),
        "maskrcnn": (SIZES, ("", "-cosine")),
        "cascade": (("49", "96", "143"), ("",)),
        "classify": (SIZES, ("", "-improved")),
    }
    expected = {
        f"{family}-spinenet{size}{suffix}"
        for family, (sizes, suffixes) in families.items()
        for size in sizes
        for suffix in suffixes
    }
    expected |= {f"retinanet-spinenet{size}-mobile{suffix}" for size in ("49xs", "49s", "49") for suffix in ("", "-mg")}
    expected |= {f"classify-resnet{depth}" for depth in (34, 50, 101, 152)}
    small = {f"small-{machine}{task}" for machine in ("cpu", "gpu") for task in ("", "-masks", "-classes")}
    assert set(RECIPES) == expected | small | {"demo", "finetune-cpu", "finetune-gpu"}


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


@pytest.mark.parametrize("size", SIZES)
def test_the_cosine_of_mask_rcnn_changes_what_paper_v1_says(size):
    step, cosine = (RECIPES[f"maskrcnn-spinenet{size}{suffix}"].config for suffix in ("", "-cosine"))
    changed = {
        "epochs",
        "optim.schedule",
        "model.octaves",
        "model.anchor_scale",
        "model.dropblock",
        "data.scale_jitter",
    }
    changed |= {"model.activation", "model.stochastic_depth"} if size == "190" else set()
    assert set(differences(step, cosine)) == changed
    assert (step.model.head, step.model.rpn_convs) == ("mask-rcnn", 1)


def test_the_two_sources_of_the_mobile_detectors_differ_in_activation_decay_and_rate():
    tpu, mg = (RECIPES[f"retinanet-spinenet49-mobile{suffix}"].config for suffix in ("", "-mg"))
    assert (tpu.epochs, tpu.optim.weight_decay, tpu.data.image_size) == (600, 3e-5, 384)
    assert set(differences(tpu, mg)) == {
        "model.activation",
        "model.squeeze_mode",
        "model.stochastic_depth",
        "model.depth_rule",
        "optim.decay",
        "optim.lr",
        "optim.warmup_start",
    }
    assert RECIPES["retinanet-spinenet49xs-mobile-mg"].config.model.activation == "swish"


def test_the_rate_of_the_classifiers_is_a_tenth_for_256_images():
    plain, improved = (RECIPES[f"classify-spinenet49{suffix}"].config for suffix in ("", "-improved"))
    rates = [each.optim.lr * each.batch_size / each.optim.lr_batch for each in (plain, improved)]
    assert rates == pytest.approx([0.4, 1.6])
    # 62,557 steps of tensorflow/tpu, on the 1,281,167 images of ImageNet.
    assert improved.epochs == pytest.approx(62557 * improved.batch_size / 1281167, rel=1e-3)
    assert (improved.model.label_smoothing, improved.model.stochastic_depth) == (0.1, 0.2)


def test_a_configuration_file_is_a_recipe_too(tmp_path):
    config = RECIPES["demo"].config
    (tmp_path / "config.json").write_text(config.to_json())
    assert load_recipe(str(tmp_path / "config.json")) == config


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(SpinetError, match="unknown recipe 'retinanet-spinenet94', did you mean 'retinanet-spinenet9"):
        load_recipe("retinanet-spinenet94")
