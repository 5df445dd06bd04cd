import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spinet.arch.catalog import load_architecture, load_network
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_backbone, load_model, save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.models.factory import create_classifier, create_rcnn, create_retinanet

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (1, 5), 64)
DEEP = "[" * 100_000
DIGITS = "9" * 5000


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "best.safetensors"
    save_weights(file, INFO.create_model().state_dict(), INFO, {})
    return file


def described(file: Path, saved: Path, **changes: str) -> Path:
    """Write the weights with another description."""
    with safe_open(saved, framework="pt") as content:
        metadata = {**content.metadata(), **changes}
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    save_file(tensors, file, metadata)
    return file


def refusal(path: Path, load=load_model) -> str:
    with pytest.raises(SpinetError) as error:
        load(path)
    message = str(error.value).replace(str(path), "FILE")
    assert len(message) < 300
    assert "\n" not in message
    return message


def architecture(**scaling: object) -> str:
    tree = json.loads(INFO.architecture.to_json())
    return json.dumps({**tree, "scaling": {**tree["scaling"], **scaling}})


def model(**settings: object) -> str:
    return json.dumps({"arch": "tiny", **settings})


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": DEEP},
        {"architecture": architecture(stem_channels=10**9)},
        {"architecture": architecture(repeats=10**6)},
        {"architecture": architecture(head_convs=2**31)},
        {"architecture": architecture(width=1000)},
        {"architecture": architecture(head_channels=10**400)},
        {"architecture": json.dumps({"baseline": {"body": "resnet18", "repeats": 10**9}})},
        {"model": DEEP},
        {"model": f'{{"octaves": {DIGITS}}}'},
        {"model": model(octaves=100)},
        {"model": model(aspect_ratios=[1.0] * 10**6)},
        {"model": model(aspect_ratios=[1e-300])},
        {"model": model(proposals=10**6)},
        {"model": model(rpn_convs=10**6)},
        {"model": model(anchor_scale="x" * 10**6)},
        {"image_size": "3"},
        {"image_size": "-128"},
        {"image_size": str(10**9)},
        {"image_size": DIGITS},
        {"class_names": DEEP},
        {"class_names": json.dumps(["a"])},
        {"class_names": json.dumps(["a", "b" * 10**5])},
        {"class_names": json.dumps(["a", 3])},
        {"class_names": json.dumps(["a"] * 200_000)},
        {"category_ids": json.dumps([1, None])},
        {"category_ids": json.dumps([1, 2, 3])},
        {"format": "x" * 10**5},
    ],
    ids=lambda changes: " ".join(f"{name} {value[-40:]}" for name, value in changes.items()),
)
def test_a_description_beyond_all_bounds_is_refused_in_a_short_sentence(saved, tmp_path, changes):
    refusal(described(tmp_path / "x.safetensors", saved, **changes))


@pytest.mark.parametrize("head", ["retinanet", "mask-rcnn", "cascade-rcnn", "classifier"])
def test_a_network_larger_than_the_file_is_refused_before_it_takes_memory(saved, tmp_path, head):
    names = [f"class {number}" for number in range(100_000)]
    # The class predictor of RetinaNet would take 12 terabytes.
    changes = {
        "architecture": architecture(head_channels=16384, endpoint_channels=16384),
        "model": model(head=head, octaves=10, aspect_ratios=[1.0] * 20),
        "class_names": json.dumps(names),
        "category_ids": json.dumps(list(range(100_000))),
    }

    assert "does not match this network in" in refusal(described(tmp_path / "x.safetensors", saved, **changes))


def test_a_backbone_of_another_size_is_refused_too(saved, tmp_path):
    file = described(tmp_path / "x.safetensors", saved, architecture=architecture(width=100.0))

    assert "does not match this network in" in refusal(file, load_backbone)


def test_a_file_that_holds_no_weights_says_what_is_expected(tmp_path):
    (tmp_path / "README.md").write_text("# A document\n" * 20)

    message = refusal(tmp_path / "README.md")

    assert message.startswith("could not read the weights file FILE: ")
    assert message.endswith("expected an intact .safetensors file or a run folder")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spinenet49s", "spinenet49-mobile", "resnet18-fpn", "resnet18-nas-fpn"])
def test_every_kind_of_network_can_be_built_without_values(name):
    for create in (create_retinanet, create_rcnn, create_classifier):
        with torch.device("meta"):
            empty = create(load_network(name), 3).state_dict()
        real = create(load_network(name), 3).state_dict()
        assert {key: value.shape for key, value in empty.items()} == {key: value.shape for key, value in real.items()}


def test_weights_load_as_before(saved):
    loaded, info = load_model(saved)

    assert info == replace(INFO)
    assert all(not value.is_meta for value in loaded.state_dict().values())
