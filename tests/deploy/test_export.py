"""Exported files: they find what the network finds, say what they are, and refuse what they are not made for."""

import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exportable import PHOTO_SIZES, SIZE, Eager, tiny

from spinet.data.transforms import EvalTransform
from spinet.deploy.check import check, matches, sample_images
from spinet.deploy.export import ExportOptions, export, export_model
from spinet.deploy.exported import ExportedDetector
from spinet.deploy.graph import create_graph, letterbox, to_pixels
from spinet.deploy.manifest import Manifest
from spinet.deploy.sessions import open_session
from spinet.engine.checkpoint import save_weights
from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.fuse.fuse import fuse
from spinet.models.detections import NmsOptions, select_detections
from spinet.predict.predictor import Predictor


@pytest.fixture(scope="module")
def detector():
    return tiny()


# --- the graph ---


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (48, 96), (96, 48)])
@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_the_input_of_a_file_is_the_one_that_evaluation_makes(size, shape):
    photo = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)

    expected, expected_scale = EvalTransform(shape)(photo)
    pixels, scale = letterbox(photo, shape)

    assert torch.equal(pixels, to_pixels(expected[None])[0])
    assert torch.equal(scale, expected_scale)


def test_a_graph_sees_exactly_what_the_network_sees_padding_too(detector):
    photo = sample_images(1, 80, 80)[0].permute(2, 0, 1)[:, :50]

    seen = create_graph(detector[0]).normalise(letterbox(photo, (SIZE, SIZE))[0][None])

    torch.testing.assert_close(seen, EvalTransform(SIZE)(photo)[0][None], rtol=0, atol=1e-6)
    assert (seen[:, :, 40:] == 0).all()


@pytest.mark.parametrize("background", [False, True])
def test_a_graph_finds_what_predict_finds_in_fixed_shapes(background):
    model, _ = tiny(background=background)
    graph, pictures = create_graph(model), torch.stack(sample_images(2, SIZE, SIZE))

    with torch.no_grad():
        boxes, scores, labels, *_ = graph(pictures)

    for image, expected in enumerate(model.predict(graph.normalise(pictures))):
        count = len(expected["labels"])
        assert count > 10
        assert labels[image].tolist() == expected["labels"].tolist() + [-1] * (100 - count)
        torch.testing.assert_close(boxes[image, :count], expected["boxes"])
        torch.testing.assert_close(scores[image, :count], expected["scores"])


def test_boxes_that_are_moved_apart_are_chosen_like_boxes_of_groups(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(1, 300, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(1, 300, 2, generator=generator)], dim=2)
    scores, labels = torch.rand(1, 300, generator=generator), torch.randint(0, 4, (1, 300), generator=generator)
    expected = select_detections(boxes, scores, labels, NmsOptions())

    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    found = select_detections(boxes, scores, labels, NmsOptions())

    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


# --- the comparison ---


def test_a_network_agrees_with_its_fused_form(detector):
    model, info = detector

    fused = Eager(fuse(model.eval()), info)
    agreement = check(create_graph(model), fused, sample_images(2, SIZE, SIZE), "fp32", "x.onnx")

    assert agreement.matched == 1.0
    assert agreement.detections > 20


def test_a_file_that_computes_something_else_is_refused(detector):
    with pytest.raises(SpinetError, match="x.onnx was not written: its outputs differ from the network's"):
        check(create_graph(detector[0]), Eager(*detector, wrong=0.01), sample_images(2, SIZE, SIZE), "fp32", "x.onnx")


def test_a_file_whose_outputs_are_not_numbers_is_refused():
    model, info = tiny("classifier")
    broken = Eager(model, info)
    broken.run = lambda images: {"probabilities": torch.full((1, 3), torch.nan)}

    with pytest.raises(SpinetError, match="its outputs differ from the network's"):
        check(create_graph(model), broken, sample_images(1, SIZE, SIZE), "fp32", "x.onnx")


def test_low_precision_has_to_find_the_same_class_at_about_the_same_location():
    box = torch.tensor([[10.0, 10, 30, 30]])
    ours = {"boxes": box, "scores": torch.tensor([0.9]), "labels": torch.tensor([1])}

    assert matches(ours, ours | {"boxes": box + 2}, exact=False).tolist() == [True]
    assert matches(ours, ours | {"boxes": box + 2}, exact=True).tolist() == [False]
    assert matches(ours, ours | {"labels": torch.tensor([2])}, exact=False).tolist() == [False]


def test_lower_precision_whose_raw_outputs_are_unlike_the_networks_is_refused(detector):
    model, info = detector
    other = Eager(model, info)
    names = (*other.graph.output_names, *other.graph.raw_names)

    @torch.no_grad()
    def shuffled(images):
        outputs = dict(zip(names, other.graph(images), strict=True))
        # Of the same mean and spread, which is what most of the angle between logits comes from.
        return outputs | {"class_logits": outputs["class_logits"].flip(1)}

    other.run = shuffled

    with pytest.raises(SpinetError, match="its outputs differ.*real images as calibration are a fairer test"):
        check(other.graph, other, sample_images(2, SIZE, SIZE), "bf16", "model.xml")


# --- the manifest ---


