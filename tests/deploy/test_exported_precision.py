"""OpenVINO files of lower precision: they find what the network finds, or are not written."""

import json

import pytest
import torch
from exportable import tiny
from PIL import Image

from spinet.deploy.check import sample_images
from spinet.deploy.export import ExportOptions, export, export_model
from spinet.deploy.sessions import open_session
from spinet.engine.checkpoint import save_weights
from spinet.errors import SpinetError
from spinet.predict.open import load
from spinet.predict.predictor import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("openvino_in_bf16")]


def test_a_file_in_fp32_computes_in_bf16_on_request(tmp_path):
    detector = tiny()
    full = export_model(*detector, tmp_path / "full" / "model.xml", ExportOptions("openvino"))

    assert full.matched == 1.0
    image = sample_images(1, 100, 100)[0].permute(2, 0, 1)
    ours = Predictor(*detector).predict(image)
    half = load(tmp_path / "full", precision="bf16").predict(image)
    assert abs(len(half) - len(ours)) <= 0.1 * len(ours)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_trained_detector_survives_lower_precision_and_scores_close(learnt, digits, tmp_path, spinet, precision):
    if precision == "int8":
        pytest.importorskip("nncf")
    options = {"precision": precision, "calibration": digits / "train"}

    agreement = export(learnt, tmp_path / "small", format="openvino", **options)

    assert agreement.detections >= 4
    assert agreement.matched >= 0.9
    assert open_session(tmp_path / "small").manifest.precision == precision
    settings = ("--split", "train", "--json", "--data.root", digits)
    results = [spinet("evaluate", path, *settings) for path in (learnt, tmp_path / "small")]
    assert [code for code, _, _ in results] == [0, 0], results
    ours, theirs = (json.loads(out) for _, out, _ in results)
    assert theirs["AP50"] == pytest.approx(ours["AP50"], abs=0.02)
    if precision == "bf16":  # in 8 bits the corners of boxes of sixteen pixels move by a pixel
        assert theirs["AP75"] == pytest.approx(ours["AP75"], abs=0.1)


def test_without_images_bf16_is_judged_by_raw_outputs_not_by_which_of_many_boxes_are_the_best_hundred(learnt, tmp_path):
    agreement = export(learnt, tmp_path / "small", format="openvino", precision="bf16")

    assert agreement.detections == 0
    assert agreement.cosine > 0.99
    assert 0 < agreement.raw < 0.1


def test_regions_and_masks_survive_bf16(tmp_path):
    model, info = tiny("cascade-mask-rcnn", proposals=30)
    with torch.no_grad():
        for stage in model.box_heads:  # so that scores are far from each other
            stage.cls_score.weight.mul_(100)

    agreement = export_model(model, info, tmp_path / "small" / "model.xml", ExportOptions("openvino", precision="bf16"))

    assert agreement.detections > 20
    assert agreement.matched >= 0.9
    assert open_session(tmp_path / "small").manifest.precision == "bf16"


def test_an_export_with_nothing_to_compare_says_so(tmp_path, spinet):
    model, info = tiny("faster-rcnn", proposals=8)  # no score reaches 0.3
    save_weights(tmp_path / "weights.safetensors", model.state_dict(), info, {})

    settings = ("--format", "openvino", "--precision", "bf16")
    code, out, error = spinet("export", tmp_path / "weights.safetensors", "-o", tmp_path / "small", *settings)

    assert code == 0, error
    assert "no objects were detected, so nothing was compared; check the file with `spinet evaluate`" in out


@pytest.fixture
def calibration(tmp_path):
    pytest.importorskip("nncf")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, picture in enumerate(sample_images(8, 90, 90)):
        Image.fromarray(picture.numpy()).save(photos / f"{index}.png")
    return ExportOptions("openvino", precision="int8", calibration=photos)


def test_a_classifier_in_eight_bits_predicts_nearly_the_same(calibration, tmp_path):
    agreement = export_model(*tiny("classifier"), tmp_path / "small" / "model.xml", calibration)

    assert 0.95 <= agreement.cosine < 1.0
    assert open_session(tmp_path / "small").manifest.precision == "int8"


def test_a_detector_that_does_not_survive_eight_bits_is_refused(calibration, tmp_path):
    # This one was never trained: what it finds hangs on small differences.
    with pytest.raises(SpinetError, match="was not written: its outputs differ from the network's"):
        export_model(*tiny(), tmp_path / "small" / "model.xml", calibration)

    assert list((tmp_path / "small").iterdir()) == []
