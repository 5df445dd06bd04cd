import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spinet.arch.catalog import Architecture, load_architecture
from spinet.engine.checkpoint import (
    ModelInfo,
    load_backbone,
    load_classifier,
    load_model,
    read_weights,
    save_weights,
    weights_file,
)
from spinet.engine.config import ModelConfig
from spinet.engine.pretrained import load_pretrained
from spinet.engine.state_file import read_state, save_state
from spinet.errors import SpinetError

TINY = load_architecture("tiny")
MODEL = ModelConfig(arch="tiny", activation="swish", anchor_scale=2.0)
INFO = ModelInfo(TINY, MODEL, ("cat", "dog", "fish"), (1, 5, 9), 64)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "best.safetensors"
    save_weights(file, INFO.create_model().state_dict(), INFO, {"step": 3})
    return file


def other_architecture() -> Architecture:
    return replace(TINY, scaling=replace(TINY.scaling, width=0.5), name="tiny-wide")


def test_a_weights_file_is_a_whole_detector(saved):
    model, info = load_model(saved)
    assert info == INFO
    assert not model.training
    assert model.options.anchor_scale == 2.0
    logits, deltas = model(torch.zeros(1, 3, 64, 64))
    assert logits.shape[-1] == 3
    assert deltas.shape[:2] == logits.shape[:2]


def test_the_metadata_holds_the_architecture_the_classes_and_notes(saved):
    with safe_open(saved, framework="pt") as content:
        metadata = content.metadata()
    assert Architecture.from_json(metadata["architecture"], "metadata") == TINY
    assert json.loads(metadata["class_names"]) == ["cat", "dog", "fish"]
    assert json.loads(metadata["notes"]) == {"step": 3}


def test_a_run_folder_means_its_best_weights_or_else_its_last(saved, tmp_path):
    (tmp_path / "last.safetensors").write_bytes(saved.read_bytes())
    assert weights_file(tmp_path).name == "last.safetensors"
    (tmp_path / "best.safetensors").write_bytes(saved.read_bytes())
    assert weights_file(tmp_path).name == "best.safetensors"


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(SpinetError, match="has neither best.safetensors nor last.safetensors"):
        weights_file(tmp_path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(SpinetError, match=r"there is no weights file or run folder .*gone\.safetensors"):
        load_model(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_a_truncated_weights_file_is_refused_by_name(saved, tmp_path, kept):
    file = tmp_path / "cut.safetensors"
    file.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(SpinetError, match=r"could not read the weights file .*cut\.safetensors"):
        load_model(file)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(SpinetError, match="is not a Spinet weights file"):
        load_model(tmp_path / "other.safetensors")


def test_tensors_that_do_not_fit_their_description_are_listed(tmp_path):
    weights = INFO.create_model().state_dict()
    del weights["backbone.stem.conv.conv.weight"]
    weights["extra"] = torch.zeros(1)
    save_weights(tmp_path / "bad.safetensors", weights, INFO, {})
    with pytest.raises(SpinetError, match=r"does not match this network in 2 tensors, .*stem.conv.conv.weight is None"):
        load_model(tmp_path / "bad.safetensors")


def test_weights_of_another_number_of_classes_are_refused_and_the_way_out_named(saved):
    info = replace(INFO, model=replace(MODEL, weights=str(saved)), class_names=("cat", "dog"), category_ids=(1, 2))
    with pytest.raises(
        SpinetError, match=r"has 3 classes \(cat, dog, fish ...\), but the dataset has 2 .*; turn on model.new_classes"
    ):
        load_pretrained(info.create_model(), info)


@pytest.mark.slow
def test_new_classes_keep_everything_but_what_the_class_predictor_has_for_other_classes(saved):
    model_config = replace(MODEL, weights=str(saved), new_classes=True)
    info = replace(INFO, model=model_config, class_names=("bird", "dog"), category_ids=(1, 2))
    model = info.create_model()
    own = model.cls_tower.predictor.weight.clone().unflatten(0, (9, 2))
    load_pretrained(model, info)
    old, _ = read_weights(saved)
    found = model.cls_tower.predictor.weight.unflatten(0, (9, 2))
    assert torch.equal(found[:, 0], own[:, 0])
    assert torch.equal(found[:, 1], old["cls_tower.predictor.weight"].unflatten(0, (9, 3))[:, 1])
    assert torch.equal(model.box_tower.predictor.weight, old["box_tower.predictor.weight"])


def test_weights_of_another_architecture_are_refused_by_both_names(saved):
    info = replace(INFO, architecture=other_architecture(), model=replace(MODEL, weights=str(saved)))
    with pytest.raises(SpinetError, match=r"another architecture \(tiny, not tiny-wide\); set model.arch to tiny"):
        load_pretrained(info.create_model(), info)


def test_the_training_state_round_trips(tmp_path):
    state = {"step": 3, "model": {"weight": torch.arange(3.0)}, "best": {"AP": 0.5}}
    save_state(tmp_path / "state.pt", state, TINY)
    loaded = read_state(tmp_path / "state.pt", TINY)
    assert loaded["step"] == 3
    assert torch.equal(loaded["model"]["weight"], torch.arange(3.0))


def test_a_state_of_another_architecture_is_refused(tmp_path):
    save_state(tmp_path / "state.pt", {}, other_architecture())
    with pytest.raises(SpinetError, match=r"another architecture \(tiny-wide\) than the settings \(tiny\)"):
        read_state(tmp_path / "state.pt", TINY)


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_corrupt_checkpoint_is_refused_by_name(tmp_path, kept):
    save_state(tmp_path / "state.pt", {"step": 1}, TINY)
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:kept])
    with pytest.raises(SpinetError, match=r"could not read the checkpoint .*state\.pt"):
        read_state(tmp_path / "state.pt", TINY)


