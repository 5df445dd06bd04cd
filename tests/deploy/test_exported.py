"""Exported files: they find what the network finds, in photos and inputs of any shape."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from exportable import PHOTO_SIZES, SIZE, noise, tiny

from spinet.arch.catalog import load_architecture
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.coco import CocoDataset
from spinet.data.transforms import EvalTransform
from spinet.deploy.check import matches, sample_images
from spinet.deploy.export import ExportOptions, export_model
from spinet.deploy.formats import onnx_bytes
from spinet.deploy.graph import create_graph
from spinet.deploy.sessions import open_session
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig
from spinet.engine.evaluate import EvalOptions, evaluate, to_image
from spinet.errors import SpinetError
from spinet.predict.open import load
from spinet.predict.predictor import Predictor

pytestmark = pytest.mark.slow
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "pt2": "torch"}
SUFFIXES = {"onnx": "onnx", "openvino": "xml", "pt2": "pt2"}
# Ten sizes of the input, squares and (height, width), with and without remainder by the strides of the network.
INPUT_SIZES = [32, 33, 65, 97, 100, 130, 191, 256, (48, 160), (130, 66)]
STRIP = (48, 96)


@pytest.fixture(scope="module")
def detector():
    return tiny()


@pytest.fixture(scope="module")
def strip_detector():
    return tiny(shape=STRIP)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function from a format and a network to its file, which is written once."""
    folder, written = tmp_path_factory.mktemp("exported"), {}

    def export(kind, detector):
        pytest.importorskip(RUNTIMES[kind])
        path = folder / f"{id(detector)}.{SUFFIXES[kind]}"
        if path not in written:
            shape = STRIP if detector[1].image_size == max(STRIP) else None
            written[path] = export_model(*detector, path, ExportOptions(kind, shape, batch_size=2))
        return path

    return export


@pytest.fixture(scope="module")
def opened(exported):
    """Return a function from the same to the file's predictor, which is opened once."""
    predictors = {}

    def open_once(kind, detector):
        path = exported(kind, detector)
        if path not in predictors:
            predictors[path] = load(path)
        return predictors[path]

    return open_once


@pytest.mark.parametrize("size", PHOTO_SIZES)
@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_file_detects_what_the_network_detects_in_images_of_any_shape(detector, opened, kind, size):
    photo = noise(*size)

    ours = as_tensors(Predictor(*detector).predict(photo))
    theirs = as_tensors(opened(kind, detector).predict(photo))

    assert_same_in_photo(ours, theirs, size)


@pytest.mark.parametrize("size", PHOTO_SIZES)
@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_file_of_a_strip_finds_what_the_network_finds_in_it(strip_detector, opened, kind, size):
    photo = noise(*size)
    pixels, scale = EvalTransform(STRIP)(photo)

    [found] = strip_detector[0].predict(pixels[None], score_threshold=0.3)
    theirs = as_tensors(opened(kind, strip_detector).predict(photo))

    assert_same_in_photo(to_image(found, scale, *size), theirs, size)


def as_tensors(result):
    return {name: torch.from_numpy(getattr(result, name)) for name in ("boxes", "scores", "labels")}


def assert_same_in_photo(ours, theirs, size):
    # In an even area, as padding is, scores are equal and which of two boxes stays is chance: boxes there have no area
    # in the photo. A single pixel is nothing but an even area.
    inside = (ours["boxes"][:, 2:] > ours["boxes"][:, :2]).all(dim=1)
    same = matches(ours, theirs, exact=True)[inside]
    assert (theirs["boxes"] >= 0).all()
    assert (theirs["boxes"] <= torch.tensor([size[1], size[0]] * 2)).all()
    assert len(same) > 0
    assert size == (1, 1) or same.float().mean() > 0.9


@pytest.mark.parametrize("size", INPUT_SIZES)
@pytest.mark.parametrize("kind", RUNTIMES)
def test_files_of_any_input_size_agree_with_the_network(tmp_path, kind, size):
    pytest.importorskip(RUNTIMES[kind])
    shape = size if isinstance(size, tuple) else (size, size)
    path = tmp_path / f"x.{SUFFIXES[kind]}"

    agreement = export_model(*tiny(shape=shape), path, ExportOptions(kind, size))

    manifest = open_session(path).manifest
    assert manifest.shape == shape
    assert manifest.info.image_size == max(shape)
    assert agreement.detections > 10
    assert agreement.matched > 0.99
    assert 0 < agreement.raw < 1e-3


