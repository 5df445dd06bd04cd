"""A trained model that takes images of any size and in any common form."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, overload

import torch
from torch import Tensor

from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.transforms import EvalTransform
from spinet.deploy.exported import ExportedModel
from spinet.deploy.graph import letterbox
from spinet.engine.build import AnyClassifier, AnyDetector, ModelInfo
from spinet.engine.evaluate import to_image
from spinet.errors import SpinetError, check_positive, quoted
from spinet.models.detections import Detections
from spinet.predict.inputs import ImageLike, as_image
from spinet.predict.results import ClassResult, DetectionResult, Result

CPU = torch.device("cpu")
# Of the lowest score shown.
Score = float | Literal["auto"]


@dataclass(frozen=True)
class Prepared:
    """An image and what the model sees of it.

    Attributes:
        image: uint8 RGB `(3, H, W)`.
        pixels: the model's input: normalized float `(3, S, S)`, or for an exported detector uint8 RGB `(H, W, 3)`.
        scale: `(2,)` as (x, y): input size divided by image size.
    """

    image: Tensor
    pixels: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Predictor:
    """A trained detector or classifier, whatever runs it; `spinet.load` opens one.

    Attributes:
        model: a network, or an exported file in its place.
        info: its architecture, settings and classes.
        device: where images are prepared: the one that the network is on.
    """

    model: AnyDetector | AnyClassifier = field(repr=False)
    info: ModelInfo = field(repr=False)
    device: torch.device = CPU

    @property
    def is_classifier(self) -> bool:
        """Whether it predicts classes instead of objects."""
        return self.info.kind == "classifier"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each label."""
        return self.info.class_names

    @property
    def input_shape(self) -> tuple[int, int]:
        """Height and width of the model's input in pixels."""
        if isinstance(self.model, ExportedModel):
            return self.model.shape
        return self.info.image_size, self.info.image_size

    @property
    def input_size(self) -> str:
        """The same as text: one number for a square, else `height x width`."""
        height, width = self.input_shape
        return str(height) if height == width else f"{height} x {width}"

    @overload
    def predict(
        self, images: ImageLike, *, score_threshold: Score = 0.3, top: int = 5, batch_size: int = 1
    ) -> Result: ...
    @overload
    def predict(
        self, images: list[Any] | tuple[Any, ...], *, score_threshold: Score = 0.3, top: int = 5, batch_size: int = 1
    ) -> list[Result]: ...
    def predict(
        self,
        images: ImageLike | list[Any] | tuple[Any, ...],
        *,
        score_threshold: Score = 0.3,
        top: int = 5,
        batch_size: int = 1,
    ) -> Result | list[Result]:
        """Find the objects in images, or their classes.

        Args:
            images: one image or a list of images: paths, PIL images, NumPy arrays (uint8 RGB `(H, W, 3)`) or tensors
                (RGB `(3, H, W)`, uint8 or float from 0 to 1).
            score_threshold: detectors: objects with lower scores are left out; "auto" takes, for each class, the
                threshold of best F1 on the val images of its training.
            top: classifiers: how many classes to return, fewer if the model has fewer.
            batch_size: images that go through the network at once.

        Returns:
            A result, or a list of results for a list of images.

        Raises:
            SpinetError: an image cannot be used, or an argument is out of range.
        """
        if not isinstance(images, list | tuple):
            return self.predict_batch([self.prepare(images)], score_threshold, top)[0]
        check_options(score_threshold, top, batch_size)
        results: list[Result] = []
        for start in range(0, len(images), batch_size):
            batch = [self.prepare(image) for image in images[start : start + batch_size]]
            results += self.predict_batch(batch, score_threshold, top)
        return results

    def prepare(self, image: ImageLike) -> Prepared:
        """Fit an image into the model's input.

        Raises:
            SpinetError: it cannot be used as an image.
        """
        pixels = as_image(image)
        if self.is_classifier:
            return Prepared(pixels, ClassEvalTransform(self.info.image_size)(pixels, self.device), torch.ones(2))
        if isinstance(self.model, ExportedModel):
            return Prepared(pixels, *letterbox(pixels, self.model.shape))
        return Prepared(pixels, *EvalTransform(self.info.image_size)(pixels, self.device))

    def predict_batch(self, batch: Sequence[Prepared], score_threshold: Score = 0.3, top: int = 5) -> list[Result]:
        """Return the results of images that `prepare` has fitted, computed at once."""
        check_options(score_threshold, top)
        thresholds = self._thresholds(score_threshold)
        pixels = torch.stack([image.pixels for image in batch])
        if self.is_classifier:
            classes = cast(AnyClassifier, self.model).predict(pixels, top=top)
            rows = zip(classes["scores"].cpu(), classes["labels"].cpu(), batch, strict=True)
            return [self._class_result(scores, labels, image) for scores, labels, image in rows]
        detections = cast(AnyDetector, self.model).predict(pixels, score_threshold=float(thresholds.min()))
        shown = [found_above(found, thresholds) for found in detections]
        return [self._detection_result(found, image) for found, image in zip(shown, batch, strict=True)]

    def _thresholds(self, score_threshold: Score) -> Tensor:
        """Return the lowest score of each label."""
        if score_threshold != "auto":
            return torch.full((max(len(self.info.class_names), 1),), float(score_threshold))
        if not self.info.thresholds:
            raise SpinetError(
                "these weights hold no score thresholds for 'auto': they are of a classifier, of an earlier version, "
                "or of a detector that found nothing right on its val images; give the threshold as a number"
            )
        return torch.tensor(self.info.thresholds)

    def _detection_result(self, found: Detections, image: Prepared) -> DetectionResult:
        placed = to_image(found, image.scale, image.image.shape[-2], image.image.shape[-1])
        return DetectionResult(
            placed["boxes"].float().numpy(),
            placed["scores"].float().numpy(),
            placed["labels"].numpy(),
            *self._classes(placed["labels"]),
            image.image,
            tuple(placed["masks"]) if "masks" in placed else None,
        )

    def _class_result(self, scores: Tensor, labels: Tensor, image: Prepared) -> ClassResult:
        height, width = image.image.shape[-2:]
        return ClassResult(scores.float().numpy(), labels.numpy(), *self._classes(labels), (height, width))

    def _classes(self, labels: Tensor) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return name and category id of each label."""
        indices = labels.tolist()
        names, ids = self.info.class_names, self.info.category_ids
        return tuple(names[index] for index in indices), tuple(ids[index] for index in indices)


def found_above(found: Detections, thresholds: Tensor) -> Detections:
    """Return the detections whose score is at least the threshold of their label."""
    labels = found["labels"]
    keep = found["scores"] >= thresholds.to(labels.device)[labels]
    return cast(Detections, {name: cast(Tensor, value)[keep] for name, value in found.items()})


def check_options(score_threshold: Score = 0.0, top: int = 1, batch_size: int = 1) -> None:
    """Raise a SpinetError for an option that is out of range."""
    if score_threshold != "auto" and not (isinstance(score_threshold, int | float) and 0 <= score_threshold <= 1):
        raise SpinetError(f"score_threshold is {quoted(score_threshold)}; it must be from 0 to 1, or 'auto'")
    check_positive(top=top, batch_size=batch_size)