def test_a_state_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    torch.save({"format": "spinet-1", "state": Evil()}, tmp_path / "state.pt")
    with pytest.raises(SpinetError, match="could not read the checkpoint"):
        read_state(tmp_path / "state.pt", TINY)
    assert not (tmp_path / "touched").exists()


@pytest.mark.slow
def test_a_backbone_alone_is_named_and_loads_into_a_detector(saved, tmp_path):
    tensors, info = read_weights(saved)
    alone = {name: value for name, value in tensors.items() if name.startswith("backbone.")}
    file = tmp_path / "backbone.safetensors"
    save_weights(file, alone, replace(info, class_names=(), category_ids=()), {})
    with pytest.raises(SpinetError, match="holds a backbone without a head: load it with `load_backbone`"):
        load_model(file)
    backbone, found = load_backbone(file)
    assert found.class_names == ()
    assert not backbone.training
    detector = INFO.create_model()
    head = {name: value.clone() for name, value in detector.state_dict().items() if name not in alone}
    said = load_pretrained(detector, replace(INFO, model=replace(MODEL, weights=str(file))))
    assert said[1] == f"{file} holds a backbone without a head: the head retinanet is chosen by model.head"
    for name, value in detector.state_dict().items():
        torch.testing.assert_close(value, (alone | head)[name])
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, alone[f"backbone.{name}"])


def test_a_backbone_can_be_read_from_a_whole_detector(saved):
    backbone, _ = load_backbone(saved)
    assert backbone.levels == (3, 4, 5)


def test_weights_of_other_conventions_are_refused_with_the_settings_to_change(saved, tmp_path):
    tensors, info = read_weights(saved)
    file = tmp_path / "converted.safetensors"
    conventions = replace(MODEL, pad_mode="same", pool_mode="mg", endpoint_activation=False)
    save_weights(file, tensors, replace(info, model=conventions), {})
    settings = "model.pad_mode = same, model.pool_mode = mg, model.endpoint_activation = False"
    with pytest.raises(SpinetError, match=f"trained with different settings; set {settings}"):
        load_pretrained(INFO.create_model(), replace(INFO, model=replace(MODEL, weights=str(file))))


def with_metadata(file: Path, source: Path, changes: dict[str, str | None]) -> Path:
    """Copy a weights file, with other metadata; None takes a key out."""
    with safe_open(source, framework="pt") as content:
        metadata = {**content.metadata(), **changes}
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    save_file(tensors, file, {name: value for name, value in metadata.items() if value is not None})
    return file


def test_files_without_a_task_are_detectors_or_backbones(saved, tmp_path):
    old = with_metadata(tmp_path / "old.safetensors", saved, {"task": None})
    bare = with_metadata(tmp_path / "bare.safetensors", saved, {"task": None, "class_names": "[]"})

    assert read_weights(old)[1] == INFO
    assert read_weights(bare)[1].kind == "backbone"


def test_a_classifier_is_a_whole_weights_file_too(tmp_path):
    info = replace(INFO, model=replace(MODEL, head="classifier", background=True))
    model = info.create_model().eval()
    save_weights(tmp_path / "c.safetensors", model.state_dict(), info, {})

    loaded, found = load_classifier(tmp_path / "c.safetensors")

    assert (found, loaded.background) == (info, True)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(images), model(images))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": '{"head": "clasifier"}'}, "unknown model.head 'clasifier', did you mean 'classifier'"),
        ({"image_size": None}, r"the metadata of .*d\.safetensors is corrupt: KeyError\('image_size'\)"),
        ({"image_size": "large"}, r"the metadata of .*d\.safetensors is corrupt: ValueError"),
        ({"class_names": "3"}, r"the metadata of .*d\.safetensors is corrupt: ValidationError"),
        ({"model": '{"aktivation": 1}'}, "unknown setting 'model.aktivation'"),
    ],
)
def test_metadata_that_make_no_sense_are_refused(saved, tmp_path, changes, said):
    file = with_metadata(tmp_path / "d.safetensors", saved, changes)

    with pytest.raises(SpinetError, match=said):
        read_weights(file)


def test_weights_of_a_detector_with_one_anchor_per_location_load_again(tmp_path):
    info = replace(INFO, model=replace(MODEL, octaves=1, aspect_ratios=(2.0,)))
    images = torch.rand(1, 3, 64, 64)
    built = info.create_model().eval()
    save_weights(tmp_path / "one.safetensors", built.state_dict(), info, {})

    model, found = load_model(tmp_path / "one.safetensors")

    assert found == info
    assert (model.options.octaves, model.options.aspect_ratios) == (1, (2.0,))
    assert all(torch.equal(one, other) for one, other in zip(model(images), built(images), strict=True))
    # 8 x 8, 4 x 4 and 2 x 2 places.
    assert len(model.anchors(64, 64, torch.device("cpu"))) == model(images)[0].shape[1] == 84
