"""R-CNNs of Google's repositories: their names, orders and settings. Outputs: test_convert_maskrcnn_golden.py."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from published_rcnn import random_rcnn, rcnn_names, write_rcnn

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.scaling import Scaling
from spinet.convert import rcnn
from spinet.convert.classes import COCO
from spinet.convert.convert import convert
from spinet.convert.shapes import model_shapes
from spinet.engine.checkpoint import load_model
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError

CASCADE = {"cascade": True, "octaves": 3}
KINDS = {
    "tpu-mask": ("tpu", {}),
    "tpu-faster": ("tpu", {"masks": False}),
    "garden-mask": ("garden", {"octaves": 3}),
    "garden-cascade": ("garden", CASCADE),
    "garden-cascade-boxes": ("garden", CASCADE | {"masks": False}),
}
# Trained parameters in millions, as published.
PARAMETERS = {"spinenet49s": 13.9, "spinenet49": 40.8, "spinenet190": 168.2}
HEADS = ("mask-rcnn", "faster-rcnn", "mask-rcnn", "cascade-mask-rcnn", "cascade-rcnn")


@pytest.fixture(scope="module")
def tiny():
    return load_architecture("tiny")


@pytest.fixture(scope="module")
def tpu(tiny):
    return random_rcnn(tiny, "tpu"), tiny


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "head"), list(zip(KINDS, HEADS, strict=True)))
def test_a_converted_r_cnn_gives_the_same_outputs(tmp_path, tiny, kind, head):
    source, settings = KINDS[kind]
    model = random_rcnn(tiny, source, **settings, proposals=50)
    path = write_rcnn(tmp_path / "model.ckpt", model, tiny, source)

    converted = convert(path, arch="tiny")
    converted.save(tmp_path / "w.safetensors")
    loaded, info = load_model(tmp_path / "w.safetensors")

    assert converted.left_out == {}
    assert (info.model.head, info.model.octaves) == (head, settings.get("octaves", 1))
    assert (info.model.rpn_convs, info.model.roi_align) == (2 if "cascade" in kind else 1, "google")
    assert (info.model.box_coding, info.model.background) == ("tpu" if source == "tpu" else "exact", False)
    assert info.class_names == tuple(f"class {number}" for number in range(1, 5))
    loaded.options = replace(loaded.options, proposals=50)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(loaded(images), model(images), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_the_names_of_tensorflow_tpu_are_those_of_its_heads():
    names = rcnn.tpu_names((3, 7), rcnn.RcnnLayout(1, 1, 2, 1))

    expected = {
        "rpn.convs.0.weight": "rpn_head/rpn/kernel",
        "rpn.norms.7.0.running_var": "rpn_head/rpn-l7-bn/moving_variance",
        "rpn.cls_logits.bias": "rpn_head/rpn-class/bias",
        "rpn.bbox_pred.weight": "rpn_head/rpn-box/kernel",
        "box_heads.0.convs.convs.1.bias": "fast_rcnn_head/conv_1/bias",
        "box_heads.0.convs.norms.0.weight": "fast_rcnn_head/batch_normalization/gamma",
        "box_heads.0.convs.norms.1.bias": "fast_rcnn_head/batch_normalization_1/beta",
        "box_heads.0.fc.weight": "fast_rcnn_head/fc6/kernel",
        "box_heads.0.norm.running_mean": "fast_rcnn_head/batch_normalization_2/moving_mean",
        "box_heads.0.cls_score.weight": "fast_rcnn_head/class-predict/kernel",
        "box_heads.0.bbox_pred.bias": "fast_rcnn_head/box-predict/bias",
        "mask_head.convs.convs.0.weight": "mask_head/mask-conv-l0/kernel",
        "mask_head.convs.norms.0.weight": "mask_head/batch_normalization/gamma",
        "mask_head.deconv.weight": "mask_head/conv5-mask/kernel",
        "mask_head.norm.weight": "mask_head/batch_normalization_1/gamma",
        "mask_head.predictor.bias": "mask_head/mask_fcn_logits/bias",
    }
    assert expected.items() <= names.items()
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("source", ["tpu", "garden"])
@pytest.mark.parametrize(("name", "millions"), list(PARAMETERS.items()))
def test_every_tensor_of_a_published_mask_r_cnn_has_one_name(source, name, millions):
    architecture = load_architecture(name)
    convs = architecture.scaling.head_convs
    shapes = model_shapes(architecture, 90, model=ModelConfig(head="mask-rcnn", octaves=1))

    names = rcnn_names(rcnn.RcnnLayout(1, 1, convs, convs), architecture, source)

    assert set(names) == {name for name in shapes if not name.endswith("num_batches_tracked")}
    assert len(set(names.values())) == len(names)
    trained = sum(math.prod(shapes[name]) for name in names if "running" not in name)
    assert trained / 1e6 == pytest.approx(millions, abs=0.05)


def test_missing_and_unexpected_variables_are_listed(tmp_path, tpu):
    drop = ("fast_rcnn_head/batch_normalization_1/beta", "mask_head/conv5-mask/kernel")
    extra = {"fast_rcnn_head/fc7/kernel": np.zeros((3, 3), "float32")}
    path = write_rcnn(tmp_path / "m", *tpu, "tpu", extra=extra, drop=drop)

    with pytest.raises(SpinetError) as error:
        convert(path, arch="tiny")

    assert str(error.value) == (
        f"{path}: 2 variables are missing: {', '.join(drop)}; "
        "1 variables are unexpected: fast_rcnn_head/fc7/kernel; nothing was converted"
    )


def test_variables_of_another_shape_are_listed(tmp_path, tpu):
    extra = {"fast_rcnn_head/fc6/kernel": np.zeros((50, 192), "float32")}

    with pytest.raises(SpinetError, match=r"fast_rcnn_head/fc6/kernel is \(192, 50\), not \(192, 2352\); nothing was"):
        convert(write_rcnn(tmp_path / "m", *tpu, "tpu", extra=extra), arch="tiny")


def test_anchors_of_other_aspect_ratios_are_refused(tmp_path, tpu):
    extra = {
        "rpn_head/rpn-class/kernel": np.zeros((1, 1, 48, 4), "float32"),
        "rpn_head/rpn-class/bias": np.zeros(4, "float32"),
    }

    with pytest.raises(SpinetError, match="4 anchors per location are not a multiple of 3 aspect ratios"):
        convert(write_rcnn(tmp_path / "m", *tpu, "tpu", extra=extra), arch="tiny")


def test_a_cascade_of_three_stages_is_refused(tmp_path, tiny):
    model = random_rcnn(tiny, "garden", cascade=True, overlaps=(0.5, 0.6, 0.7))

    with pytest.raises(SpinetError, match="is a cascade of 3 box heads, but only up to 2, as released"):
        convert(write_rcnn(tmp_path / "m", model, tiny, "garden"), arch="tiny")


def test_a_truncated_checkpoint_is_refused(tmp_path, tpu):
    path = write_rcnn(tmp_path / "m", *tpu, "tpu")
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100_000])

    with pytest.raises(SpinetError, match=r"data-00000-of-00001 is truncated: expected [\d,]+ bytes, found 100,000$"):
        convert(path, arch="tiny")


def test_what_is_no_weight_is_left_out(tmp_path, tpu):
    extra = {
        "global_step": np.array(7, "int64"),
        "rpn_head/rpn/kernel/Momentum": np.zeros(2, "float32"),
        "classification_head/dense/bias": np.zeros(2, "float32"),
    }

    assert convert(write_rcnn(tmp_path / "m", *tpu, "tpu", extra=extra), arch="tiny").left_out == {
        "optimizer state": ("rpn_head/rpn/kernel/Momentum",),
        "counters": ("global_step",),
        "other heads": ("classification_head/dense/bias",),
    }


def test_settings_that_no_checkpoint_contains_are_the_published_ones():
    masks, cascade = rcnn.RcnnLayout(1, 1, 4, 4), rcnn.RcnnLayout(2, 2, 4, 4)

    known = {
        ("tensorflow/tpu", "spinenet143"): (3.0, None, "relu"),
        ("tensorflow/tpu", "spinenet190"): (5.0, 1536, "swish"),
        ("tensorflow/models", "spinenet49"): (3.0, None, "relu"),
        ("tensorflow/models", "spinenet143"): (4.0, None, "relu"),
    }
    for (source, name), expected in known.items():
        found = masks.published(source, name)
        assert (found.anchor_scale, found.image_size, found.activation) == expected
    assert cascade.published("tensorflow/models", "spinenet96").anchor_scale == 4.0
    assert cascade.published("tensorflow/models", "spinenet49").activation == "swish"


@pytest.mark.slow
@pytest.mark.parametrize(("source", "repeats"), [("tpu", 1), ("garden", 2)])
def test_the_architecture_is_found_from_the_variables(tmp_path, source, repeats):
    graph = load_architecture("spinenet49").genotype
    scaling = Scaling(width=0.07, endpoint_channels=6, head_channels=5, head_convs=2, repeats=repeats)
    architecture = Architecture(graph, scaling)
    model = random_rcnn(architecture, source, classes=90)

    info = convert(write_rcnn(tmp_path / "m", model, architecture, source)).info

    found = info.architecture.scaling
    assert (found.width, found.repeats, found.head_channels, found.head_convs) == (0.07, repeats, 5, 2)
    assert info.class_names[0] == "person"
    assert info.category_ids == tuple(range(1, 91))
    assert {info.class_names[number - 1] for number in COCO} == set(COCO.values())
    assert (info.image_size, info.model.anchor_scale) == (640, 3.0)
