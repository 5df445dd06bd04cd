"""From an architecture and a few settings to a network."""

from spinet.arch.catalog import Architecture
from spinet.models.backbone import SpineNet
from spinet.models.blocks import Activation, PadMode
from spinet.models.resample import PoolMode
from spinet.models.retinanet import RetinaNet


def create_retinanet(
    architecture: Architecture,
    num_classes: int,
    *,
    activation: Activation = "relu",
    pad_mode: PadMode = "symmetric",
    pool_mode: PoolMode = "symmetric",
    bn_eps: float = 1e-3,
    bn_momentum: float = 0.01,
    stochastic_depth: float = 0.0,
    dropblock: float = 0.0,
    anchor_scale: float = 3.0,
) -> RetinaNet:
    """Build a RetinaNet with untrained weights on the backbone of `architecture`.

    The head's width and depth come from the architecture's scaling; the other arguments are those of `SpineNet`
    and `RetinaNet`.

    >>> from spinet.arch.catalog import load_architecture
    >>> create_retinanet(load_architecture("tiny"), num_classes=3).backbone.levels
    (3, 4, 5)
    """
    backbone = SpineNet(
        architecture.genotype,
        architecture.scaling,
        activation=activation,
        pad_mode=pad_mode,
        pool_mode=pool_mode,
        bn_eps=bn_eps,
        bn_momentum=bn_momentum,
        stochastic_depth=stochastic_depth,
        dropblock=dropblock,
    )
    return RetinaNet(
        backbone,
        num_classes,
        head_channels=architecture.scaling.head_channels,
        head_convs=architecture.scaling.head_convs,
        activation=activation,
        anchor_scale=anchor_scale,
        bn_eps=bn_eps,
        bn_momentum=bn_momentum,
    )
