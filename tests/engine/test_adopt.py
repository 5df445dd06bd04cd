"""Recipes that fine-tune take the network of the weights that they start from."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import spinet as package
from spinet.arch.catalog import load_architecture, load_network
from spinet.engine.adopt import adopted
from spinet.engine.build import ModelInfo, choose_network
from spinet.engine.checkpoint import load_model, save_weights
from spinet.engine.config import ModelConfig, differences
from spinet.errors import SpinetError
from spinet.recipes import RECIPES, load_recipe, start_recipe

RECIPE = RECIPES["finetune-cpu"].config
NAMES = ("zero", "cat")
# Everything that is not the default and that a network depends on.
SOURCE = ModelConfig(
    arch="tiny",
    activation="relu",
    pad_mode="same",
    pool_mode="mg",
    bn_eps=1e-4,
    anchor_scale=4.0,
    octaves=2,
    box_coding="tpu",
    background=True,
    stochastic_depth=0.1,
    bn_momentum=0.01,
    roi_samples=512,
)


def written(path, model=SOURCE, names=NAMES, architecture=None, **changes):
    info = ModelInfo(architecture or load_network(model.arch), model, names, tuple(range(len(names))), 96)
    tensors = info.create_model().state_dict() if names else {}
    if not names:
        tensors = {f"backbone.{name}": value for name, value in info.create_backbone().state_dict().items()}
    save_weights(path, tensors, info, {})
    return str(path)


def test_the_network_and_the_image_size_are_those_of_the_weights_and_the_training_is_the_recipes(tmp_path):
    weights = written(tmp_path / "w.safetensors")

    config = adopted(RECIPE, weights)

    own = {"weights": weights, "new_classes": True, "background": False}
    own |= {name: getattr(RECIPE.model, name) for name in ("bn_momentum", "class_start", "roi_samples", "mask_samples")}
    assert config.model == replace(SOURCE, **own)
    assert config.data == replace(RECIPE.data, image_size=96)
    assert (config.optim, config.epochs) == (RECIPE.optim, RECIPE.epochs)


@pytest.mark.parametrize("head", ["mask-rcnn", "cascade-rcnn", "classifier"])
def test_so_is_the_head(tmp_path, head):
    smoothing = {"label_smoothing": 0.1, "aggregation": "concat"} if head == "classifier" else {"rpn_convs": 2}
    weights = written(tmp_path / "w.safetensors", ModelConfig(head=head, arch="tiny", **smoothing))

    config = adopted(RECIPE, weights)

    assert config.model.head == head
    assert all(getattr(config.model, name) == value for name, value in smoothing.items())


def test_weights_of_a_backbone_alone_leave_head_anchors_and_image_size_to_the_recipe_and_the_user(tmp_path):
    weights = written(tmp_path / "w.safetensors", names=())

    plain, chosen = adopted(RECIPE, weights), adopted(RECIPE, weights, "mask-rcnn")

    assert (plain.model.head, chosen.model.head) == ("retinanet", "mask-rcnn")
    for config in (plain, chosen):
        assert (config.model.activation, config.model.pool_mode) == ("relu", "mg")
        assert (config.model.anchor_scale, config.model.octaves, config.model.box_coding) == (2.0, 3, "exact")
        assert config.data.image_size == RECIPE.data.image_size


def test_a_detector_is_started_from_a_classifier(tmp_path):
    source = ModelConfig(head="classifier", arch="tiny", label_smoothing=0.1)
    weights = written(tmp_path / "w.safetensors", source)

    config = adopted(RECIPE, weights, "retinanet")

    assert (config.model.head, config.model.label_smoothing, config.model.anchor_scale) == ("retinanet", 0.0, 2.0)


def test_an_architecture_that_no_name_leads_to_is_in_the_settings_themselves(tmp_path):
    tiny = load_architecture("tiny")
    own = replace(tiny, scaling=replace(tiny.scaling, width=0.5), name="own")
    weights = written(tmp_path / "w.safetensors", replace(SOURCE, arch=str(tmp_path / "gone.json")), architecture=own)

    config = adopted(RECIPE, weights)

    assert choose_network(config.model) == own
    assert choose_network(config.model).name == "own"
    assert type(config).from_json(config.to_json(), "settings") == config


def test_a_name_that_means_another_architecture_today_is_not_trusted(tmp_path):
    tiny = load_architecture("tiny")
    own = replace(tiny, scaling=replace(tiny.scaling, width=0.5))
    weights = written(tmp_path / "w.safetensors", SOURCE, architecture=own)

    assert choose_network(adopted(RECIPE, weights).model) == own


def test_an_architecture_of_two_names_keeps_both(tmp_path):
    scaled = replace(SOURCE, arch="spinenet49", scaling="spinenet49-quarter")
    weights = written(tmp_path / "w.safetensors", scaled, architecture=choose_network(scaled))

    model = adopted(RECIPE, weights).model

    assert (model.arch, model.scaling) == ("spinenet49", "spinenet49-quarter")


@pytest.fixture
def base(tmp_path, digits):
    """Weights of an untrained detector with two of the classes of `digits`, by other spellings."""
    torch.manual_seed(0)
    model = ModelConfig(arch="tiny", activation="swish", anchor_scale=4.0)
    return written(tmp_path / "base.safetensors", model, ("Zero", "cat", "TWO"))


FAST = ("--epochs", "0.5", "--eval-epochs", "0", "--device", "cpu", "--no-report")


@pytest.mark.slow
def test_two_arguments_fine_tune_and_the_same_command_resumes_without_the_weights(spinet, base, digits, tmp_path):
    command = (
        "train",
        "finetune-cpu",
        "--data.root",
        digits,
        "--model.weights",
        base,
        "--run",
        tmp_path / "run",
        *FAST,
    )

    code, said, _ = spinet(*command)

    assert code == 0, said
    assert "classes: 2 kept (zero, two), 1 started from the average (one)" in said
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (settings["model"]["activation"], settings["model"]["anchor_scale"]) == ("swish", 4.0)
    assert settings["data"]["image_size"] == 96
    (tmp_path / "base.safetensors").unlink()
    code, said, _ = spinet(*command)
    assert code == 0, said
    assert "has already finished" in said
    code, _, said = spinet(*command, "--model.bn-momentum", "0.3")
    assert code == 1
    assert "was trained with different settings (model.bn_momentum was 0.05, now 0.3)" in said


def test_python_does_the_same(base, digits, tmp_path):
    result = package.train(
        "finetune-cpu", tmp_path / "run", data=digits, model={"weights": base}, epochs=0.5, eval_epochs=0,
        device="cpu", report=False, quiet=True,
    )  # fmt: skip

    _, info = load_model(tmp_path / "run")
    assert (info.model.anchor_scale, info.image_size, info.class_names) == (4.0, 96, ("zero", "one", "two"))
    assert result.steps == 1


@pytest.mark.slow
def test_settings_that_contradict_the_weights_are_refused_and_others_count(spinet, base, digits, tmp_path):
    command = (
        "train",
        "finetune-cpu",
        "--data.root",
        digits,
        "--model.weights",
        base,
        "--run",
        tmp_path / "run",
        *FAST,
    )

    code, _, said = spinet(*command, "--model.activation", "relu")

    assert code == 1
    assert "was trained with different settings; set model.activation = swish" in said
    assert not (tmp_path / "run").exists()
    other = ("--data.image-size", "64", "--model.head", "faster-rcnn", "--optim.layer-decay", "0.8")
    code, said, _ = spinet(*command, *other)
    assert code == 0
    assert "; 0.33 of it in the lowest layers that train" in said
    assert "except box_heads, rpn, which are newly initialized" in said


def test_without_weights_the_recipe_says_what_it_needs_but_shows_its_help(spinet, digits, tmp_path):
    code, _, said = spinet("train", "finetune-cpu", "--data.root", digits, "--run", tmp_path / "run")

    assert code == 1
    assert said.startswith(
        "spinet: error: finetune-cpu needs model.weights: the weights file (.safetensors), run folder or address"
    )
    assert not (tmp_path / "run").exists()
    code, said, _ = spinet("train", "finetune-cpu", "--help")
    assert code == 0
    assert "--model.weights" in said
    with pytest.raises(SpinetError, match="finetune-gpu needs model.weights"):
        package.train("finetune-gpu", tmp_path / "run", data=digits)


def test_weights_that_are_missing_or_not_ours_are_refused_by_name(spinet, digits, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    for name, reason in (("none.safetensors", "there is no weights file"), ("bad.safetensors", "could not read")):
        code, _, said = spinet(
            "train",
            "finetune-cpu",
            "--data.root",
            digits,
            "--model.weights",
            tmp_path / name,
            "--run",
            tmp_path / "run",
        )
        assert code == 1
        assert reason in said
        assert name in said
    assert not (tmp_path / "run").exists()


def test_a_classifier_is_not_fine_tuned_on_boxes_without_a_word(spinet, digits, tmp_path):
    weights = written(tmp_path / "w.safetensors", ModelConfig(head="classifier", arch="tiny"))

    code, _, said = spinet(
        "train", "finetune-cpu", "--data.root", digits, "--model.weights", weights, "--run", tmp_path / "run", *FAST
    )

    assert code == 1
    assert "crop-boxes" in said


def test_other_recipes_and_files_of_settings_are_what_they_are(tmp_path):
    (tmp_path / "config.json").write_text(RECIPE.to_json())

    assert start_recipe("small-cpu", "none.safetensors") == load_recipe("small-cpu")
    assert start_recipe(tmp_path / "config.json", "none.safetensors") == RECIPE


@pytest.mark.slow
def test_a_fine_tuning_that_is_stopped_ends_bit_equal_without_the_weights(base, digits, tmp_path, stop_at):
    settings = {
        "data": digits,
        "model": {"weights": base, "freeze": "stem", "freeze_norm": "statistics", "class_start": "nearest"},
        "epochs": 3,
        "eval_epochs": 1,
        "save_seconds": 0,
        "log_steps": 1,
        "device": "cpu",
        "report": False,
        "quiet": True,
    }
    package.train("finetune-cpu", tmp_path / "whole", **settings)
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        package.train("finetune-cpu", tmp_path / "parts", **settings)
    stop_at(-1)
    (tmp_path / "base.safetensors").unlink()

    package.train("finetune-cpu", tmp_path / "parts", **settings)

    one, other = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_recipes_differ_in_the_machine_alone():
    changed = {"data.image_size", "data.scale_jitter", "data.workers", "batch_size"}
    changed |= {"model.anchor_scale", "model.roi_samples", "model.mask_samples", "optim.lr"}
    assert set(differences(RECIPE, RECIPES["finetune-gpu"].config)) == changed
