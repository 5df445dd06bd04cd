"""From an architecture and a few settings to a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from spinet.arch.baseline import NO_NECK, Baseline
from spinet.arch.catalog import Network, load_network
from spinet.arch.head_cost import region_head_channels
from spinet.errors import SpinetError
from spinet.models.anchors import BoxCoding
from spinet.models.backbone import Backbone, DepthRule, SpineNet
from spinet.models.baselines import BaselineBackbone
from spinet.models.blocks import Activation, DropBlockPlaces, PadMode
from spinet.models.classifier import Aggregation, Classifier
from spinet.models.mbconv import SqueezeMode
from spinet.models.rcnn import CASCADE_OVERLAPS, RCNN
from spinet.models.resample import PoolMode
from spinet.models.retinanet import RetinaNet


class BackboneSettings(TypedDict, total=False):
    """Settings of `create_backbone` that whole models pass on to it; those left out take its defaults."""

    activation: Activation
    pad_mode: PadMode
    pool_mode: PoolMode
    bn_eps: float
    bn_momentum: float
    stochastic_depth: float
    depth_rule: DepthRule
    dropblock: float
    dropblock_places: DropBlockPlaces
    endpoint_activation: bool
    squeeze_mode: SqueezeMode


def create_backbone(
    architecture: Network | str | Path,
    levels: tuple[int, int] | None = (3, 7),
    in_channels: int = 3,
    *,
    activation: Activation = "relu",
    pad_mode: PadMode = "symmetric",
    pool_mode: PoolMode = "symmetric",
    bn_eps: float = 1e-3,
    bn_momentum: float = 0.01,
    stochastic_depth: float = 0.0,
    depth_rule: DepthRule = "tpu",
    dropblock: float = 0.0,
    dropblock_places: DropBlockPlaces = "v1",
    endpoint_activation: bool = True,
    squeeze_mode: SqueezeMode = "tpu",
) -> Backbone:
    """Build a backbone with untrained weights.

    Args:
        architecture: a catalogue name, an architecture file, the name of a baseline (`"resnet50-fpn"`,
            `"timm/NAME-fpn"`), or what `load_architecture` gave.
        levels: first and last level of the features, both included; None gives all that the architecture has.
        in_channels: channels of the image.
        activation: the other arguments are those of `SpineNet`; baselines take `activation`, `bn_eps` and
            `bn_momentum` of them.
        pad_mode: see `SpineNet`.
        pool_mode: see `SpineNet`.
        bn_eps: see `SpineNet`.
        bn_momentum: see `SpineNet`.
        stochastic_depth: see `SpineNet`.
        depth_rule: see `SpineNet`.
        dropblock: see `SpineNet`.
        dropblock_places: see `SpineNet`.
        endpoint_activation: see `SpineNet`.
        squeeze_mode: see `SpineNet`.

    Raises:
        SpinetError: the name is unknown, a level is not available, or a baseline has no such setting.

    >>> create_backbone("tiny", levels=(3, 5)).levels
    (3, 4, 5)
    """
    network = load_network(architecture) if isinstance(architecture, str | Path) else architecture
    available = available_levels(network)
    asked = available if levels is None else _level_range(network.name, levels, available)
    if isinstance(network, Baseline):
        settings = {
            "pad_mode": pad_mode == "symmetric",
            "pool_mode": pool_mode == "symmetric",
            "stochastic_depth": stochastic_depth == 0,
            "depth_rule": depth_rule == "tpu",
            "dropblock": dropblock == 0,
            "dropblock_places": dropblock_places == "v1",
            "endpoint_activation": endpoint_activation,
            "squeeze_mode": squeeze_mode == "tpu",
        }
        for name, default in settings.items():
            if not default:
                raise SpinetError(f"setting {name}: the baseline {network.name} has no such choice; leave it out")
        return BaselineBackbone(
            network,
            levels=asked,
            in_channels=in_channels,
            activation=activation,
            bn_eps=bn_eps,
            bn_momentum=bn_momentum,
        )
    return SpineNet(
        network.genotype,
        network.scaling,
        levels=asked,
        in_channels=in_channels,
        activation=activation,
        pad_mode=pad_mode,
        pool_mode=pool_mode,
        bn_eps=bn_eps,
        bn_momentum=bn_momentum,
        stochastic_depth=stochastic_depth,
        depth_rule=depth_rule,
        dropblock=dropblock,
        dropblock_places=dropblock_places,
        endpoint_activation=endpoint_activation,
        squeeze_mode=squeeze_mode,
    )


def create_retinanet(
    architecture: Network,
    num_classes: int,
    *,
    anchor_scale: float = 3.0,
    octaves: int = 3,
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    box_coding: BoxCoding = "exact",
    background: bool = False,
    **settings: Unpack[BackboneSettings],
) -> RetinaNet:
    """Build a RetinaNet with untrained weights on the backbone of `architecture`.

    The head's width and depth come from the architecture's scaling, its activation and batch norms from `settings`,
    which are those of `create_backbone`; the other arguments are those of `RetinaNet`.

    >>> from spinet.arch.catalog import load_architecture
    >>> create_retinanet(load_architecture("tiny"), num_classes=3).backbone.levels
    (3, 4, 5)
    """
    _check_pyramid(architecture)
    head = architecture if isinstance(architecture, Baseline) else architecture.scaling
    return RetinaNet(
        create_backbone(architecture, levels=None, **settings),
        num_classes,
        head_channels=head.head_channels,
        head_convs=head.head_convs,
        head_separable=False if isinstance(head, Baseline) else head.head_separable,
        activation=settings.get("activation", "relu"),
        anchor_scale=anchor_scale,
        octaves=octaves,
        aspect_ratios=aspect_ratios,
        bn_eps=settings.get("bn_eps", 1e-3),
        bn_momentum=settings.get("bn_momentum", 0.01),
        box_coding=box_coding,
        background=background,
    )


def create_rcnn(
    architecture: Network,
    num_classes: int,
    *,
    masks: bool = True,
    cascade: bool = False,
    anchor_scale: float = 3.0,
    octaves: int = 3,
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
    rpn_convs: int | None = None,
    overlaps: Sequence[float] | None = None,
    pre_nms: int = 2000,
    predict_pre_nms: int = 1000,
    proposals: int = 1000,
    roi_samples: int = 512,
    mask_samples: int = 128,
    **settings: Unpack[BackboneSettings],
) -> RCNN:
    """Build a Faster, Mask or Cascade R-CNN with untrained weights on the backbone of `architecture`.

    The heads' widths and depths come from the architecture's scaling, as in all published models: those of RetinaNet's
    towers, up to 384 channels, and a dense layer four times as wide, up to 1024.

    Args:
        architecture: what `load_architecture` or `load_network` gave.
        num_classes: see `RCNN`.
        masks: see `RCNN`.
        cascade: whether there are two stages, at the overlaps of the released Cascade R-CNN-RS (tensorflow/models).
        anchor_scale: see `RCNN`.
        octaves: see `RCNN`; 3 in tensorflow/models and the paper's first version, 1 in tensorflow/tpu.
        aspect_ratios: see `RCNN`.
        rpn_convs: see `RCNN`; by default 1, and 2 in a cascade, as released.
        overlaps: see `RCNN`; by default (0.5,), and (0.6, 0.7) in a cascade.
        pre_nms: see `RCNN`.
        predict_pre_nms: see `RCNN`.
        proposals: see `RCNN`.
        roi_samples: see `RCNN`.
        mask_samples: see `RCNN`.
        **settings: those of `create_backbone`; activation and batch norms are those of the heads too.

    Raises:
        SpinetError: a number is out of range, or the baseline has no such setting.

    >>> from spinet.arch.catalog import load_architecture
    >>> create_rcnn(load_architecture("tiny"), num_classes=3).backbone.levels
    (3, 4, 5)
    """
    _check_pyramid(architecture)
    scaling = architecture if isinstance(architecture, Baseline) else architecture.scaling
    channels, dense = region_head_channels(scaling.head_channels)
    return RCNN(
        create_backbone(architecture, levels=None, **settings),
        num_classes,
        masks=masks,
        overlaps=overlaps or (CASCADE_OVERLAPS if cascade else (0.5,)),
        head_channels=channels,
        head_convs=scaling.head_convs,
        dense_channels=dense,
        rpn_convs=rpn_convs if rpn_convs is not None else 2 if cascade else 1,
        activation=settings.get("activation", "relu"),
        anchor_scale=anchor_scale,
        octaves=octaves,
        aspect_ratios=aspect_ratios,
        pre_nms=pre_nms,
        predict_pre_nms=predict_pre_nms,
        proposals=proposals,
        roi_samples=roi_samples,
        mask_samples=mask_samples,
        bn_eps=settings.get("bn_eps", 1e-3),
        bn_momentum=settings.get("bn_momentum", 0.01),
    )


def create_classifier(
    architecture: Network,
    num_classes: int,
    *,
    aggregation: Aggregation = "all",
    level: int | None = None,
    background: bool = False,
    label_smoothing: float = 0.0,
    **settings: Unpack[BackboneSettings],
) -> Classifier:
    """Build an image classifier with untrained weights on the backbone of `architecture`.

    Args:
        architecture: what `load_architecture` gave.
        num_classes: see `Classifier`.
        aggregation: see `Classifier`.
        level: the level that `aggregation="one"` takes, by default the coarsest; the others are not built.
        background: see `Classifier`.
        label_smoothing: see `Classifier`.
        **settings: those of `create_backbone`.

    Raises:
        SpinetError: a level is given where all are taken, or is not available.

    >>> from spinet.arch.catalog import load_architecture
    >>> create_classifier(load_architecture("tiny"), 10, aggregation="one", level=4).backbone.levels
    (4,)
    """
    if level is not None and aggregation != "one":
        raise SpinetError(f"level {level}: the aggregation {aggregation!r} takes all levels; 'one' takes a single one")
    levels = None
    if aggregation == "one":
        coarsest = max(available_levels(architecture))
        levels = (level, level) if level is not None else (coarsest, coarsest)
    backbone = create_backbone(architecture, levels=levels, **settings)
    return Classifier(
        backbone, num_classes, aggregation=aggregation, background=background, label_smoothing=label_smoothing
    )


def available_levels(architecture: Network) -> tuple[int, ...]:
    """Return the levels that a network has features of, finest first."""
    return architecture.levels if isinstance(architecture, Baseline) else tuple(architecture.genotype.endpoints)


def _check_pyramid(network: Network) -> None:
    """Raise for a network whose only features are the last ones of a classifier."""
    if isinstance(network, Baseline) and network.neck == NO_NECK:
        name = network.name
        raise SpinetError(f"{name} has features of one level only, too few for a detector; take {name}-fpn")


def _level_range(name: str, levels: tuple[int, int], available: tuple[int, ...]) -> tuple[int, ...]:
    known = ", ".join(map(str, available))
    first, last = levels
    if first > last:
        raise SpinetError(f"levels {levels} are not a first and a last one; {name} has {known}")
    for level in range(first, last + 1):
        if level not in available:
            raise SpinetError(f"{name} has no features of level {level}; its levels are {known}")
    return tuple(range(first, last + 1))
