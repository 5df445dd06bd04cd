import pytest
import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

import spinet
from spinet.arch.catalog import Architecture, names
from spinet.errors import SpinetError
from spinet.models.drop_in import TorchvisionBackbone
from spinet.models.factory import create_backbone

TARGETS = [
    {
        "boxes": torch.tensor([[10.0, 12, 60, 70]]),
        "labels": torch.tensor([1]),
        "masks": torch.ones(1, 128, 128, dtype=torch.uint8),
    }
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in names() if name != "tiny"])
def test_every_name_of_the_catalogue_gives_levels_3_to_7_by_default(name):
    with torch.device("meta"):
        backbone = create_backbone(name)

    assert backbone.levels == (3, 4, 5, 6, 7)


def test_a_range_of_levels_includes_both_its_ends(narrow):
    assert create_backbone(narrow, levels=(4, 6)).levels == (4, 5, 6)
    assert create_backbone(narrow, levels=(5, 5)).levels == (5,)
    assert create_backbone(narrow, levels=None).levels == (3, 4, 5, 6, 7)


@pytest.mark.parametrize("name", ["spinenet49", "spinenet49-mobile"])
def test_an_unavailable_level_is_refused_by_name_with_those_available(name):
    with pytest.raises(SpinetError) as error:
        create_backbone(name, levels=(2, 5))
    assert (
        str(error.value)
        == f"{name} has no features of level 2; its levels are 3, 4, 5, 6, 7, and levels=None takes all"
    )


def test_a_range_that_runs_backwards_is_refused():
    with pytest.raises(SpinetError, match=r"levels \(5, 3\): the first must not exceed the last; tiny has 3, 4, 5"):
        create_backbone("tiny", levels=(5, 3))


@pytest.mark.slow
def test_a_backbone_comes_from_a_name_a_file_or_an_architecture(narrow, tmp_path):
    narrow.save(tmp_path / "mine.json")

    for source in (narrow, tmp_path / "mine.json", str(tmp_path / "mine.json")):
        assert create_backbone(source, in_channels=1)(torch.randn(2, 1, 128, 128))[3].shape == (2, 4, 16, 16)


def test_settings_reach_the_backbone(narrow):
    backbone = create_backbone(narrow, activation="swish", bn_eps=1e-4, stochastic_depth=0.3, pool_mode="tpu")

    norm = next(module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))
    assert (norm.eps, backbone.stem.pool_mode) == (1e-4, "tpu")
    assert backbone.blocks["16"].body[0].drop_path.p == pytest.approx(0.3)


def test_it_is_there_under_the_name_of_the_package():
    assert spinet.create_backbone is create_backbone
    assert spinet.TorchvisionBackbone is TorchvisionBackbone


def wrapped(narrow: Architecture) -> TorchvisionBackbone:
    torch.manual_seed(0)
    return TorchvisionBackbone(create_backbone(narrow))


def anchors() -> AnchorGenerator:
    return AnchorGenerator(tuple((16 * 2**place,) for place in range(5)), ((0.5, 1.0, 2.0),) * 5)


def detectors(narrow: Architecture) -> dict[str, torch.nn.Module]:
    sizes = {"min_size": 128, "max_size": 128}
    return {
        "RetinaNet": RetinaNet(wrapped(narrow), 3, anchor_generator=anchors(), **sizes),
        "FasterRCNN": FasterRCNN(wrapped(narrow), 3, rpn_anchor_generator=anchors(), **sizes),
        "MaskRCNN": MaskRCNN(wrapped(narrow), 3, rpn_anchor_generator=anchors(), **sizes),
    }


@pytest.mark.parametrize("kind", ["RetinaNet", "FasterRCNN", "MaskRCNN"])
@pytest.mark.slow
def test_torchvisions_own_detectors_train_and_predict_on_it(narrow, kind):
    model = detectors(narrow)[kind]
    images = [torch.rand(3, 128, 128)] * 2

    losses = model(images, TARGETS * 2)
    sum(losses.values()).backward()
    found = model.eval()(images)

    assert all(loss.isfinite() for loss in losses.values())
    reached = [parameter.grad is not None for parameter in model.backbone.body.stem.parameters()]
    assert all(reached)
    assert set(found[0]) >= {"boxes", "labels", "scores"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RetinaNet", "FasterRCNN", "MaskRCNN"])
def test_state_dicts_of_torchvisions_detectors_go_there_and_back(narrow, kind):
    first, second = detectors(narrow)[kind].eval(), detectors(narrow)[kind].eval()
    torch.manual_seed(1)
    for parameter in first.parameters():
        torch.nn.init.normal_(parameter, std=0.05)

    second.load_state_dict(first.state_dict())

    images = torch.randn(1, 3, 128, 128)
    one, other = first.backbone(images), second.backbone(images)
    assert list(one) == ["0", "1", "2", "3", "4"]
    assert all(torch.equal(one[key], other[key]) for key in one)
