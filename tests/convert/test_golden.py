"""Converted weights against outputs of Google's own code, where these files are beside the checkout."""

import json
import re

import numpy as np
import pytest
import torch
from tf_writer import write_checkpoint

from spinet.arch.catalog import load_architecture
from spinet.convert.convert import convert
from spinet.convert.garden import SUFFIX, backbone_names
from spinet.engine.checkpoint import load_backbone, load_model
from spinet.models.blocks import count_parameters

BACKBONES = {"SpineNet-49S": "spinenet49s", "SpineNetMobile-49XS": "spinenet49xs-mobile"}
GARDEN_RETINANET = "model_garden/RetinaNet-SpineNetMobile-49XS"
TPU_RETINANET = "tpu/SpineNet-49S-retinanet"

# tensorflow/tpu has the ratios of a size as 1, 2, 1/2; we have 1/2, 1, 2. Both of Google's have y before x.
TPU_ANCHORS = [2, 0, 1, 5, 3, 4, 8, 6, 7]
YX = [1, 0, 3, 2]


def images(array):
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def distance(ours, theirs):
    """Largest difference in shares of the largest value."""
    theirs = torch.from_numpy(theirs)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def flat(arrays, values, order=tuple(range(9))):
    """Outputs of the head, all levels, in our order of anchors."""
    cells = [array.reshape(len(array), -1, 9, values)[:, :, list(order)] for array in arrays]
    return np.concatenate([cell.reshape(len(cell), -1, values) for cell in cells], axis=1)


@pytest.fixture(params=BACKBONES)
def backbone(golden, request):
    return golden(f"model_garden/{request.param}"), BACKBONES[request.param]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_features_of_model_garden_backbones_are_equal(backbone, activation, tmp_path):
    folder, name = backbone
    expected = np.load(folder / "golden.npz")
    convert(folder, activation=activation).save(tmp_path / "w.safetensors")
    model, info = load_backbone(tmp_path / "w.safetensors")
    assert info.architecture.name == name
    with torch.no_grad():
        for size in ("256x256", "256x384"):
            for level, features in model(images(expected[f"input_{size}"])).items():
                assert distance(features.permute(0, 2, 3, 1), expected[f"{activation}_{size}_P{level}"]) < 2e-5
        for level, features in model.double()(images(expected["input_256x256"]).double()).items():
            assert distance(features.permute(0, 2, 3, 1), expected[f"{activation}_256x256_P{level}_f64"]) < 1e-10


def test_layers_have_the_numbers_that_keras_gave_them(backbone):
    folder, name = backbone
    entries = json.loads((folder / "weights_map.json").read_text())["entries"]
    semantic = {entry["key"].removesuffix(SUFFIX): entry["semantic"] for entry in entries}
    names, _ = backbone_names(load_architecture(name).genotype, 1, "backbone/", projection=True)
    assert set(names.values()) == set(semantic)
    for ours, theirs in names.items():
        numbers = [int(each) for each in re.findall(r"(?<=blocks\.)\d+|(?<=parents\.)\d+|(?<=endpoints\.)\d+", ours)]
        shown = re.findall(r"(?<=block)\d+|(?<=from)\d+|(?<=endpoint\.P)\d", semantic[theirs])
        assert numbers == [int(each) for each in shown], (ours, semantic[theirs])


@pytest.fixture
def mobile_retinanet(golden, tmp_path):
    folder = golden(GARDEN_RETINANET)
    found = convert(folder)
    assert found.left_out.keys() == {"optimizer state", "counters"}
    found.save(tmp_path / "w.safetensors")
    return load_model(tmp_path / "w.safetensors")[0], np.load(folder / "golden.npz")


@pytest.mark.slow
def test_outputs_of_the_mobile_retinanet_are_equal(mobile_retinanet):
    model, expected = mobile_retinanet
    inputs = images(expected["input"])
    with torch.no_grad():
        for level, features in model.backbone(inputs).items():
            assert distance(features.permute(0, 2, 3, 1), expected[f"feat_{level}"]) < 2e-5
        logits, deltas = model(inputs)
    assert distance(logits, flat([expected[f"cls_{level}"] for level in range(3, 8)], 91)) < 2e-5
    assert distance(deltas, flat([expected[f"box_{level}"] for level in range(3, 8)], 4)[..., YX]) < 2e-5
    anchors = flat([expected[f"anchors_{level}"] for level in range(3, 8)], 4)[0][:, YX]
    assert distance(model.anchors(256, 256, inputs.device), anchors) < 1e-6


@pytest.mark.slow
def test_detections_of_the_mobile_retinanet_are_equal(mobile_retinanet):
    model, expected = mobile_retinanet
    found = model.predict(images(expected["input"]))[0]
    assert len(found["scores"]) == expected["det_num_detections"][0]
    assert found["labels"].tolist() == expected["det_detection_classes"][0].tolist()
    assert distance(found["scores"], expected["det_detection_scores"][0]) < 2e-5
    assert distance(found["boxes"], expected["det_detection_boxes"][0][:, YX]) < 2e-5


@pytest.mark.slow
def test_outputs_of_the_tpu_retinanet_are_equal(golden, tmp_path):
    folder = golden(TPU_RETINANET)
    expected = np.load(folder / "golden.npz")
    convert(folder, activation="swish").save(tmp_path / "w.safetensors")
    model, info = load_model(tmp_path / "w.safetensors")
    assert info.architecture.name == "spinenet49s"
    for size in ("256x256", "256x384"):
        inputs = images(expected[f"input_{size}"])
        with torch.no_grad():
            for level, features in model.backbone(inputs).items():
                assert distance(features.permute(0, 2, 3, 1), expected[f"{size}_P{level}"]) < 2e-5
            logits, deltas = model(inputs)
        classes = flat([expected[f"{size}_cls{level}"] for level in range(3, 8)], 91, TPU_ANCHORS)
        boxes = flat([expected[f"{size}_box{level}"] for level in range(3, 8)], 4, TPU_ANCHORS)
        assert distance(logits, classes) < 2e-5
        assert distance(deltas, boxes[..., YX]) < 2e-5


@pytest.mark.slow
def test_the_published_variables_of_spinenet49s_map_completely(golden, tmp_path):
    lines = golden("tpu/published_spinenet49s_variables.tsv").read_text().splitlines()[1:]
    shapes = {name: shape for name, _, shape in (line.split("\t") for line in lines)}
    assert len(shapes) == 831
    tensors = {
        name: np.zeros([int(side) for side in shape.split("x")] if shape else (), "float32")
        for name, shape in shapes.items()
    }
    found = convert(write_checkpoint(tmp_path / "model.ckpt", tensors))
    assert found.left_out == {"counters": ("global_step",)}
    assert found.info.architecture.name == "spinenet49s-256"
    assert found.parameters == count_parameters(found.info.create_model()) == 11_944_598
    stored = [name for name in found.weights if not name.endswith("num_batches_tracked")]
    assert len(stored) == 830
