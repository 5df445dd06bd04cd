import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from resnet_cost import SHAPES, body_cost, classifier_cost, mask_rcnn_cost
from spinet.arch.baseline import RESNETS
from spinet.arch.cost import Cost, image_area, total
from spinet.arch.head_cost import head_costs
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError


def counted_by_torch(model: nn.Module, height: int, width: int) -> Cost:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.empty(1, 3, height, width, device="meta"))
    return Cost(sum(value.numel() for value in model.parameters()), counter.get_total_flops() // 2)


def torchvisions(name: str, classes: int) -> nn.Module:
    with torch.device("meta"):
        if name == "resnext152-32x8d":
            layers = [3, 8, 36, 3]
            return resnet.ResNet(resnet.Bottleneck, layers, num_classes=classes, groups=32, width_per_group=8)
        return getattr(resnet, name.replace("-", "_"))(weights=None, num_classes=classes)


@pytest.mark.parametrize(("size", "classes"), [((224, 224), 1000), ((97, 161), 5089)])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.slow
def test_resnet_classifiers_cost_what_pytorch_counts_of_torchvisions(name, size, classes):
    assert classifier_cost(name, size, classes) == counted_by_torch(torchvisions(name, classes), *size)


def test_every_body_of_the_baselines_can_be_counted():
    assert set(RESNETS) <= set(SHAPES)


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_the_pyramid_of_mask_rcnn_costs_what_pytorch_counts_of_torchvisions(name):
    with torch.device("meta"):
        network = resnet_fpn_backbone(backbone_name=name, weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5)
    size = (800, 1280)
    areas = {level: image_area(size, level) for level in range(2, 7)}

    expected = counted_by_torch(network, *size)

    assert mask_rcnn_cost(name, size) == total([expected, *head_costs(Scaling(), areas, "mask-rcnn", 91).values()])


def test_a_body_costs_its_classifier_less_the_dense_layer():
    assert body_cost("resnet50", 224).parameters == classifier_cost("resnet50", 224, 1000).parameters - 2049 * 1000


def test_an_unknown_resnet_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown ResNet 'resnet51', did you mean 'resnet"):
        body_cost("resnet51", 224)
