import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from published import random_classifier, write_published

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.scaling import Scaling
from spinet.convert.convert import convert
from spinet.convert.shapes import find_architecture, model_shapes
from spinet.engine.checkpoint import load_backbone, load_classifier, load_detector
from spinet.engine.pretrained import load_pretrained
from spinet.errors import SpinetError
from spinet.models.blocks import count_parameters
from spinet.models.factory import create_retinanet

NARROW = Architecture(
    load_architecture("spinenet49").genotype,
    Scaling(width=0.07, endpoint_channels=6, stem_channels=64, head_channels=5, head_convs=2),
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A classifier, and its checkpoint with what training leaves there."""
    model = random_classifier(NARROW)
    extra = {
        "global_step": np.array(62557, "int64"),
        "classification_head/dense/kernel/Momentum": np.zeros((6, 1001), "float32"),
    }
    folder = tmp_path_factory.mktemp("classifier")
    return model, write_published(folder / "model.ckpt", model, NARROW, "tpu", extra=extra)


@pytest.fixture(scope="module")
def converted(published, tmp_path_factory):
    file = tmp_path_factory.mktemp("converted") / "w.safetensors"
    convert(published[1]).save(file)
    return file


@pytest.mark.slow
def test_a_published_classifier_gives_the_same_logits_and_features_here(published, converted):
    model, (loaded, info) = published[0], load_classifier(converted)
    images = torch.rand(1, 3, 224, 224)

    torch.testing.assert_close(loaded(images), model(images))
    features = load_backbone(converted)[0](images)
    for level, expected in model.backbone(images).items():
        torch.testing.assert_close(features[level], expected)
    assert (info.kind, info.image_size) == ("classifier", 224)


@pytest.mark.slow
def test_its_conventions_and_classes_are_those_of_tensorflow_tpu(converted):
    loaded, info = load_classifier(converted)

    model = info.model
    assert (model.bn_eps, model.bn_momentum, model.pool_mode, model.pad_mode) == (1e-5, 0.1, "tpu", "symmetric")
    assert (model.activation, model.background, loaded.background) == ("relu", True, True)
    assert info.class_names[:3] == ("background", "tench", "goldfish")
    assert info.class_names[1000] == "toilet tissue"
    assert info.category_ids == tuple(range(1001))


@pytest.mark.slow
def test_what_training_left_is_named(published):
    assert convert(published[1]).left_out == {
        "optimizer state": ("classification_head/dense/kernel/Momentum",),
        "counters": ("global_step",),
    }


def test_classes_of_another_number_are_numbered_and_none_is_the_background(tmp_path):
    tiny = load_architecture("tiny")
    found = convert(write_published(tmp_path / "m", random_classifier(tiny, 91), tiny, "tpu"), arch="tiny")

    assert found.info.class_names[:2] == ("class 0", "class 1")
    assert not found.info.model.background


@pytest.mark.parametrize("name", ["spinenet49", "spinenet96"])
def test_the_catalogue_entry_is_found_from_the_shapes_of_a_classifier(name):
    known = load_architecture(name)
    shapes = model_shapes(known, 1001, "classifier")

    found = find_architecture(known.genotype, shapes, known.scaling.repeats, 1001, "here", "classifier")

    assert found.name == name


def test_missing_and_unexpected_variables_are_listed(tmp_path, published):
    extra = {"classification_head/conv2d/kernel": np.zeros((1, 1, 6, 6), "float32")}
    drop = ("classification_head/dense/bias",)
    path = write_published(tmp_path / "m", published[0], NARROW, "tpu", extra=extra, drop=drop)

    with pytest.raises(SpinetError) as error:
        convert(path)

    assert str(error.value) == (
        f"{path}: 1 variables are missing: classification_head/dense/bias; "
        "1 variables are unexpected: classification_head/conv2d/kernel; nothing was converted"
    )


@pytest.mark.slow
def test_a_dense_layer_of_another_width_is_refused(tmp_path, published):
    extra = {"classification_head/dense/kernel": np.zeros((30, 1001), "float32")}
    path = write_published(tmp_path / "m", published[0], NARROW, "tpu", extra=extra)

    with pytest.raises(
        SpinetError, match=r"classification_head/dense/kernel is \(1001, 30\), not \(1001, 6\); nothing was"
    ):
        convert(path)


def test_a_classifier_is_neither_a_detector_nor_the_other_way_round(converted, tmp_path):
    with pytest.raises(
        SpinetError, match=r"w\.safetensors holds a classifier, not a detector; load it with `load_classifier`"
    ):
        load_detector(converted)
    backbone = random_classifier(load_architecture("tiny"), 3)
    path = write_published(tmp_path / "m", backbone, load_architecture("tiny"), "tpu", head=False)
    convert(path, arch="tiny").save(tmp_path / "b.safetensors")
    with pytest.raises(SpinetError, match=r"b\.safetensors holds a backbone, not a classifier"):
        load_classifier(tmp_path / "b.safetensors")


@pytest.mark.slow
def test_a_detector_starts_from_the_backbone_of_a_classifier(published, converted):
    _, info = load_classifier(converted)
    model = create_retinanet(info.architecture, 2, pool_mode="tpu")
    untouched = model.cls_tower.predictor.weight.detach().clone()
    settings = replace(info.model, head="retinanet", weights=str(converted), background=False)

    load_pretrained(model, replace(info, model=settings, class_names=("a", "b"), category_ids=(1, 2)))

    expected = published[0].backbone.state_dict()
    for name, value in model.backbone.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert torch.equal(model.cls_tower.predictor.weight, untouched)


@pytest.mark.slow
def test_the_command_line_says_that_it_is_a_classifier(spinet, published, tmp_path):
    out = tmp_path / "w.safetensors"
    code, said, _ = spinet("convert", published[1], "-o", out)
    assert code == 0
    assert f"tensorflow/tpu: converted, classifier of 1001 classes, {count_parameters(published[0]):,} param" in said

    code, _, error = spinet("evaluate", out)
    assert code == 1
    assert "w.safetensors does not contain the path of its dataset; name the dataset folder as data" in error

    Image.new("RGB", (80, 60), "red").save(tmp_path / "image.png")
    code, said, _ = spinet("predict", out, tmp_path / "image.png", "--out", tmp_path / "out", "--device", "cpu")
    assert code == 0
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(entry["guesses"]) == 5
    assert "background" not in [guess["class"] for guess in entry["guesses"]]


def test_a_classifier_is_not_taken_for_a_detector(converted):
    with pytest.raises(SpinetError, match="holds a classifier, not a detector"):
        load_detector(converted)
