"""Exact parameters and multiply-adds of whole models: a backbone with a head."""

import math
from itertools import pairwise
from typing import Literal, get_args

from spinet.arch.catalog import Architecture
from spinet.arch.cost import Cost, Part, Size, backbone_cost, backbone_parts, image_area, layer_cost, total
from spinet.arch.scaling import Scaling
from spinet.errors import unknown_name

ModelHead = Literal["retinanet", "faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn", "classifier"]
Head = Literal["none", ModelHead]
HEADS: tuple[Head, ...] = get_args(Head)

# RoIs per image that the box head and the mask head process at inference (tensorflow/tpu).
PROPOSALS, DETECTIONS = 1000, 100
# Box heads of a cascade, and convolutions of its RPN, as released (tensorflow/models).
CASCADE_STAGES, CASCADE_RPN_CONVS = 2, 2


def model_cost(
    architecture: Architecture,
    image_size: int | Size,
    head: Head = "retinanet",
    num_classes: int = 91,
    anchors: int | None = None,
) -> Cost:
    """Return the cost of a whole model, with `anchors` per location (by default 9; Faster and Mask R-CNN: 3).

    >>> from spinet.arch.catalog import load_architecture
    >>> model_cost(load_architecture("spinenet49"), 640)
    Cost(parameters=28543383, multiply_adds=85281555200)
    """
    size, heads = _size_and_heads(architecture, image_size, head, num_classes, anchors)
    return total([backbone_cost(architecture, size), *heads.values()])


def model_parts(
    architecture: Architecture,
    image_size: int | Size,
    head: Head = "retinanet",
    num_classes: int = 91,
    anchors: int | None = None,
) -> list[Part]:
    """Return the cost of every part of a whole model; see `model_cost`."""
    size, heads = _size_and_heads(architecture, image_size, head, num_classes, anchors)
    return backbone_parts(architecture, size) + [Part("head", name, cost) for name, cost in heads.items()]


def region_head_channels(head_channels: int) -> tuple[int, int]:
    """Channels of the convolutions and of the dense layer of RoI heads.

    As in all published models, they are as wide as RetinaNet's towers, up to 384 channels, and the dense layer is four
    times as wide, up to 1024.

    >>> region_head_channels(128), region_head_channels(512)
    ((128, 512), (384, 1024))
    """
    channels = min(head_channels, 384)
    return channels, min(4 * channels, 1024)


def head_costs(
    scaling: Scaling, areas: dict[int, int], head: Head, num_classes: int, anchors: int | None = None
) -> dict[str, Cost]:
    """Return the cost of each part of a head on features with the `areas` of each level; see `model_cost`.

    Mask R-CNN is as in tensorflow/tpu. Cascade R-CNN-RS is as in tensorflow/models, with two stages, class-agnostic
    boxes, and two convolutions in the RPN.
    """
    if head == "none":
        return {}
    if head == "classifier":  # a dense layer on the mean of all features (paper section 4.2)
        return {"dense layer": layer_cost(scaling.endpoint_channels, num_classes, 1, norms=0)}
    if head == "retinanet":
        anchors = anchors or 9
        towers = {"class tower": anchors * num_classes, "box tower": anchors * 4}
        return {name: _tower(scaling, areas, channels) for name, channels in towers.items()}
    if head.startswith("cascade"):
        parts = {"region proposals": _region_proposals(scaling, areas, anchors or 9, CASCADE_RPN_CONVS)}
        parts |= {f"box head {stage + 1}": _box_head(scaling, num_classes, 1) for stage in range(CASCADE_STAGES)}
    else:
        parts = {"region proposals": _region_proposals(scaling, areas, anchors or 3, depth=1)}
        parts["box head"] = _box_head(scaling, num_classes, num_classes)
    return parts | ({"mask head": _mask_head(scaling, num_classes)} if head.endswith("mask-rcnn") else {})


