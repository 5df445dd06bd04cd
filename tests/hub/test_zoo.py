"""Weights that come with the package are files in a folder, found by name and kept in half precision."""

import json

import pytest
import torch
from safetensors import safe_open

import spinet
from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_model, read_source, read_weights, save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.hub import published
from spinet.hub.fetch import local_path

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (1, 2), 64)
SOURCE = {"dataset": "pets", "licence": "MIT", "repository": "here", "file": "docs/results.md"}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "ZOO", tmp_path)
    torch.manual_seed(0)
    notes = {"AP": 0.25, "AP50": 0.5, "step": 3}
    file = tmp_path / "pets-small.safetensors"
    save_weights(file, INFO.create_model().state_dict(), INFO, notes, half=True, source=SOURCE)
    return tmp_path


def test_a_name_of_the_zoo_loads_everywhere(zoo):
    assert spinet.load("published/pets-small", "cpu").class_names == ("cat", "dog")
    assert spinet.load_detector("published/pets-small")[1].image_size == 64
    assert spinet.load_backbone(path="published/pets-small")[1] == INFO
    assert local_path("published/pets-small") == zoo / "pets-small.safetensors"


def test_an_entry_of_the_zoo_comes_from_the_file(zoo):
    entry = next(iter(published.all_weights()))
    assert (entry.name, entry.task, entry.dataset, entry.classes) == ("pets-small", "detection", "pets", 2)
    assert (entry.metric, entry.licence, entry.source.repository) == ("25.0", "MIT", "here")
    assert entry.bytes == (zoo / "pets-small.safetensors").stat().st_size
    assert read_source(entry.path) == SOURCE


def test_half_precision_halves_the_file_and_keeps_vectors(zoo, tmp_path):
    weights, info = read_weights(zoo / "pets-small.safetensors")
    save_weights(tmp_path / "whole.safetensors", weights, info, {})
    assert (zoo / "pets-small.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    with safe_open(zoo / "pets-small.safetensors", framework="pt") as content:
        kinds = {(content.get_tensor(name).ndim > 1, content.get_tensor(name).dtype) for name in content.keys()}  # noqa: SIM118
    assert kinds == {(True, torch.float16), (False, torch.float32), (False, torch.int64)}
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    model = INFO.create_model()
    torch.manual_seed(0)
    original = INFO.create_model().state_dict()
    model.load_state_dict(weights)
    assert all(torch.allclose(value, original[name], atol=1e-3) for name, value in model.state_dict().items())


def test_tiny_and_huge_variances_survive_half_precision(tmp_path):
    weights = INFO.create_model().state_dict()
    name = next(name for name in weights if name.endswith("running_var"))
    weights[name][:2] = torch.tensor([1e-12, 1e8])
    save_weights(tmp_path / "w.safetensors", weights, INFO, {}, half=True)
    loaded = load_model(tmp_path / "w.safetensors")[0].state_dict()[name]
    assert loaded[:2].tolist() == pytest.approx([1e-12, 1e8])


def test_a_value_that_half_precision_cannot_hold_is_refused(tmp_path):
    weights = INFO.create_model().state_dict()
    name = next(name for name, value in weights.items() if value.ndim == 4)
    weights[name].flatten()[0] = 1e6
    with pytest.raises(SpinetError, match=f"{name} has values that do not fit into fp16"):
        save_weights(tmp_path / "w.safetensors", weights, INFO, {}, half=True)
    assert not (tmp_path / "w.safetensors").exists()


def test_an_unknown_name_is_answered_with_the_nearest(zoo):
    with pytest.raises(SpinetError, match="unknown published weights 'pets-smal', did you mean 'pets-small'"):
        spinet.load("published/pets-smal")
    with pytest.raises(SpinetError, match="did you mean 'retinanet-spinenet96'"):
        spinet.load("published/retinanet-spinenet95")


def test_a_training_starts_from_a_name_and_records_it(zoo, digits, tmp_path):
    run = tmp_path / "run"
    settings = {"model__weights": "published/pets-small", "model__new_classes": True, "model__arch": "tiny"}
    settings |= {"data__image_size": 64, "epochs": 1, "batch_size": 4, "data__workers": 0, "report": False}
    settings |= {"model__activation": "relu"}
    spinet.train("demo", run, data=digits, quiet=True, **settings)
    assert json.loads((run / "config.json").read_text())["model"]["weights"] == "published/pets-small"
    (zoo / "pets-small.safetensors").unlink()
    # A finished run is opened, and an unfinished one resumed, from its own weights.
    spinet.train("demo", run, data=digits, quiet=True, **settings)


def test_the_command_predicts_with_a_name(zoo, spinet, digits, tmp_path):
    code, _, err = spinet("predict", "published/pets-small", digits / "val", "-o", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "predictions.json").is_file()
