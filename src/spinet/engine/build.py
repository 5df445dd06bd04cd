"""From settings to a network, with untrained weights."""

from typing import Protocol

from torch import Tensor

from spinet.arch.catalog import Network
from spinet.engine.config import ModelConfig
from spinet.models.classifier import Classifier, Guesses
from spinet.models.detections import Detections
from spinet.models.factory import BackboneSettings, create_classifier, create_rcnn, create_retinanet
from spinet.models.rcnn import RCNN
from spinet.models.retinanet import RetinaNet

Detector = RetinaNet | RCNN
Model = Detector | Classifier


class Runnable(Protocol):
    """What measuring asks of a network, and of an exported file in the place of one."""

    @property
    def training(self) -> bool:
        """Whether it is in training mode."""
        ...

    def eval(self) -> object:
        """Leave training mode."""
        ...

    def train(self, mode: bool) -> object:
        """Enter training mode, or leave it."""
        ...


class AnyDetector(Runnable, Protocol):
    """What finds objects in images: RetinaNet, an R-CNN, an exported file."""

    def predict(self, images: Tensor, *, score_threshold: float = ...) -> list[Detections]:
        """Find objects in normalised images `(N, 3, H, W)`."""
        ...


class AnyClassifier(Runnable, Protocol):
    """What guesses the classes of images: a classifier, an exported file."""

    def predict(self, images: Tensor, top: int = ...) -> Guesses:
        """Guess the classes of normalised images `(N, 3, H, W)`, best first."""
        ...


MASK_HEADS = ("mask-rcnn", "cascade-mask-rcnn")
CASCADE_HEADS = ("cascade-rcnn", "cascade-mask-rcnn")


def create_model(architecture: Network, model: ModelConfig, num_classes: int) -> Model:
    """Build the network that the settings ask for.

    Raises:
        SpinetError: a setting is one that this network has not.
    """
    settings = backbone_settings(model)
    if model.head == "classifier":
        return create_classifier(
            architecture,
            num_classes,
            aggregation=model.aggregation,
            background=model.background,
            label_smoothing=model.label_smoothing,
            **settings,
        )
    if model.head != "retinanet":
        return create_rcnn(
            architecture,
            num_classes,
            masks=model.head in MASK_HEADS,
            cascade=model.head in CASCADE_HEADS,
            anchor_scale=model.anchor_scale,
            octaves=model.octaves,
            aspect_ratios=model.aspect_ratios,
            rpn_convs=model.rpn_convs or None,
            # As the sources have it: 2000 and 1000 for 1000 proposals.
            pre_nms=2 * model.proposals,
            predict_pre_nms=model.proposals,
            proposals=model.proposals,
            roi_samples=model.roi_samples,
            mask_samples=model.mask_samples,
            **settings,
        )
    return create_retinanet(
        architecture,
        num_classes,
        anchor_scale=model.anchor_scale,
        octaves=model.octaves,
        aspect_ratios=model.aspect_ratios,
        box_coding=model.box_coding,
        background=model.background,
        **settings,
    )


def backbone_settings(model: ModelConfig) -> BackboneSettings:
    """Return the settings that every network hands on to its backbone."""
    return {
        "activation": model.activation,
        "pad_mode": model.pad_mode,
        "pool_mode": model.pool_mode,
        "bn_eps": model.bn_eps,
        "bn_momentum": model.bn_momentum,
        "stochastic_depth": model.stochastic_depth,
        "depth_rule": model.depth_rule,
        "dropblock": model.dropblock,
        "dropblock_places": model.dropblock_places,
        "endpoint_activation": model.endpoint_activation,
        "squeeze_mode": model.squeeze_mode,
    }
