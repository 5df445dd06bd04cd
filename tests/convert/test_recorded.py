"""Converted weights against outputs of Google's own code that are in this repository; tests/golden/README.md."""

import gzip
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published import published_names

from spinet.arch.catalog import load_architecture
from spinet.convert.convert import convert
from spinet.convert.shapes import model_shapes
from spinet.convert.tf_checkpoint import read_checkpoint
from spinet.engine.checkpoint import load_backbone, load_model

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
YX = [1, 0, 3, 2]
CLASSES = 4


def image(height, width):
    """The image that tests/golden/record.py makes."""
    places = torch.arange(height * width * 3, dtype=torch.int64)
    return (
        (places * places * 7919 % 1009 / torch.tensor(504.5, dtype=torch.float64) - 1)
        .reshape(1, height, width, 3)
        .permute(0, 3, 1, 2)
    )


def unpack(name, folder):
    with zipfile.ZipFile(GOLDEN / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder


def distance(ours, theirs):
    """Largest difference in shares of the largest value."""
    theirs = torch.from_numpy(theirs)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def anchors_of(outputs, kind, values):
    """Outputs of the head, all levels."""
    return np.concatenate([outputs[f"{kind}_{level}"].reshape(1, -1, values) for level in range(3, 8)], axis=1)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main")
    convert(unpack("main", folder)).save(folder / "w.safetensors")
    return load_backbone(folder / "w.safetensors")


@pytest.mark.slow
def test_features_of_the_main_network_are_equal_in_double_and_in_single_precision(backbone):
    model, info = backbone
    expected = np.load(GOLDEN / "main.npz")
    assert (info.architecture.scaling.width, info.architecture.scaling.alpha) == (0.07, 0.5)

    with torch.no_grad():
        single = model.float()(image(128, 256).float())
        double = model.double()(image(128, 256))

    for level in range(3, 8):
        theirs = expected[f"features_{level}"]
        assert distance(double[level].permute(0, 2, 3, 1), theirs) < 1e-10
        assert distance(single[level].double().permute(0, 2, 3, 1), theirs) < 2e-5


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mobile-retinanet")
    found = convert(unpack("mobile-retinanet", folder), image_size=128)
    assert found.left_out.keys() == {"optimizer state", "counters"}
    found.save(folder / "w.safetensors")
    return load_model(folder / "w.safetensors")[0], np.load(GOLDEN / "mobile-retinanet.npz")


@pytest.mark.slow
def test_features_and_raw_outputs_of_the_mobile_retinanet_are_equal(detector):
    model, expected = detector

    with torch.no_grad():
        features = model.backbone(image(128, 128).float())
        logits, deltas = model(image(128, 128).float())

    for level, flow in features.items():
        assert distance(flow.permute(0, 2, 3, 1), expected[f"features_{level}"]) < 2e-5
    assert distance(logits, anchors_of(expected, "classes", CLASSES)) < 2e-5
    assert distance(deltas, anchors_of(expected, "boxes", 4)[..., YX]) < 2e-5


@pytest.mark.slow
def test_detections_of_the_mobile_retinanet_are_equal(detector):
    model, expected = detector

    found = model.predict(image(128, 128).float())[0]

    count = int(expected["detection_count"])
    assert len(found["scores"]) == count > 20
    assert found["labels"].tolist() == expected["detection_classes"][:count].tolist()
    assert distance(found["scores"], expected["detection_scores"][:count]) < 2e-5
    assert distance(found["boxes"], expected["detection_boxes"][:count, YX]) < 2e-5


def test_variables_that_tensorflow_wrote_are_read_whatever_their_type(tmp_path):
    found = read_checkpoint(unpack("types", tmp_path)).tensors

    expected = {
        "spinenet/conv2d/kernel": np.sin(np.arange(24.0)).reshape(2, 3, 4).astype("float32"),
        "half": np.arange(5).astype("float16") / 3,
        "double": np.arange(3) / 7,
        "global_step": np.array(62557),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), "float32"),
    }
    assert found.keys() == {*expected, "brain"}
    for name, value in expected.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype)
        np.testing.assert_array_almost_equal_nulp(found[name], value) if value.dtype.kind == "f" else (
            np.testing.assert_array_equal(found[name], value)
        )
    thirds = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0, 4 / 3], dtype=torch.bfloat16).float()
    np.testing.assert_array_equal(found["brain"], thirds.numpy())


def test_the_variables_of_the_published_spinenet49s_map_completely():
    lines = gzip.decompress((GOLDEN / "published-spinenet49s-variables.tsv.gz").read_bytes()).decode().splitlines()[1:]
    theirs = {name: shape for name, _, shape in (line.split("\t") for line in lines)}
    architecture = load_architecture("spinenet49s-256")
    names = published_names(architecture, "tpu")
    ours = model_shapes(architecture, 91)

    assert len(theirs) == 831
    assert theirs.keys() - set(names.values()) == {"global_step"}
    assert set(names) == {name for name in ours if not name.endswith("num_batches_tracked")}
    for name, their_name in names.items():
        shape = ours[name] if len(ours[name]) == 1 else (*ours[name][2:], ours[name][1], ours[name][0])
        assert theirs[their_name] == "x".join(map(str, shape))
    trained = [name for name in names if "running" not in name]
    assert sum(math.prod(ours[name]) for name in trained) == 11_944_598


def test_what_is_recorded_stays_small():
    assert sum(file.stat().st_size for file in GOLDEN.iterdir()) < 1_000_000