@pytest.mark.parametrize("kind", RUNTIMES)
def test_an_incomplete_last_batch_is_padded_and_detections_there_are_left_out(detector, exported, kind):
    images = create_graph(detector[0]).normalise(torch.stack(sample_images(3, SIZE, SIZE)))

    found = load(exported(kind, detector), threads=1).model.predict(images)

    for ours, theirs in zip(detector[0].predict(images), found, strict=True):
        # Of two nearly equal scores either may come first.
        assert len(theirs["labels"]) == len(ours["labels"]) > 10
        assert matches(ours, theirs, exact=True).float().mean() > 0.95


def test_an_onnx_file_gives_detections_alone_and_nothing_where_nothing_is(detector, exported):
    session = open_session(exported("onnx", detector))
    outputs = session.run(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8))

    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        "boxes": (2, 100, 4),
        "scores": (2, 100),
        "labels": (2, 100),
    }
    assert session.manifest.info == replace(detector[1], image_size=SIZE)
    assert session.manifest.batch_size == 2


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("spinet-export-9", "x.onnx has the export version 'spinet-export-9', but this Spinet reads"),
        ("", "x.onnx contains no manifest of Spinet"),
    ],
)
def test_a_file_of_another_version_or_of_somebody_else_is_one_sentence(
    detector, exported, spinet, tmp_path, version, sentence
):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported("onnx", detector))
    text = model.metadata_props[0].value.replace("spinet-export-2", version) if version else ""
    onnx.helper.set_model_props(model, {"spinet": text})
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(model))

    code, _, error = spinet("predict", tmp_path / "x.onnx", tmp_path)

    assert code == 1
    assert sentence in error
    assert len(error.splitlines()) == 1