def test_a_manifest_survives_its_text(detector):
    manifest = Manifest(detector[1], (48, 64), 3, ("boxes",), "int8", {"spinet": "1", "torch": "2"})

    assert Manifest.from_json(manifest.to_json(), "x.onnx") == manifest


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "spinet-export-0"}, "x.onnx has the export version 'spinet-export-0'"),
        ({"format": "spinet-export-1"}, "this Spinet reads 'spinet-export-2': export it again"),
        ({"shape": [64]}, "the manifest of x.onnx is corrupt"),
        ({"shape": [8192, 8192], "batch_size": 5}, "the manifest of x.onnx: 5 images of 8192 x 8192 pixels are"),
        ({"batch_size": "many"}, "the manifest of x.onnx is corrupt"),
        ({"precision": "fp8"}, "the manifest of x.onnx is corrupt: .* 'fp8'"),
        ({"model": {}}, "x.onnx is not a Spinet weights file"),
    ],
)
def test_a_manifest_that_is_not_ours_is_one_sentence(detector, change, sentence):
    text = Manifest(detector[1], (64, 64), 1, ("boxes",), "fp32", {}).to_json()

    with pytest.raises(SpinetError, match=sentence):
        Manifest.from_json(json.dumps(json.loads(text) | change), "x.onnx")


def test_a_file_without_a_manifest_says_what_can_be_used():
    with pytest.raises(SpinetError, match="contains no manifest of Spinet; only files that Spinet exported"):
        Manifest.from_json(None, "x.onnx")


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "bf16"}, "precision bf16 is for the format openvino; onnx is fp32 only"),
        ({"format": "openvino", "precision": "int8"}, "precision int8 needs calibration, a folder of images"),
        ({"calibration": Path("photos")}, "calibration is for precision int8 and bf16"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": (64, 0)}, "image_size is 0"),
        (
            {"image_size": 8192, "batch_size": 5},
            "5 images of 8192 x 8192 pixels are 335,544,320 pixels; must be at most 268,435,456, so lower batch_size",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, sentence):
    with pytest.raises(SpinetError, match=sentence):
        ExportOptions(**options)


def test_a_batch_of_too_many_pixels_at_the_size_of_the_training_is_refused_before_anything_is_built(detector, tmp_path):
    model, info = detector

    with pytest.raises(SpinetError, match=r"1000 images of 4096 x 4096 pixels are 16,777,216,000 pixels"):
        export_model(model, replace(info, image_size=4096), tmp_path / "new" / "x.onnx", ExportOptions(batch_size=1000))

    assert not (tmp_path / "new").exists()


@pytest.fixture
def run_file(detector, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, detector[0].state_dict(), detector[1], {})
    return path


@pytest.mark.slow
def test_a_calibration_folder_without_images_is_refused_before_anything_is_computed(run_file, tmp_path, spinet):
    (tmp_path / "photos").mkdir()

    code, _, error = spinet(
        "export",
        run_file,
        "-o",
        tmp_path / "ov",
        "--format",
        "openvino",
        "--int8",
        "--calibration",
        tmp_path / "photos",
    )

    assert code == 1
    assert "photos contains no image" in error
    assert not (tmp_path / "ov" / "model.xml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"),
    [("onnxscript", ()), ("openvino", ("--format", "openvino")), ("onnxruntime", ("--format", "onnx"))],
)
def test_a_missing_extra_is_named_before_anything_is_computed(
    run_file, tmp_path, spinet, monkeypatch, module, arguments
):
    load = importlib.import_module

    def without(name, *rest):
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    out = tmp_path / ("ov" if "openvino" in arguments else "x.onnx")

    code, _, error = spinet("export", run_file, "-o", out, *arguments)

    assert code == 1
    missing = re.search(r"needs (\w+), which is not installed: pip install 'spinet\[export\]'", error)
    # Where the extra is not installed at all, another of its packages may be missed first.
    assert missing is not None, error
    assert not out.exists()


def test_no_package_reports_the_use_of_exports(monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)

    import_extra("json", "export", "exporting")

    with pytest.raises(ImportError):
        importlib.import_module("openvino_telemetry")


def test_an_exported_file_is_not_exported_again(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(SpinetError, match="is an exported file already; name the run"):
        export(tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_the_name_of_a_file_has_to_end_as_its_format_asks(run_file, tmp_path):
    with pytest.raises(SpinetError, match=r"pt2 must end in .pt2, not .*x.onnx; the format of .onnx is onnx"):
        export(run_file, tmp_path / "x.onnx", format="pt2")


def test_a_precision_of_exported_files_is_refused_for_a_run(run_file, spinet):
    code, _, error = spinet("evaluate", run_file, "--precision", "bf16")

    assert code == 1
    assert f"precision is for exported files, which {run_file} is not" in error


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("none.onnx", "there is no exported file"), ("x.xml", "has no weights: x.bin must be beside it")],
)
def test_files_that_are_missing_are_named(tmp_path, name, sentence):
    (tmp_path / "x.xml").write_text("<net/>")

    with pytest.raises(SpinetError, match=sentence):
        open_session(tmp_path / name)


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_corrupt_file_is_one_sentence(tmp_path, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"not a model")

    with pytest.raises(SpinetError, match=r"could not read .*x\." + suffix):
        open_session(path, trust=suffix == "pt2")


@pytest.mark.parametrize("shape", [(3, 0, 5), (3, 5, 0), (1, 5, 5)])
def test_an_image_of_no_size_is_one_sentence(detector, shape):
    model = ExportedDetector(Eager(*detector))
    with pytest.raises(SpinetError, match=r"has no pixels|must have shape \(3, H, W\)"):
        Predictor(model, model.info).predict(torch.zeros(shape, dtype=torch.uint8))


def test_images_of_another_size_than_the_file_takes_are_refused(detector):
    with pytest.raises(SpinetError, match=r"exported for \(N, 64, 64, 3\)"):
        ExportedDetector(Eager(*detector)).predict(torch.zeros(1, 3, 32, 32))
