from dataclasses import replace

import numpy as np
import pytest
import torch
from published import published_names, random_detector, write_published

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.scaling import Scaling
from spinet.convert.classes import class_table
from spinet.convert.convert import convert
from spinet.convert.shapes import find_architecture, model_shapes
from spinet.convert.sources import read_source
from spinet.engine.checkpoint import load_backbone, load_model
from spinet.errors import SpinetError

SOURCES = ("garden", "tpu", "mmdet")
MAIN = ("spinenet49s", "spinenet49s-256", "spinenet49", "spinenet96", "spinenet143", "spinenet143l", "spinenet190")
MOBILE = ("spinenet49xs-mobile", "spinenet49s-mobile", "spinenet49-mobile")
NARROW = Scaling(width=0.07, endpoint_channels=6, stem_channels=64, head_channels=5, head_convs=2)
NARROW_MOBILE = Scaling(
    width=0.2, endpoint_channels=6, stem_channels=1, head_channels=6, head_convs=2, family="mobile", head_separable=True
)


def narrow(source: str, repeats: int = 1) -> Architecture:
    """The published graph, a few channels wide."""
    return Architecture(load_architecture("spinenet49").genotype, replace(NARROW, repeats=repeats))


def file_name(source: str) -> str:
    return "latest.pth" if source == "mmdet" else "model.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MAIN, *MOBILE])
@pytest.mark.parametrize("source", SOURCES)
def test_every_tensor_of_every_published_network_has_one_name(source, name):
    if source == "mmdet" and name in MOBILE:
        pytest.skip("there is no port of the mobile models")
    architecture = load_architecture(name)
    names = published_names(architecture, source)
    stored = {key for key in model_shapes(architecture, 91) if not key.endswith("num_batches_tracked")}
    if source == "mmdet":
        stored -= {
            key
            for key in stored
            if ".convs." in key and key.startswith(("cls_tower", "box_tower")) and key.endswith("bias")
        }
    assert set(names) == stored
    assert len(set(names.values())) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [1, 2, 3])
@pytest.mark.parametrize("source", SOURCES)
def test_a_published_detector_gives_the_same_outputs_here(tmp_path, source, repeats):
    architecture = narrow(source, repeats)
    classes = 80 if source == "mmdet" else 91
    model = random_detector(architecture, source, classes)
    path = write_published(tmp_path / file_name(source), model, architecture, source)
    convert(path).save(tmp_path / "w.safetensors")
    loaded, info = load_model(tmp_path / "w.safetensors")
    assert info.architecture.scaling.repeats == repeats
    assert len(info.class_names) == classes
    images = torch.rand(1, 3, 128, 256)
    for ours, theirs in zip(loaded(images), model(images), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["garden", "tpu"])
def test_a_published_mobile_detector_gives_the_same_outputs_here(tmp_path, source):
    architecture = Architecture(load_architecture("spinenet49-mobile").genotype, NARROW_MOBILE)
    model = random_detector(architecture, source)
    path = write_published(tmp_path / "model.ckpt", model, architecture, source)
    found = convert(path, activation=None if source == "garden" else "relu")
    assert found.info.model.squeeze_mode == ("mg" if source == "garden" else "tpu")
    found.save(tmp_path / "w.safetensors")
    images = torch.rand(1, 3, 128, 128)
    for ours, theirs in zip(load_model(tmp_path / "w.safetensors")[0](images), model(images), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_a_network_of_another_graph_converts_when_it_is_named(tmp_path, source):
    architecture = load_architecture("tiny")
    model = random_detector(architecture, source, 4)
    path = write_published(tmp_path / file_name(source), model, architecture, source)
    found = convert(path, arch="tiny")
    assert found.info.architecture == architecture
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.weights[name], value)


@pytest.mark.slow
def test_the_conventions_of_each_source_are_stored(tmp_path):
    expected = {
        "garden": ("swish", "same", "mg", "exact", True, True),
        "tpu": ("relu", "symmetric", "tpu", "tpu", True, True),
        "mmdet": ("relu", "symmetric", "mmdet", "mmdet", False, False),
    }
    for source, conventions in expected.items():
        architecture = narrow(source)
        model = random_detector(architecture, source)
        (tmp_path / source).mkdir()
        path = write_published(tmp_path / source / file_name(source), model, architecture, source)
        found = convert(path).info.model
        names = ("activation", "pad_mode", "pool_mode", "box_coding", "background", "endpoint_activation")
        assert tuple(getattr(found, name) for name in names) == conventions
        changed = convert(path, activation="hard_swish", bn_eps=1e-5, image_size=512).info
        assert (changed.model.activation, changed.model.bn_eps, changed.image_size) == ("hard_swish", 1e-5, 512)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MAIN, *MOBILE])