def changed(exported, detector, tmp_path, change):
    """Write an ONNX file with a changed manifest."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported("onnx", detector))
    manifest = json.loads(model.metadata_props[0].value)
    change(manifest)
    onnx.helper.set_model_props(model, {"spinet": json.dumps(manifest)})
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(model))
    return tmp_path / "x.onnx"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda manifest: manifest.update(shape=[8192, 8192]), "takes images of shape .* but its manifest says"),
        (lambda manifest: manifest.update(shape=[10**9, 10**9]), "the manifest of .* is corrupt"),
        (lambda manifest: manifest.update(batch_size=3), "takes images of shape .* but its manifest says"),
        (lambda manifest: manifest.update(batch_size=0), "the manifest of .* is corrupt"),
        (lambda manifest: manifest.update(outputs=["boxes", "heat"]), "has no output heat"),
        (lambda manifest: manifest["model"].update(image_size="100000"), "image_size is 100000"),
        (lambda manifest: manifest["model"].update(model="[" * 10**5), "is not valid JSON: it is nested too deeply"),
    ],
)
def test_a_manifest_that_is_not_of_its_file_is_one_sentence(detector, exported, tmp_path, change, sentence):
    with pytest.raises(SpinetError, match=sentence) as error:
        open_session(changed(exported, detector, tmp_path, change))

    assert len(str(error.value).replace(str(tmp_path), "")) < 300


def test_an_onnx_file_has_the_lowest_ir_version_of_its_operators(detector, exported):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported("onnx", detector))

    # onnxruntime 1.17 refuses 10.
    assert (model.opset_import[0].version, model.ir_version) == (20, 9)
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)


def test_a_file_that_differs_leaves_the_one_before_untouched(detector, tmp_path, monkeypatch):
    path = tmp_path / "x.pt2"
    path.write_bytes(b"before")

    def refuse(*_):
        raise SpinetError("it differs")

    monkeypatch.setattr("spinet.deploy.export.check", refuse)
    with pytest.raises(SpinetError, match="it differs"):
        export_model(*detector, path, ExportOptions("pt2"))

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", RUNTIMES)
def test_an_exported_classifier_predicts_what_the_network_predicts(tmp_path, kind):
    pytest.importorskip(RUNTIMES[kind])
    model, info = tiny("classifier")
    path = tmp_path / f"x.{SUFFIXES[kind]}"
    export_model(model, info, path, ExportOptions(kind))
    photo = sample_images(1, 100, 100)[0].permute(2, 0, 1)

    result = load(path).predict(photo, top=2)

    expected = model.predict(ClassEvalTransform(SIZE)(photo)[None], top=2)
    assert result.labels.tolist() == expected["labels"][0].tolist()
    np.testing.assert_allclose(result.scores, expected["scores"][0], rtol=1e-3, atol=1e-4)
    assert load(path).is_classifier


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_masks_are_exported_too(tmp_path, kind):
    pytest.importorskip(RUNTIMES[kind])
    model, info = tiny("mask-rcnn", proposals=30)
    path = tmp_path / f"x.{SUFFIXES[kind]}"

    agreement = export_model(model, info, path, ExportOptions(kind))

    assert agreement.detections > 10
    result = load(path).predict(sample_images(1, 90, 90)[0].permute(2, 0, 1), score_threshold=0.05)
    assert result.masks.shape == (len(result), 90, 90)
    assert result.masks.any()


def write_weights(detector, path):
    """Write a network with the classes of the generated photos."""
    model, info = detector
    names = ("zero", "one", "two")
    save_weights(path, model.state_dict(), replace(info, class_names=names, category_ids=(1, 2, 3)), {})


def test_an_exported_file_can_replace_a_run_on_the_command_line(detector, digits, tmp_path, spinet):
    pytest.importorskip("onnxruntime")
    write_weights(detector, weights := tmp_path / "weights.safetensors")
    code, out, error = spinet("export", weights, "-o", tmp_path / "x.onnx")
    assert code == 0, error
    assert "100.0% of" in out

    results = [spinet("evaluate", path, "--data.root", digits, "--json") for path in (weights, tmp_path / "x.onnx")]

    assert [code for code, _, _ in results] == [0, 0], results
    ours, theirs = (json.loads(out) for _, out, _ in results)
    assert theirs["AP"] == pytest.approx(ours["AP"], abs=1e-3)
    photos = next(digits.glob("val*"))
    settings = ("--batch-size", 3, "--coco-results", tmp_path / "coco.json", "--score", 0.05)
    code, out, error = spinet("predict", tmp_path / "x.onnx", photos, "--out", tmp_path / "out", *settings)
    assert code == 0, error
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 8
    assert len(json.loads((tmp_path / "coco.json").read_text())) > 8


def test_a_strip_is_exported_and_measured_on_the_command_line(strip_detector, digits, tmp_path, spinet):
    path = tmp_path / "strip.pt2"
    write_weights(strip_detector, weights := tmp_path / "weights.safetensors")

    code, _, error = spinet("export", weights, "-o", path, "--format", "pt2", "--image-size", *STRIP)
    assert code == 0, error
    code, out, error = spinet("evaluate", path, "--data.root", digits, "--json")
    refused = spinet("evaluate", path, "--data.root", digits, "--image-size", 96)

    assert code == 0, error
    dataset = CocoDataset(digits, "val")
    assert json.loads(out)["AR100"] == pytest.approx(
        evaluate(strip_detector[0], dataset, EvalOptions(STRIP)).metrics["AR100"], abs=1e-3
    )
    assert "was exported for single images of 48 x 96 pixels" in refused[2]


@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_file_that_finds_nothing_at_all_says_nothing(tmp_path, kind):
    pytest.importorskip(RUNTIMES[kind])
    path = tmp_path / f"shy.{SUFFIXES[kind]}"
    info = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("ant",), (1,), SIZE)
    # Untrained, no score reaches 0.05.
    export_model(info.create_model().eval(), info, path, ExportOptions(kind))

    result = load(path).predict(noise(SIZE, SIZE), score_threshold=0.05)

    assert len(result) == len(result.boxes) == len(result.scores) == len(result.labels) == 0
