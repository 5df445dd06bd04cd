import json

import pytest
from weights_server import weights_server

from spinet.arch.catalog import load_architecture, names
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig
from spinet.hub import published
from spinet.hub.addresses import check_url, suffix_of
from spinet.models.options import BackboneOptions
from spinet.recipes import RECIPES

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (1, 2), 64)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPINET_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    save_weights(tmp_path / "w.safetensors", INFO.create_model().state_dict(), INFO, {"AP": 0.5}, half=True)
    with weights_server() as running:
        running.behaviour.files["w.safetensors"] = (tmp_path / "w.safetensors").read_bytes()
        yield running


@pytest.fixture
def listed(server, cache, tmp_path, monkeypatch):
    """A table with one entry that can be fetched."""
    entry = {"name": "pets", "task": "detection", "head": "retinanet", "architectures": ["tiny"], "dataset": "pets"}
    entry |= {"classes": 2, "image_size": 64, "metrics": {"AP": 50.0}, "source": None, "licence": "MIT"}
    (tmp_path / "table.json").write_text(json.dumps([{**entry, "address": server.url("w.safetensors")}]))
    monkeypatch.setattr(published, "TABLE", tmp_path / "table.json")
    monkeypatch.setattr(published, "ZOO", tmp_path / "zoo")
    return server.behaviour.files["w.safetensors"]


def test_the_table_of_this_package_is_sound(cache):
    table = published.published(published.TABLE)
    assert len({weights.name for weights in table}) == len(table) > 40
    for weights in table:
        assert set(weights.architectures) <= set(names())
        assert weights.architectures
        assert weights.unsupported or suffix_of(weights.address.partition("?")[0])
        if weights.address:
            check_url(weights.address)
        activation = weights.conventions.get("activation", "relu")
        assert BackboneOptions(activation=activation).activation == activation
        assert weights.licence == "Apache-2.0"
    fetched = {weights.name for weights in table if not weights.unsupported}
    assert {"retinanet-spinenet49s", "retinanet-spinenet49-c", "retinanet-spinenet49-mobile"} <= fetched
    assert {"maskrcnn-spinenet190", "classify-spinenet49-improved", "retinanet-spinenet143-mg"} <= fetched


def test_weights_of_a_recipes_name_have_its_activation(cache):
    for weights in published.published(published.TABLE):
        if weights.name in RECIPES and "activation" in weights.conventions:
            assert RECIPES[weights.name].config.model.activation == weights.conventions["activation"], weights.name


def test_the_list_names_all_whole_even_in_a_pipe(cache, spinet):
    code, out, _ = spinet("weights", "list")
    assert code == 0
    rows = out.splitlines()
    for weights in published.published(published.TABLE):
        assert any(row.startswith(f"{weights.name} ") for row in rows), weights.name
    assert "unsupported, because its head predicts attributes too" in out


def test_the_list_can_be_filtered_and_read_by_programs(cache, spinet):
    code, out, _ = spinet("weights", "list", "mobile detection", "--json")
    assert code == 0
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert "retinanet-spinenet49-mobile" in found
    assert all("mobile" in name for name in found)
    entry = found["retinanet-spinenet49-mobile"]
    assert (entry["metrics"], entry["state"], entry["bytes"]) == ({"AP": 28.6}, "to fetch", None)
    code, _, err = spinet("weights", "list", "nonsense")
    assert code == 1
    assert "no published weights match 'nonsense'" in err


def test_weights_are_got_found_copied_and_removed(listed, server, cache, spinet, tmp_path):
    assert spinet("weights", "path", "pets")[0] == 1
    code, out, err = spinet("weights", "get", "pets")
    assert (code, out.strip()) == (0, str(cache / "pets.safetensors")), err
    assert spinet("weights", "path", "published/pets")[:2] == (0, out)
    assert "in cache" in spinet("weights", "list")[1]
    code, _, _ = spinet("weights", "get", "pets", "-o", tmp_path / "new" / "mine.safetensors", "--offline")
    assert code == 0
    assert (tmp_path / "new" / "mine.safetensors").read_bytes() == listed
    assert len(server.behaviour.asked) == 1
    assert spinet("weights", "remove", "pets")[0] == 0
    code, _, err = spinet("weights", "get", "pets", "--offline")
    assert code == 1
    assert "published/pets is not in the cache" in err
    code, _, err = spinet("weights", "remove", "pets")
    assert code == 1
    assert "pets is not in the cache" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get", "pet"], "unknown published weights 'pet', did you mean 'pets'?"),
        (["get", "http://a.b/c.pth"], "is not encrypted"),
        (["fetch"], "unknown action 'fetch'"),
    ],
)
def test_mistakes_are_one_sentence(listed, spinet, words, message):
    code, _, err = spinet("weights", *words)
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_commands_that_take_weights_take_addresses(listed, server, cache, spinet, digits, tmp_path):
    code, _, err = spinet("evaluate", server.url("w.safetensors"))
    assert code == 1
    assert f"{server.url('w.safetensors')} does not contain the path of its dataset" in err
    code, _, err = spinet("evaluate", "published/pets", "--data.root", digits, "--json")
    assert code == 1
    assert "published/pets" in err  # has two classes, and the digits have three


@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "app", "compare", "benchmark"])
def test_every_command_looks_names_up(listed, spinet, digits, tmp_path, command):
    more = {"predict": [digits / "val"], "export": ["-o", tmp_path / "x.onnx"], "compare": ["published/pets"]}
    code, _, err = spinet(command, "published/pet", *more.get(command, []))
    assert code == 1
    assert "unknown published weights 'pet', did you mean 'pets'?" in err
