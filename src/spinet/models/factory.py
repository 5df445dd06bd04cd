"""From an architecture and options to a network.

Every function takes its options whole, as `options`, or single fields of them as keywords, or both.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from spinet.arch.baseline import NO_NECK, Baseline
from spinet.arch.catalog import Network, load_network
from spinet.arch.head_cost import region_head_channels
from spinet.errors import SpinetError
from spinet.models.backbone import Backbone, SpineNet, choose_levels
from spinet.models.baselines import BaselineBackbone
from spinet.models.classifier import Aggregation, Classifier
from spinet.models.options import BACKBONE_DEFAULTS, DETECTOR_DEFAULTS, BackboneOptions, DetectorOptions, change_options
from spinet.models.rcnn import CASCADE_OVERLAPS, RCNN
from spinet.models.retinanet import RetinaNet

# The only options that baselines have.
BASELINE_OPTIONS = ("activation", "bn_eps", "bn_momentum")


def create_backbone(
    architecture: Network | str | Path,
    levels: tuple[int, int] | None = (3, 7),
    in_channels: int = 3,
    options: BackboneOptions = BACKBONE_DEFAULTS,
    **settings: Any,
) -> Backbone:
    """Build a backbone with untrained weights.

    Args:
        architecture: a catalogue name, an architecture file, the name of a baseline (`"resnet50-fpn"`,
            `"timm/NAME-fpn"`), or what `load_architecture` returned.
        levels: first and last level of the features, both included; None gives all that the architecture has.
        in_channels: channels of the image.
        options: see `BackboneOptions`; baselines support `activation`, `bn_eps` and `bn_momentum` only.
        **settings: single fields of `options` to change.

    Raises:
        SpinetError: the name is unknown, a level is not available, or an option is invalid or not supported by a
            baseline.

    >>> create_backbone("tiny", levels=(3, 5), activation="swish").levels
    (3, 4, 5)
    """
    network, options = _network(architecture), change_options(options, settings)
    available = available_levels(network)
    if levels is not None and levels[0] > levels[1]:
        known = ", ".join(map(str, available))
        raise SpinetError(f"levels {levels}: the first must not exceed the last; {network.name} has {known}")
    chosen = choose_levels(levels and range(levels[0], levels[1] + 1), available, network.name)
    if not isinstance(network, Baseline):
        return SpineNet(network.genotype, network.scaling, options, levels=chosen, in_channels=in_channels)
    for field in fields(BackboneOptions):
        if field.name not in BASELINE_OPTIONS and getattr(options, field.name) != field.default:
            raise SpinetError(
                f"{field.name} is not supported by the baseline {network.name}; leave it at {field.default!r}"
            )
    return BaselineBackbone(network, options, levels=chosen, in_channels=in_channels)


def create_retinanet(
    architecture: Network | str | Path,
    num_classes: int,
    options: DetectorOptions = DETECTOR_DEFAULTS,
    **settings: Any,
) -> RetinaNet:
    """Build a RetinaNet with untrained weights; the head's width and depth come from the architecture's scaling.

    Args:
        architecture: see `create_backbone`.
        num_classes: see `RetinaNet`.
        options: see `DetectorOptions`.
        **settings: single fields of `options` to change.

    >>> create_retinanet("tiny", num_classes=3, anchor_scale=4.0).backbone.levels
    (3, 4, 5)
    """
    network, options = _pyramid(architecture), change_options(options, settings)
    scaling = network if isinstance(network, Baseline) else network.scaling
    return RetinaNet(
        create_backbone(network, None, options=options),
        num_classes,
        options,
        head_channels=scaling.head_channels,
        head_convs=scaling.head_convs,
        head_separable=not isinstance(scaling, Baseline) and scaling.head_separable,
    )


def create_rcnn(
    architecture: Network | str | Path,
    num_classes: int,
    options: DetectorOptions = DETECTOR_DEFAULTS,
    *,
    masks: bool = True,
    cascade: bool = False,
    overlaps: Sequence[float] | None = None,
    **settings: Any,
) -> RCNN:
    """Build a Faster, Mask or Cascade R-CNN with untrained weights.

    The heads' widths and depths come from the architecture's scaling, as in all published models: those of RetinaNet's
    towers, up to 384 channels, and a dense layer four times as wide, up to 1024.

    Args:
        architecture: see `create_backbone`.
        num_classes: see `RCNN`.
        options: see `DetectorOptions`; `octaves` is 3 in tensorflow/models and the paper's first version, 1 in
            tensorflow/tpu.
        masks: see `RCNN`.
        cascade: use two stages, with the IoU thresholds of the released Cascade R-CNN-RS (tensorflow/models).
        overlaps: see `RCNN`; by default (0.5,), and (0.6, 0.7) in a cascade.
        **settings: single fields of `options` to change.

    Raises:
        SpinetError: a number is out of range, or an option is not supported by the baseline.

    >>> create_rcnn("tiny", num_classes=3, masks=False).backbone.levels
    (3, 4, 5)
    """
    network, options = _pyramid(architecture), change_options(options, settings)
    scaling = network if isinstance(network, Baseline) else network.scaling
    channels, fc_channels = region_head_channels(scaling.head_channels)
    return RCNN(
        create_backbone(network, None, options=options),
        num_classes,
        options,
        masks=masks,
        overlaps=overlaps or (CASCADE_OVERLAPS if cascade else (0.5,)),
        head_channels=channels,
        head_convs=scaling.head_convs,
        fc_channels=fc_channels,
    )


def create_classifier(
    architecture: Network | str | Path,
    num_classes: int,
    options: BackboneOptions = BACKBONE_DEFAULTS,
    *,
    aggregation: Aggregation = "all",
    level: int | None = None,
    background: bool = False,
    label_smoothing: float = 0.0,
    **settings: Any,
) -> Classifier:
    """Build an image classifier with untrained weights.

    Args:
        architecture: see `create_backbone`.
        num_classes: see `Classifier`.
        options: see `BackboneOptions`.
        aggregation: see `Classifier`.
        level: the level for `aggregation="one"`, by default the coarsest; the others are not built.
        background: see `Classifier`.
        label_smoothing: see `Classifier`.
        **settings: single fields of `options` to change.

    Raises:
        SpinetError: a level is given for another aggregation, or is not available.

    >>> create_classifier("tiny", 10, aggregation="one", level=4).backbone.levels
    (4,)
    """
    network = _network(architecture)
    if level is not None and aggregation != "one":
        raise SpinetError(f"level {level}: only the aggregation 'one' uses a single level, not {aggregation!r}")
    levels = None
    if aggregation == "one":
        level = max(available_levels(network)) if level is None else level
        levels = (level, level)
    backbone = create_backbone(network, levels, options=options, **settings)
    return Classifier(
        backbone, num_classes, aggregation=aggregation, background=background, label_smoothing=label_smoothing
    )


def available_levels(architecture: Network) -> tuple[int, ...]:
    """Return the levels of an architecture's features, finest first."""
    return architecture.levels if isinstance(architecture, Baseline) else tuple(architecture.genotype.endpoints)


def _network(architecture: Network | str | Path) -> Network:
    return load_network(architecture) if isinstance(architecture, str | Path) else architecture


def _pyramid(architecture: Network | str | Path) -> Network:
    """Return a network that has more than the last features of a classifier."""
    network = _network(architecture)
    if isinstance(network, Baseline) and network.neck == NO_NECK:
        raise SpinetError(f"{network.name} has features of one level only, but a detector needs {network.name}-fpn")
    return network
