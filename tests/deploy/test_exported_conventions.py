"""Converted R-CNNs as files: RoIAlign and box decoding of Google's code."""

import pytest
import torch
from exportable import tiny

from spinet.deploy.check import sample_images
from spinet.deploy.export import ExportOptions, export_model
from spinet.predict.open import load

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "suffix", "needs"), [("onnx", "onnx", "onnxruntime"), ("openvino", "xml", "openvino")]
)
def test_an_r_cnn_with_googles_conventions_is_exported_as_it_is(tmp_path, kind, suffix, needs):
    pytest.importorskip(needs)
    model, info = tiny("mask-rcnn", proposals=30, roi_align="google", box_coding="tpu")
    path = tmp_path / f"x.{suffix}"

    agreement = export_model(model, info, path, ExportOptions(kind))

    # The check before writing compares with the network; here the file's own boxes show whose convention it has.
    assert agreement.detections > 10
    assert agreement.matched >= 0.99
    image = sample_images(1, 64, 64)[0].permute(2, 0, 1)
    assert torch.as_tensor(load(path).predict(image, score_threshold=0.05).boxes).max() == 63
