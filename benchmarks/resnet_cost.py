"""Exact parameters and multiply-adds of the paper's ResNet baselines, without building them."""

from dataclasses import dataclass

from spinet.arch.cost import Cost, Size, image_area, layer_cost, total
from spinet.arch.head_cost import head_costs
from spinet.arch.scaling import Scaling
from spinet.errors import unknown_name


@dataclass(frozen=True)
class ResNet:
    """Configuration of a ResNet or ResNeXt (torchvision `models/resnet.py`).

    Args:
        layers: blocks in levels 2, 3, 4 and 5.
        expansion: ratio of a block's output to inner channels: 1 for residual blocks, 4 for bottlenecks.
        groups: of the 3x3 convolution.
        widening: ratio of inner channels to those of the plain block.
    """

    layers: tuple[int, int, int, int]
    expansion: int = 4
    groups: int = 1
    widening: int = 1


SHAPES = {
    "resnet18": ResNet((2, 2, 2, 2), expansion=1),
    "resnet34": ResNet((3, 4, 6, 3), expansion=1),
    "resnet50": ResNet((3, 4, 6, 3)),
    "resnet101": ResNet((3, 4, 23, 3)),
    "resnet152": ResNet((3, 8, 36, 3)),
    "resnext101-32x8d": ResNet((3, 4, 23, 3), groups=32, widening=4),
    "resnext152-32x8d": ResNet((3, 8, 36, 3), groups=32, widening=4),
}


def body_cost(name: str, image_size: int | Size) -> Cost:
    """Return the cost of a ResNet without its classifier.

    Raises:
        SpinetError: the name is unknown.
    """
    net = _find(name)
    costs = [layer_cost(3, 64, image_area(image_size, 1), 7)]
    width = 64
    for level, count in enumerate(net.layers, start=2):
        area, channels = image_area(image_size, level), 2 ** (4 + level)
        for index in range(count):
            before = image_area(image_size, level - 1) if level > 2 and index == 0 else area
            costs += _block(net, width, channels, before, area)
            width = channels * net.expansion
    return total(costs)


def classifier_cost(name: str, image_size: int | Size, num_classes: int) -> Cost:
    """Return the cost of a ResNet with a dense layer on its mean features.

    >>> classifier_cost("resnet50", 224, 1000)
    Cost(parameters=25557032, multiply_adds=4089184256)
    """
    return total([body_cost(name, image_size), layer_cost(_widths(name)[-1], num_classes, 1, norms=0)])


def mask_rcnn_cost(name: str, image_size: int | Size, num_classes: int = 91) -> Cost:
    """Return the cost of Mask R-CNN on a ResNet with the original feature pyramid.

    Levels 2 to 5 are 256 wide, level 6 is a pool of level 5 (arXiv 1612.03144 section 4.1; tensorflow/tpu fpn.py
    with `min_level: 2`), the heads are those of `spinet.arch.head_cost`.
    """
    areas = {level: image_area(image_size, level) for level in range(2, 7)}
    pyramid = []
    for level, width in enumerate(_widths(name), start=2):
        pyramid += [layer_cost(width, 256, areas[level], norms=0), layer_cost(256, 256, areas[level], 3, norms=0)]
    heads = head_costs(Scaling(), areas, "mask-rcnn", num_classes)
    return total([body_cost(name, image_size), *pyramid, *heads.values()])


def _widths(name: str) -> list[int]:
    expansion = _find(name).expansion
    return [channels * expansion for channels in (64, 128, 256, 512)]


def _block(net: ResNet, width: int, channels: int, before: int, area: int) -> list[Cost]:
    """Return the layers of a block from `width` channels at `before` pixels; the 3x3 convolution is strided."""
    if net.expansion == 1:
        layers = [layer_cost(width, channels, area, 3), layer_cost(channels, channels, area, 3)]
    else:
        inner = channels * net.widening
        layers = [
            layer_cost(width, inner, before),
            layer_cost(inner, inner, area, 3, groups=net.groups),
            layer_cost(inner, channels * net.expansion, area),
        ]
    shortcut = before != area or width != channels * net.expansion
    return [*layers, layer_cost(width, channels * net.expansion, area)] if shortcut else layers


def _find(name: str) -> ResNet:
    if name not in SHAPES:
        raise unknown_name("ResNet", name, SHAPES)
    return SHAPES[name]
