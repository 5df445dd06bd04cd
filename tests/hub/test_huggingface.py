"""The hub's own client against a stand-in of the hub on this machine."""

import sys

import pytest
from hub_server import commit_of, hub_server

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_detector, save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.hub.fetch import local_path

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (1, 2), 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(file, INFO.create_model().state_dict(), INFO, {})
    return file.read_bytes()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_server() as running:
        cache = str(tmp_path / "hub")
        # The client reads the rest of its environment once, when it is imported.
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.delenv("SPINET_OFFLINE", raising=False)
        yield running


def test_the_only_weights_of_a_repository_load(hub, weights, tmp_path):
    hub.add("me/cells", {"README.md": b"# cells", "model.safetensors": weights})
    path = local_path("hf://me/cells")
    assert path.is_relative_to(tmp_path / "hub")
    assert load_detector(path)[1] == INFO


def test_a_file_and_a_revision_are_found_by_name(hub, weights):
    hub.add("me/cells", {"a/one.safetensors": b"?", "two.safetensors": b"?"})
    hub.add("me/cells", {"a/one.safetensors": weights}, revision="v2")
    assert local_path("hf://me/cells/a/one.safetensors@v2").read_bytes() == weights
    assert local_path("hf://me/cells@v2").read_bytes() == weights
    assert local_path(f"hf://me/cells@{commit_of('v2')}").read_bytes() == weights


def test_what_was_fetched_is_there_offline(hub, weights, monkeypatch):
    hub.add("me/cells", {"model.safetensors": weights})
    first = local_path("hf://me/cells")
    asked = len(hub.asked)
    monkeypatch.setenv("SPINET_OFFLINE", "1")
    assert local_path("hf://me/cells") == local_path("hf://me/cells/model.safetensors") == first
    assert len(hub.asked) == asked
    for other in ("hf://me/other", "hf://me/cells@v3", "hf://me/cells/other.safetensors"):
        with pytest.raises(
            SpinetError, match="is not in the cache of the Hub's client, and offline nothing is fetched"
        ):
            local_path(other)


def test_without_a_network_the_cache_serves(hub, weights, monkeypatch):
    hub.add("me/cells", {"model.safetensors": weights})
    first = local_path("hf://me/cells")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert local_path("hf://me/cells") == first
    with pytest.raises(
        SpinetError, match=r"could not reach http://127.0.0.1:9 for hf://me/other \(.*[Cc]onnection refused\)"
    ):
        local_path("hf://me/other")


def test_model_safetensors_is_the_one_to_expect_beside_others(hub, weights):
    hub.add("me/cells", {"a.safetensors": b"?", "model.safetensors": weights})
    assert local_path("hf://me/cells").read_bytes() == weights


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "hf://me/several",
            r"hf://me/several holds several weights; name one as hf://me/several/FILE: a.safetensors, b.safetensors",
        ),
        (
            "hf://me/pickled",
            r"hf://me/pickled holds no safetensors, only README.md, pytorch_model.bin; other weights may run code",
        ),
        ("hf://me/pickled/pytorch_model.bin", "is not a .safetensors file; other formats of the Hub may hold code"),
        ("hf://me/nothing", "there is no repository hf://me/nothing, or it is private"),
        ("hf://me/gated", "hf://me/gated is gated: ask for access on its page"),
        ("hf://me/several@v9", "hf://me/several has no revision 'v9'"),
        (
            "hf://me/several/c.safetensors",
            "hf://me/several has no weights c.safetensors; its safetensors are a.safetensors, b.safetensors",
        ),
        ("hf://me/foreign", "does not hold weights of Spinet"),
        ("hf://me/broken", "refused hf://me/broken with status 418"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(hub, address, message):
    hub.add("me/several", {"a.safetensors": b"", "b.safetensors": b""})
    hub.add("me/pickled", {"README.md": b"", "pytorch_model.bin": b""})
    hub.add("me/foreign", {"model.safetensors": b"\x02\0\0\0\0\0\0\0{}"})
    hub.gated.add("me/gated")
    hub.codes["me/broken"] = 418
    with pytest.raises(SpinetError, match=message) as refused:
        local_path(address)
    assert "\n" not in str(refused.value)


def test_without_the_client_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SpinetError, match=r"an address hf:// needs huggingface_hub, .* pip install 'spinet\[hub\]'"):
        local_path("hf://me/cells")