def test_the_catalogue_entry_is_found_from_the_shapes(name):
    known = load_architecture(name)
    shapes = model_shapes(known, 91)
    found = find_architecture(known.genotype, shapes, known.scaling.repeats, 91, "here")
    assert found.name == name


@pytest.mark.parametrize(
    "scaling",
    [
        Scaling(width=0.8, alpha=0.25, repeats=2, endpoint_channels=100, head_channels=72, head_convs=3),
        Scaling(width=1.15, alpha=0.75, stem_channels=48),
        replace(NARROW_MOBILE, width=0.75, stem_channels=6),
    ],
)
@pytest.mark.slow
def test_a_scaling_outside_the_catalogue_is_put_together_from_the_shapes(scaling):
    graph = load_architecture("spinenet49-mobile" if scaling.family == "mobile" else "spinenet49").genotype
    shapes = model_shapes(Architecture(graph, scaling), 5)
    found = find_architecture(graph, shapes, scaling.repeats, 5, "here")
    assert model_shapes(found, 5) == shapes


@pytest.mark.slow
def test_channels_of_no_width_are_refused():
    shapes = model_shapes(narrow("tpu"), 5)
    shapes["backbone.blocks.4.body.0.convs.0.conv.weight"] = (5, 24, 1, 1)
    with pytest.raises(SpinetError, match=r"here: no single width gives the channels per level \{2: 4, 3: 5"):
        find_architecture(load_architecture("spinenet49").genotype, shapes, 1, 5, "here")


@pytest.fixture(scope="module")
def tpu():
    architecture = narrow("tpu")
    return random_detector(architecture, "tpu"), architecture


@pytest.mark.slow
def test_missing_and_unexpected_variables_are_listed(tmp_path, tpu):
    extra = {"spinenet/conv2d_99/kernel": np.zeros(3, "float32")}
    drop = ("retinanet/box_net/box-1/bias", "spinenet/sub_policy3/scale_permuted_block_5/conv2d_1/kernel")
    path = write_published(tmp_path / "m", *tpu, "tpu", extra=extra, drop=drop)
    with pytest.raises(SpinetError) as error:
        convert(path)
    assert str(error.value) == (
        f"{path}: 2 variables are missing: {', '.join(sorted(drop))}; "
        "1 variables are unexpected: spinenet/conv2d_99/kernel; nothing was converted"
    )


@pytest.mark.slow
def test_variables_of_another_shape_are_listed(tmp_path, tpu):
    name = "spinenet/sub_policy3/scale_permuted_block_5/batch_normalization_1/gamma"
    path = write_published(tmp_path / "m", *tpu, "tpu", extra={name: np.zeros(5, "float32")})
    with pytest.raises(SpinetError, match=rf"1 variables are of another shape: {name} is \(5,\), not \(17,\); nothing"):
        convert(path)


@pytest.mark.slow
def test_what_is_no_weight_is_named_as_left_out(tmp_path, tpu):
    value = np.zeros(3, "float32")
    extra = {
        "global_step": np.array(5, "int64"),
        "spinenet/conv2d/kernel/Momentum": value,
        "spinenet/conv2d/kernel/ExponentialMovingAverage": value,
        "mask_head/mask-conv-l0/kernel": value,
    }
    found = convert(write_published(tmp_path / "m", *tpu, "tpu", extra=extra))
    assert found.left_out == {
        "optimizer state": ("spinenet/conv2d/kernel/Momentum",),
        "counters": ("global_step",),
        "moving averages": ("spinenet/conv2d/kernel/ExponentialMovingAverage",),
        "heads other than RetinaNet's": ("mask_head/mask-conv-l0/kernel",),
    }


