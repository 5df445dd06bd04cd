import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import box_iou

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.errors import SpinetError
from spinet.fuse.backbone import ConnectionGroup, SourceConv
from spinet.fuse.folding import fold_conv, fold_linear, fold_traced
from spinet.fuse.fuse import fuse
from spinet.models.factory import create_backbone, create_classifier, create_rcnn, create_retinanet

# Rounding: what outputs may differ by, in shares of their largest value.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}


def trained(model: nn.Module) -> nn.Module:
    """The model with batch norms that do something, in evaluation mode."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    for name, value in model.named_parameters():
        if "predictor" in name and value.dim() > 1:
            nn.init.normal_(value, std=0.3)
    return model.eval()


def tensors(output) -> list[torch.Tensor]:
    """All tensors of an output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [each for part in (output.values() if isinstance(output, dict) else output) for each in tensors(part)]


@torch.no_grad()
def assert_same(model: nn.Module, other: nn.Module, images: torch.Tensor, tolerance: float) -> None:
    for expected, found in zip(tensors(model(images)), tensors(other(images)), strict=True):
        assert expected.shape == found.shape
        assert expected.abs().max() > 0
        assert (expected - found).abs().max() <= tolerance * expected.abs().max()


def narrow(name: str) -> Architecture:
    """A published graph with its rules, a few channels wide."""
    found = load_architecture(name)
    width = 0.25 if found.scaling.family == "mobile" else 0.0625
    sizes = {"endpoint_channels": 4, "stem_channels": 4, "head_channels": 4, "head_convs": 2}
    return Architecture(found.genotype, replace(found.scaling, width=width, repeats=1, **sizes))


@pytest.mark.slow
@given(
    name=st.sampled_from(names()),
    modes=st.sampled_from([("symmetric", "symmetric"), ("mg", "same"), ("tpu", "same"), ("mmdet", "symmetric")]),
    activation=st.sampled_from(["relu", "swish", "hard_swish"]),
    endpoint_activation=st.booleans(),
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    channels_last=st.booleans(),
)
@settings(max_examples=12)
def test_a_fused_backbone_gives_the_features_of_the_backbone(
    name, modes, activation, endpoint_activation, size, channels_last
):
    pool_mode, pad_mode = modes
    model = create_backbone(
        narrow(name),
        None,
        pool_mode=pool_mode,
        pad_mode=pad_mode,
        activation=activation,
        endpoint_activation=endpoint_activation,
        squeeze_mode="mg" if pool_mode == "mg" else "tpu",
    )
    model = trained(model.double())

    assert_same(model, fuse(model, channels_last=channels_last), torch.randn(2, 3, *size).double(), 1e-12)


@pytest.mark.parametrize("name", ["resnet18-fpn", pytest.param("resnet18-nas-fpn", marks=pytest.mark.slow)])
def test_a_fused_baseline_gives_the_features_of_the_baseline(name):
    model = trained(create_backbone(name).double())

    assert_same(model, fuse(model), torch.randn(1, 3, 70, 45).double(), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("name", ["tiny", "spinenet49-mobile"])
def test_fused_detectors_agree_within_the_stated_tolerance(name, dtype):
    model = trained(create_retinanet(narrow(name) if name != "tiny" else load_architecture(name), num_classes=3))
    model = model.double() if dtype == torch.float64 else model
    images = torch.randn(2, 3, 75, 133, dtype=next(model.parameters()).dtype)

    assert_same(model, fuse(model, dtype=dtype, channels_last=True), images, TOLERANCE[dtype])


@pytest.mark.parametrize("aggregation", ["all", "one", "concat"])
def test_fused_classifiers_agree(aggregation):
    model = trained(create_classifier(load_architecture("tiny"), 5, aggregation=aggregation).double())

    assert_same(model, fuse(model), torch.randn(2, 3, 50, 31).double(), 1e-12)


@pytest.mark.parametrize("settings", [{}, {"cascade": True}, {"roi_align": "google", "box_coding": "tpu"}])
@pytest.mark.slow
def test_a_fused_mask_detector_finds_the_same(settings):
    model = trained(create_rcnn(load_architecture("tiny"), 3, proposals=30, **settings))
    images = torch.randn(2, 3, 96, 70)

    found, expected = (each.predict(images, score_threshold=0.1) for each in (fuse(model), model))

    assert sum(len(each["labels"]) for each in expected) > 5
    for mine, theirs in zip(found, expected, strict=True):
        assert mine["labels"].tolist() == theirs["labels"].tolist()
        for name in ("boxes", "scores", "masks"):
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@torch.no_grad()
def test_a_mask_detector_in_bfloat16_gives_the_boxes_and_masks_of_float32():
    model, images = trained(create_rcnn(load_architecture("tiny"), 3, proposals=30)), torch.randn(2, 3, 64, 64)

    exact, half = fuse(model)(images), fuse(model, dtype=torch.bfloat16, channels_last=True)(images)

    for (boxes, scores, labels, masks), other in zip(zip(*exact, strict=True), zip(*half, strict=True), strict=True):
        overlaps = box_iou(boxes, other[0]) * (labels[:, None] == other[2])
        overlap, match = overlaps[labels >= 0].max(dim=1)
        same = overlap > 0.9
        # Rounding may keep another of two boxes that overlap just at the threshold of NMS.
        assert len(same) > 10
        assert same.float().mean() > 0.7
        torch.testing.assert_close(scores[labels >= 0][same], other[1][match[same]].float(), rtol=0, atol=0.01)
        torch.testing.assert_close(masks[labels >= 0][same], other[3][match[same]].float(), rtol=0, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "spinenet49", "spinenet49-mobile"])
