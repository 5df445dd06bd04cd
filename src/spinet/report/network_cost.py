"""What a network costs, for cards and the leaderboard."""

from typing import NamedTuple

import torch

from spinet.arch.catalog import Architecture
from spinet.arch.cost import backbone_cost
from spinet.arch.head_cost import model_cost
from spinet.engine.build import ModelInfo
from spinet.models.blocks import count_parameters


class NetworkCost(NamedTuple):
    """Parameters, and multiply-adds for one image; these are None where no formula counts them.

    Attributes:
        parameters: of the whole network.
        multiply_adds: of the whole network, or of its backbone.
        backbone_only: whether they are the backbone's: those of R-CNN heads depend on the settings and the image.
    """

    parameters: int
    multiply_adds: int | None
    backbone_only: bool


def network_cost(info: ModelInfo) -> NetworkCost:
    """Return the cost of a network at its image size."""
    with torch.device("meta"):
        parameters = count_parameters(info.create_model())
    if not isinstance(info.architecture, Architecture):
        return NetworkCost(parameters, None, False)
    head, model = info.model.head, info.model
    if head not in ("retinanet", "classifier"):
        return NetworkCost(parameters, backbone_cost(info.architecture, info.image_size).multiply_adds, True)
    anchors = model.octaves * len(model.aspect_ratios) if head == "retinanet" else None
    classes = len(info.class_names) + model.background
    cost = model_cost(info.architecture, info.image_size, head, classes, anchors)
    # Where the formula counts another network, as with some settings of classifiers, it says nothing.
    return NetworkCost(parameters, cost.multiply_adds if cost.parameters == parameters else None, False)
