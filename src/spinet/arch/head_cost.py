"""Exact parameters and multiply-adds of whole models: a backbone with the head of a task on it."""

import math
from collections.abc import Callable
from typing import Literal, get_args

from spinet.arch.catalog import Architecture
from spinet.arch.cost import Cost, Part, Size, backbone_cost, backbone_parts, image_area, layer, total
from spinet.arch.scaling import Scaling
from spinet.errors import unknown_name

Head = Literal["none", "retinanet", "mask-rcnn", "classifier"]

# Regions of Mask R-CNN whose boxes, and whose masks, are computed for an image (tensorflow/tpu, at inference).
PROPOSALS, DETECTIONS = 1000, 100


def model_cost(
    architecture: Architecture,
    image_size: int | Size,
    head: Head = "retinanet",
    num_classes: int = 91,
    anchors: int | None = None,
) -> Cost:
    """Return what a whole model costs, with `anchors` a place (RetinaNet: 9, Mask R-CNN: 3, unless given).

    >>> from spinet.arch.catalog import load_architecture
    >>> model_cost(load_architecture("spinenet49"), 640)
    Cost(parameters=28543383, multiply_adds=85281555200)
    """
    size = _input_size(architecture, image_size, head)
    return total(
        [backbone_cost(architecture, size), *_head_costs(architecture, size, head, num_classes, anchors).values()]
    )


def model_parts(
    architecture: Architecture,
    image_size: int | Size,
    head: Head = "retinanet",
    num_classes: int = 91,
    anchors: int | None = None,
) -> list[Part]:
    """Return what every part of a whole model costs; see `model_cost`."""
    size = _input_size(architecture, image_size, head)
    heads = _head_costs(architecture, size, head, num_classes, anchors)
    return backbone_parts(architecture, size) + [Part("head", name, cost) for name, cost in heads.items()]


def retinanet(scaling: Scaling, areas: dict[int, int], num_classes: int, anchors: int | None = None) -> dict[str, Cost]:
    """Costs of the class and box towers of RetinaNet (models/retinanet.py), with 9 anchors a place unless given."""

    def convolution(width: int, channels: int, norms: int) -> Cost:
        # One convolution for all levels, behind it a batch norm for each; a bias besides.
        pixels = sum(areas.values())
        bias = Cost(channels if norms else 0, 0)
        if not scaling.head_separable:
            return total([layer(width, channels, pixels, 3, norms=norms), bias])
        depthwise = Cost(9 * width, 9 * width * pixels)
        return total([depthwise, layer(width, channels, pixels, norms=norms), bias])

    def tower(values: int) -> Cost:
        widths = [scaling.endpoint_channels] + [scaling.head_channels] * scaling.head_convs
        convolutions = [convolution(width, scaling.head_channels, len(areas)) for width in widths[:-1]]
        return total([*convolutions, convolution(widths[-1], (anchors or 9) * values, 0)])

    return {"class tower": tower(num_classes), "box tower": tower(4)}


def classifier(
    scaling: Scaling, areas: dict[int, int], num_classes: int, anchors: int | None = None
) -> dict[str, Cost]:
    """Cost of a dense layer on the mean of all features (paper section 4.2)."""
    del areas, anchors
    return {"dense layer": layer(scaling.endpoint_channels, num_classes, 1, norms=0)}


def mask_rcnn(scaling: Scaling, areas: dict[int, int], num_classes: int, anchors: int | None = None) -> dict[str, Cost]:
    """Costs of the heads of Mask R-CNN as tensorflow/tpu has them, with 3 anchors a place unless given.

    Their convolutions are as many and as wide as those of RetinaNet's towers, up to 384 channels, and the dense layer
    is four times as wide, up to 1024 channels: this is so in all published models.
    """
    features, channels, convs = scaling.endpoint_channels, min(scaling.head_channels, 384), scaling.head_convs
    anchors = anchors or 3
    dense, pixels, region = min(4 * channels, 1024), sum(areas.values()), PROPOSALS

    def convolution(width: int, out: int, area: int, kernel_size: int = 3, norms: int = 1) -> Cost:
        return total([layer(width, out, area, kernel_size, norms=norms), Cost(out, 0)])

    def stack(area: int) -> list[Cost]:
        widths = [features] + [channels] * (convs - 1)
        return [convolution(width, channels, area) for width in widths]

    # A transposed 2x2 convolution of stride 2 has four weights a pair of channels, used once for every input pixel.
    upsampling = Cost(4 * channels * channels + 3 * channels, 4 * channels * channels * 14 * 14 * DETECTIONS)
    return {
        "region proposals": total(
            [
                convolution(features, channels, pixels, norms=len(areas)),
                layer(channels, anchors, pixels, norms=0),
                layer(channels, 4 * anchors, pixels, norms=0),
            ]
        ),
        "box head": total(
            [
                *stack(7 * 7 * region),
                convolution(7 * 7 * channels, dense, region, 1),
                layer(dense, num_classes, region, norms=0),
                layer(dense, 4 * num_classes, region, norms=0),
            ]
        ),
        "mask head": total(
            [
                *stack(14 * 14 * DETECTIONS),
                upsampling,
                layer(channels, num_classes, 28 * 28 * DETECTIONS, norms=0),
            ]
        ),
    }


def no_head(scaling: Scaling, areas: dict[int, int], num_classes: int, anchors: int | None = None) -> dict[str, Cost]:
    """Cost of nothing, for backbones alone."""
    del scaling, areas, num_classes, anchors
    return {}


HEADS: dict[str, Callable[[Scaling, dict[int, int], int, int | None], dict[str, Cost]]] = {
    "none": no_head,
    "retinanet": retinanet,
    "mask-rcnn": mask_rcnn,
    "classifier": classifier,
}


def _head_costs(
    architecture: Architecture, size: Size, head: Head, num_classes: int, anchors: int | None
) -> dict[str, Cost]:
    areas = {level: image_area(size, level) for level in architecture.genotype.endpoints}
    return HEADS[head](architecture.scaling, areas, num_classes, anchors)


def _input_size(architecture: Architecture, image_size: int | Size, head: Head) -> Size:
    """Size that the backbone sees: detectors pad to a multiple of the coarsest stride."""
    if head not in get_args(Head):
        raise unknown_name("head", str(head), get_args(Head))
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if head in ("none", "classifier"):
        return height, width
    stride = 2 ** max(architecture.genotype.endpoints)
    return math.ceil(height / stride) * stride, math.ceil(width / stride) * stride