def test_no_batch_norm_is_left(name):
    fused = fuse(create_backbone(narrow(name), None).eval())

    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


def test_the_original_is_left_as_it_was_and_can_still_be_trained(tiny_detector):
    model = trained(tiny_detector)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = [type(module) for module in model.modules()]

    fused = fuse(model, dtype=torch.bfloat16)
    fused(torch.randn(1, 3, 64, 64))

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [type(module) for module in model.modules()] == classes
    assert all(value.requires_grad for value in model.parameters())
    assert not any(value.requires_grad for value in fused.parameters())


def test_fusing_what_is_fused_changes_nothing_more(tiny_detector):
    once = fuse(trained(tiny_detector))

    assert_same(once, fuse(once), torch.randn(1, 3, 64, 64), 0)


@pytest.mark.slow
def test_the_outputs_of_a_block_are_not_overwritten_by_its_children():
    # Dangling blocks are added as they are, and so are parents in the mobile networks of the paper's first version.
    for name in ("spinenet49-mobile-v1", "r0-sp53-plus-v1", "hourglass"):
        model = trained(create_backbone(narrow(name), None).double())
        fused, images = fuse(model), torch.randn(1, 3, 64, 64).double()
        first = [value.clone() for value in fused(images).values()]
        assert all(torch.equal(a, b) for a, b in zip(first, fused(images).values(), strict=True))
        assert_same(model, fused, images, 1e-12)


def test_an_upsampling_connection_convolves_at_the_resolution_of_its_source():
    architecture = narrow("spinenet49")
    fused = fuse(create_backbone(architecture, None).eval())
    groups = [part for part in fused.modules() if isinstance(part, ConnectionGroup) and not part.down]
    sides: dict[nn.Module, int] = {}
    for module in (*groups, *(conv for group in groups for conv in group.expand)):
        module.register_forward_hook(lambda module, inputs, output: sides.update({module: output.shape[-1]}))

    fused(torch.zeros(1, 3, 128, 128))

    assert len(groups) >= 5
    for group in groups:
        levels = {architecture.genotype.all_blocks[part.first.source].level for part in group.connections}
        assert {sides[conv] for conv in group.expand} == {128 >> level for level in levels}
        assert sides[group] > max(sides[conv] for conv in group.expand)


@pytest.mark.slow
def test_connections_that_leave_one_block_share_their_first_convolution():
    model = trained(create_backbone(narrow("spinenet49"), (3, 5)).double())
    fused, images = fuse(model), torch.randn(2, 3, 64, 64).double()

    convs = [part for part in fused.modules() if isinstance(part, SourceConv)]
    sources = [conv.source for conv in convs]
    assert len({conv.conv for conv in convs}) == len(set(sources)) < len(sources)
    for conv in convs:
        alone = sources.count(conv.source) == 1
        assert (conv.channels is None) == alone
    assert_same(model, fused, images, 1e-12)


def test_a_model_in_training_mode_and_integer_types_are_refused(tiny_detector):
    with pytest.raises(SpinetError, match=r"training mode.*call eval"):
        fuse(tiny_detector.train())
    with pytest.raises(SpinetError, match=r"dtype must be a floating-point type, not torch\.int8"):
        fuse(tiny_detector.eval(), dtype=torch.int8)


# torchvision's non-maximum suppression announces its output to the exporter in an old way.
@pytest.mark.filterwarnings("ignore:`create_unbacked_symint`:FutureWarning")
@pytest.mark.slow
@pytest.mark.parametrize("make", [create_retinanet, create_classifier, create_rcnn])
def test_fused_models_export_and_the_exported_program_gives_the_same(make):
    model = fuse(trained(make(load_architecture("tiny"), 3)), channels_last=True)
    images = torch.randn(1, 3, 64, 64)

    program = torch.export.export(model, (images,), strict=False)

    for mine, theirs in zip(tensors(program.module()(images)), tensors(model(images)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.Conv2d(4, 6, 1, groups=2, bias=False),
        nn.ConvTranspose2d(4, 6, 2, stride=2),
    ],
    ids=["strided", "depthwise", "grouped", "transposed"],
)
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_is_folded_into_any_kind_of_convolution(conv, affine):
    norm = nn.BatchNorm2d(conv.out_channels, affine=affine)
    pair = nn.Sequential(copy.deepcopy(conv), norm).double()
    pair.train()(torch.randn(8, 4, 9, 9).double() + 1)

    assert_same(pair.eval(), fold_conv(pair[0], norm), torch.randn(2, 4, 9, 9).double(), 1e-12)


def test_a_norm_is_folded_into_a_dense_layer():
    pair = nn.Sequential(nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7)).double()
    pair.train()(torch.randn(8, 5).double() + 1)

    assert_same(pair.eval(), fold_linear(*pair), torch.randn(2, 5).double(), 1e-12)


class Shared(nn.Module):
    """One convolution with two uses, which must stay as it is."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        flow = self.conv(images)
        return self.norm(flow) + flow


class Undecided(Shared):
    """Cannot be traced."""

    def forward(self, images):
        return self.norm(self.conv(images)) if images.sum() > 0 else images


@pytest.mark.parametrize("kind", [Shared, Undecided])
def test_networks_of_others_that_cannot_be_folded_stay_as_they_are(kind):
    model = trained(kind().double())

    assert_same(model, fold_traced(copy.deepcopy(model)), torch.rand(1, 3, 4, 4).double(), 1e-12)


def test_networks_in_other_frames_are_fused_too(tiny_detector):
    frame = trained(nn.Sequential(nn.Conv2d(3, 3, 1), tiny_detector))

    assert_same(frame, fuse(frame), torch.randn(1, 3, 64, 64), 1e-5)
