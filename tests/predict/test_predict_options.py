"""Options of `spinet predict` and `spinet evaluate` that do nothing for a kind of network are refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from exportable import noise, tiny
from PIL import Image
from small_models import tiny_weights

from spinet.data.class_transforms import ClassEvalTransform
from spinet.deploy.export import ExportOptions, export_model
from spinet.engine.checkpoint import save_weights
from spinet.predict.open import load


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(noise(40, 60).permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value"), [("--score", "0.3"), ("--batch-size", "1"), ("--coco-results", "x.json"), ("--frames", "3")]
)
def test_options_of_detectors_are_refused_for_a_classifier(tmp_path, photo, spinet, option, value):
    path = tiny_weights(tmp_path / "c.safetensors", "classifier")

    code, _, error = spinet("predict", path, photo, "-o", tmp_path / "out", option, value)

    assert code == 1
    assert error == f"spinet: error: {option} is for detectors, and {path} holds a classifier\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_top_is_refused_for_a_detector(tmp_path, photo, spinet):
    path = tiny_weights(tmp_path / "d.safetensors")

    code, _, error = spinet("predict", path, photo, "--top", 5)

    assert code == 1
    assert error == f"spinet: error: --top is for classifiers, and {path} holds a detector\n"


@pytest.mark.slow
def test_frames_are_refused_where_no_video_is_named(tmp_path, photo, spinet):
    path = tiny_weights(tmp_path / "d.safetensors")

    code, _, error = spinet("predict", path, photo, "--frames", 5)

    assert code == 1
    assert error == "spinet: error: --frames is for videos and cameras, and none is named\n"


@pytest.mark.slow
def test_without_options_both_kinds_do_their_work(tmp_path, photo, spinet):
    for head in ("retinanet", "classifier"):
        path = tiny_weights(tmp_path / f"{head}.safetensors", head)

        code, out, error = spinet("predict", path, photo, "-o", tmp_path / head, "--device", "cpu")

        assert code == 0, error
        assert str(tmp_path / head / "predictions.json") in out


@pytest.mark.slow
def test_a_classifier_is_fused_and_predicts_the_same(tmp_path):
    model, info = tiny("classifier")
    save_weights(tmp_path / "c.safetensors", model.state_dict(), info, {})
    photo = noise(90, 70)

    predictor = load(tmp_path / "c.safetensors", device="cpu")
    result = predictor.predict(photo, top=3)

    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in predictor.model.modules())
    expected = model.predict(ClassEvalTransform(info.image_size)(photo)[None], top=3)
    assert result.labels.tolist() == expected["labels"][0].tolist()
    np.testing.assert_allclose(result.scores, expected["scores"][0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_predict_runs_scores_as_the_network_that_was_trained(learnt, spinet):
    settings = ("--split", "train", "--device", "cpu", "--json")

    results = [
        spinet("evaluate", learnt, *settings, *more) for more in ((), ("--fused",), ("--fused", "--precision", "bf16"))
    ]

    assert [code for code, _, _ in results] == [0, 0, 0], results
    ours, fused, half = (json.loads(out) for _, out, _ in results)
    assert ours["AP"] > 0.8
    assert fused["AP"] == pytest.approx(ours["AP"], abs=1e-3)
    assert half["AP50"] == pytest.approx(ours["AP50"], abs=0.02)


@pytest.mark.slow
def test_a_classifier_is_measured_fused_too(tmp_path, spinet):
    root = tmp_path / "animals"
    for name, colour in {"ant": (200, 20, 20), "cat": (20, 20, 200)}.items():
        (root / "val" / name).mkdir(parents=True)
        Image.new("RGB", (40, 30), colour).save(root / "val" / name / "a.png")
    path = tiny_weights(tmp_path / "c.safetensors", "classifier")
    settings = ("--data.root", root, "--device", "cpu", "--json")

    results = [
        spinet("evaluate", path, *settings, *more) for more in ((), ("--fused",), ("--fused", "--precision", "bf16"))
    ]

    assert [code for code, _, _ in results] == [0, 0, 0], results
    assert results[0][1] == results[1][1]


@pytest.mark.slow
def test_the_precision_of_a_run_asks_for_its_fused_form(tmp_path, spinet):
    path = tiny_weights(tmp_path / "d.safetensors")

    code, _, error = spinet("evaluate", path, "--precision", "bf16")

    assert code == 1
    assert error == f"spinet: error: precision is for exported files, which {path} is not, or for runs with fused\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
# torch 2.11 compiles through parts of its own that it has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("head", ["retinanet", "faster-rcnn"])
def test_a_compiled_network_finds_the_same(tmp_path, head):
    model, info = tiny(head)
    save_weights(tmp_path / "d.safetensors", model.state_dict(), info, {})
    photo = noise(64, 64)

    plain, compiled = (
        load(tmp_path / "d.safetensors", device="cpu", compile=compiled).predict(photo, score_threshold=0.05)
        for compiled in (False, True)
    )

    assert len(plain) > 0
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(plain, name), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_compiling_is_for_runs_and_an_exported_program_takes_a_device(tmp_path, photo, spinet):
    path = tmp_path / "c.pt2"
    export_model(*tiny("classifier"), path, ExportOptions("pt2"))

    code, _, error = spinet("predict", path, photo, "--compile")
    assert (code, error.count("\n")) == (1, 1)
    assert "compile is for runs and weights files" in error

    code, _, error = spinet("predict", path, photo, "-o", tmp_path / "out", "--device", "cpu")
    assert code == 0, error