def _tower(scaling: Scaling, areas: dict[int, int], out_channels: int) -> Cost:
    """Cost of `models.towers.Tower`: convolutions shared by all levels, batch norms for each."""
    pixels, channels, separable = sum(areas.values()), scaling.head_channels, scaling.head_separable
    widths = [scaling.endpoint_channels] + [channels] * scaling.head_convs
    convolutions = [
        _convolution(width, channels, pixels, norms=len(areas), separable=separable) for width in widths[:-1]
    ]
    return total([*convolutions, _convolution(widths[-1], out_channels, pixels, norms=0, separable=separable)])


def _convolution(
    width: int, out: int, area: int, kernel_size: int = 3, norms: int = 1, *, separable: bool = False
) -> Cost:
    """A convolution with a bias, followed by batch norms; a separable one is depthwise 3x3 and 1x1."""
    weights, multiply_adds = layer_cost(width, out, area, 1 if separable else kernel_size, norms=norms)
    depthwise = 9 * width if separable else 0
    return Cost(weights + depthwise + (out if norms else 0), multiply_adds + depthwise * area)


def _widths(scaling: Scaling, depth: int) -> list[int]:
    return [scaling.endpoint_channels] + [region_head_channels(scaling.head_channels)[0]] * depth


def _convolutions(scaling: Scaling, depth: int, area: int, norms: int = 1) -> list[Cost]:
    return [_convolution(width, out, area, norms=norms) for width, out in pairwise(_widths(scaling, depth))]


def _region_proposals(scaling: Scaling, areas: dict[int, int], anchors: int, depth: int) -> Cost:
    """Cost of `models.rpn.RegionProposalNetwork`: convolutions shared by all levels, batch norms for each."""
    pixels, width = sum(areas.values()), _widths(scaling, depth)[-1]
    predictors = [layer_cost(width, values * anchors, pixels, norms=0) for values in (1, 4)]
    return total([*_convolutions(scaling, depth, pixels, norms=len(areas)), *predictors])


def _box_head(scaling: Scaling, classes: int, boxes: int) -> Cost:
    """Cost of `models.roi_heads.BoxHead` on all proposals; the dense layer is a 1x1 convolution on one pixel each."""
    fc, width = region_head_channels(scaling.head_channels)[1], _widths(scaling, scaling.head_convs)[-1]
    return total(
        [
            *_convolutions(scaling, scaling.head_convs, 7 * 7 * PROPOSALS),
            _convolution(7 * 7 * width, fc, PROPOSALS, 1),
            layer_cost(fc, classes, PROPOSALS, norms=0),
            layer_cost(fc, 4 * boxes, PROPOSALS, norms=0),
        ]
    )


def _mask_head(scaling: Scaling, classes: int) -> Cost:
    """Cost of `models.roi_heads.MaskHead` on all detections."""
    channels, width = region_head_channels(scaling.head_channels)[0], _widths(scaling, scaling.head_convs)[-1]
    # A transposed 2x2 convolution of stride 2 has four weights per pair of channels, each used once per input pixel.
    weights = 4 * width * channels
    deconv = Cost(weights + 3 * channels, weights * 14 * 14 * DETECTIONS)
    predictor = layer_cost(channels, classes, 28 * 28 * DETECTIONS, norms=0)
    return total([*_convolutions(scaling, scaling.head_convs, 14 * 14 * DETECTIONS), deconv, predictor])


def _size_and_heads(
    architecture: Architecture, image_size: int | Size, head: Head, num_classes: int, anchors: int | None
) -> tuple[Size, dict[str, Cost]]:
    """Size of the backbone's input, which detectors pad to a multiple of the coarsest stride, and costs of the head."""
    if head not in HEADS:
        raise unknown_name("head", str(head), HEADS)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    levels = architecture.genotype.endpoints
    stride = 1 if head in ("none", "classifier") else 2 ** max(levels)
    size = math.ceil(height / stride) * stride, math.ceil(width / stride) * stride
    areas = {level: image_area(size, level) for level in levels}
    return size, head_costs(architecture.scaling, areas, head, num_classes, anchors)
