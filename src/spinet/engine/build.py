"""What a model is, and how it is built from its description, with untrained weights."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta
from torch import Tensor

from spinet.arch.catalog import MAX_TEXT, Architecture, Network, load_architecture, load_network, network_from_json
from spinet.engine.config import ModelConfig, TrainConfig
from spinet.errors import SpinetError
from spinet.fields import check_image_size
from spinet.files import parse_json
from spinet.formats.values import MAX_CLASSES
from spinet.models.backbone import Backbone
from spinet.models.classifier import Classifier, ClassPredictions
from spinet.models.detections import Detections
from spinet.models.factory import create_backbone, create_classifier, create_rcnn, create_retinanet
from spinet.models.rcnn import RCNN
from spinet.models.retinanet import RetinaNet

Detector = RetinaNet | RCNN
Model = Detector | Classifier
ModelKind = Literal["detector", "classifier", "backbone"]

# Heads with masks, and what each is without them.
WITHOUT_MASKS = {"mask-rcnn": "faster-rcnn", "cascade-mask-rcnn": "cascade-rcnn"}
ClassNames = Annotated[tuple[Annotated[str, Meta(max_length=1000)], ...], Meta(max_length=MAX_CLASSES)]
Thresholds = tuple[Annotated[float, Meta(ge=0, le=1)], ...]
# Format of weights files and checkpoints.
FORMAT = "spinet-1"


class Runnable(Protocol):
    """What evaluation needs of a network, or of an exported file in its place."""

    @property
    def training(self) -> bool: ...  # noqa: D102
    def eval(self) -> object: ...  # noqa: D102
    def train(self, mode: bool) -> object: ...  # noqa: D102


class AnyDetector(Runnable, Protocol):
    """RetinaNet, an R-CNN, or an exported detector."""

    def predict(self, images: Tensor, *, score_threshold: float = ...) -> list[Detections]:
        """Detect objects in normalised images `(N, 3, H, W)`."""
        ...


class AnyClassifier(Runnable, Protocol):
    """A classifier, or an exported one."""

    def predict(self, images: Tensor, top: int = ...) -> ClassPredictions:
        """Predict the classes of normalised images `(N, 3, H, W)`, best first."""
        ...


def create_model(architecture: Network, model: ModelConfig, num_classes: int) -> Model:
    """Build the network that the settings describe."""
    if model.head == "classifier":
        return create_classifier(
            architecture,
            num_classes,
            model,
            aggregation=model.aggregation,
            background=model.background,
            label_smoothing=model.label_smoothing,
        )
    if model.head == "retinanet":
        return create_retinanet(architecture, num_classes, model)
    masks, cascade = model.head in WITHOUT_MASKS, model.head.startswith("cascade")
    return create_rcnn(architecture, num_classes, model, masks=masks, cascade=cascade)


def choose_network(model: ModelConfig) -> Network:
    """Return the network that `model.arch` and `model.scaling` name.

    Raises:
        SpinetError: one of them is unknown or not valid, or a baseline is to be scaled.
    """
    network = load_network(model.arch)
    if not model.scaling:
        return network
    if not isinstance(network, Architecture):
        raise SpinetError(f"model.scaling is for architecture graphs, and the baseline {model.arch} has none to change")
    size = load_architecture(model.scaling)
    name, source = f"{network.name}@{size.name}", f"{network.source}; with the scaling of {size.name}"
    return replace(network, scaling=size.scaling, name=name[:MAX_TEXT], source=source[-MAX_TEXT:])


@dataclass(frozen=True)
class ModelInfo:
    """Description of a network, as stored in its weights file.

    Args:
        architecture: graph and scaling, or a baseline.
        model: the settings that it was built with.
        class_names: name of each label; none for a backbone alone.
        category_ids: COCO category id of each label.
        image_size: side of the square images it was trained on, pixels.
        thresholds: detectors: the score of best F1 on val of each label; none where it was not measured.
    """

    architecture: Network
    model: ModelConfig
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image_size: int
    thresholds: tuple[float, ...] = ()

    @property
    def kind(self) -> ModelKind:
        """What the network is; without classes it is a backbone."""
        if not self.class_names:
            return "backbone"
        return "classifier" if self.model.head == "classifier" else "detector"

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of a safetensors file."""
        measured = {"thresholds": json.dumps(self.thresholds)} if self.thresholds else {}
        return {
            "format": FORMAT,
            "task": self.kind,
            "architecture": self.architecture.to_json(),
            "model": json.dumps(asdict(self.model)),
            "class_names": json.dumps(self.class_names),
            "category_ids": json.dumps(self.category_ids),
            "image_size": str(self.image_size),
            **measured,
        }

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, where: str) -> "ModelInfo":
        """Read what `to_metadata` wrote; `where` names the file in errors."""
        if not metadata or metadata.get("format") != FORMAT:
            raise SpinetError(f"{where} is not a Spinet weights file: its metadata does not say format {FORMAT!r}")
        try:
            settings = TrainConfig.from_json(f'{{"model": {metadata["model"]}}}', where)
            network = network_from_json(metadata["architecture"], where)
            names = msgspec.convert(parse_json(metadata["class_names"], where), ClassNames)
            ids = msgspec.convert(parse_json(metadata["category_ids"], where), tuple[int, ...])
            if names and len(names) != len(ids):
                raise ValueError(f"{len(names)} class names for {len(ids)} category ids")
            check_image_size(size := int(metadata["image_size"]), name=f"{where}: image_size")
            thresholds = msgspec.convert(parse_json(metadata.get("thresholds", "[]"), where), Thresholds)
            if thresholds and len(thresholds) != len(names):
                raise ValueError(f"{len(thresholds)} thresholds for {len(names)} classes")
            return cls(network, settings.model, names, ids, size, thresholds)
        except SpinetError:
            raise
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise SpinetError(f"the metadata of {where} is corrupt: {error!r:.100}") from None

    def create_model(self) -> Model:
        """Build the network, with untrained weights."""
        return create_model(self.architecture, self.model, len(self.class_names))

    def create_detector(self) -> Detector:
        """Build the network of a detector, with untrained weights."""
        model = self.create_model()
        assert not isinstance(model, Classifier)
        return model

    def create_backbone(self) -> Backbone:
        """Build only the backbone, with untrained weights."""
        return create_backbone(self.architecture, levels=None, options=self.model)