@pytest.mark.slow
def test_a_backbone_without_head_converts_to_a_file_that_says_so(tmp_path, tpu):
    model, architecture = tpu
    path = write_published(tmp_path / "m", model, architecture, "tpu", head=False)
    convert(path).save(tmp_path / "b.safetensors")
    with pytest.raises(SpinetError, match=r"b\.safetensors holds a backbone without a head"):
        load_model(tmp_path / "b.safetensors")
    backbone, info = load_backbone(tmp_path / "b.safetensors")
    assert info.class_names == ()
    images = torch.rand(1, 3, 128, 128)
    expected = model.backbone(images)
    for level, features in backbone(images).items():
        torch.testing.assert_close(features, expected[level])


@pytest.mark.slow
def test_other_layers_between_the_numbered_ones_are_refused(tmp_path, monkeypatch):
    architecture = narrow("garden")
    monkeypatch.setattr("published.object_graph", lambda layers: b"")
    path = write_published(tmp_path / "m", random_detector(architecture, "garden"), architecture, "garden")
    with pytest.raises(SpinetError, match=r"has no object graph of the saved model"):
        convert(path)
    from tf_writer import object_graph

    monkeypatch.setattr("published.object_graph", lambda layers: object_graph(layers - 7))
    path = write_published(tmp_path / "m", random_detector(architecture, "garden"), architecture, "garden")
    with pytest.raises(SpinetError, match=r"saved from a backbone of 325 layers, but this graph has 332"):
        convert(path)


def test_a_port_whose_shared_convolutions_differ_is_refused(tmp_path):
    architecture = narrow("mmdet")
    name = "bbox_head.cls_convs.3.1.conv.weight"
    extra = {name: torch.ones(5, 5, 3, 3)}
    path = write_published(
        tmp_path / "m.pth", random_detector(architecture, "mmdet"), architecture, "mmdet", extra=extra
    )
    with pytest.raises(SpinetError, match=r"cls_convs\.3\.1\.conv\.weight must be equal to .*convs\.0\.1"):
        convert(path)


@pytest.mark.parametrize("content", [b"", b"x" * 50])
def test_a_corrupt_state_dict_is_refused(tmp_path, content):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(SpinetError, match=r"could not read the state dict .*m\.pth"):
        read_source(tmp_path / "m.pth")


@pytest.mark.slow
def test_a_flipped_byte_in_a_state_dict_is_found_wherever_it_is(tmp_path):
    architecture = narrow("mmdet")
    whole = write_published(tmp_path / "m.pth", random_detector(architecture, "mmdet"), architecture, "mmdet")
    content = whole.read_bytes()
    positions = torch.randint(len(content), (20,), generator=torch.Generator().manual_seed(0)).tolist()
    expected = convert(whole).weights
    for position in positions:
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        (tmp_path / "f.pth").write_bytes(flipped)
        try:
            found = convert(tmp_path / "f.pth").weights
        except SpinetError:
            continue
        # A byte that means nothing, such as padding between two parts.
        assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.slow
def test_settings_that_no_weights_file_may_have_are_refused_before_writing(tmp_path, tpu):
    path = write_published(tmp_path / "m", *tpu, "tpu")
    with pytest.raises(SpinetError, match="model.bn_eps must be a number >= 0, got -1.0"):
        convert(path, bn_eps=-1.0)
    with pytest.raises(SpinetError, match="data.image_size must be an integer >= 16, got 0"):
        convert(path, image_size=0)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"layer1.0.weight": torch.zeros(1)}, tmp_path / "m.pth")
    with pytest.raises(
        SpinetError,
        match=r"m\.pth is not a SpineNet checkpoint of the mmdetection ports; its tensors are layer1\.0\.weight, ",
    ):
        convert(tmp_path / "m.pth")
    from tf_writer import write_checkpoint

    write_checkpoint(tmp_path / "r", {"resnet50/conv2d/kernel": np.zeros(1, "float32")})
    with pytest.raises(
        SpinetError, match=r"r is not a SpineNet checkpoint of .* its variables are resnet50/conv2d/kernel, "
    ):
        convert(tmp_path / "r")


def test_classes_are_cocos_where_their_number_says_so():
    names, ids = class_table(91, background=True)
    assert (names[1], names[90], names[12], len(names)) == ("person", "toothbrush", "unused 12", 91)
    assert ids == tuple(range(91))
    names, ids = class_table(80, background=False)
    assert (names[79], ids[0], ids[79], len(names)) == ("toothbrush", 1, 90, 80)
    assert class_table(3, background=True) == (("background", "class 1", "class 2"), (0, 1, 2))
