"""Exported files in the place of networks: batches in, predictions out."""

from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import Tensor

from spinet.deploy.graph import to_pixels
from spinet.deploy.sessions import InferenceSession
from spinet.engine.build import ModelInfo
from spinet.errors import SpinetError
from spinet.models.classifier import ClassPredictions
from spinet.models.detections import Detections, NmsOptions


@dataclass
class ExportedModel:
    """An exported file.

    Attributes:
        session: runs it.
        training: always off; evaluation asks.
    """

    session: InferenceSession
    training: bool = False

    @property
    def info(self) -> ModelInfo:
        """What the file says about its network; `image_size` is the long side of its input."""
        return self.session.manifest.info

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the file's input in pixels."""
        return self.session.manifest.shape

    def eval(self) -> Self:
        """Return itself: there is no other mode."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Return itself; an exported file cannot be trained.

        Raises:
            SpinetError: `mode` is on.
        """
        if mode:
            raise SpinetError("an exported file cannot be trained; train the run that it was exported from")
        return self

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Map any number of images to the file's outputs.

        They are uint8 RGB `(B, H, W, 3)`, or normalized float `(B, 3, H, W)` as evaluation makes them. The file takes
        batches of one size; the last one is filled up with grey images.

        Raises:
            SpinetError: there is no image, or the images do not have the size that the file takes.
        """
        pixels = images if images.dtype == torch.uint8 else to_pixels(images)
        (height, width), batch = self.shape, self.session.manifest.batch_size
        if len(pixels) == 0 or tuple(pixels.shape[1:]) != (height, width, 3):
            raise SpinetError(
                f"images of shape {tuple(pixels.shape)} were given to a file exported for (N, {height}, {width}, 3)"
            )
        parts = []
        for part in torch.split(pixels, batch):
            missing = part.new_full((batch - len(part), *part.shape[1:]), 128)
            outputs = self.session.run(torch.cat([part, missing]).contiguous())
            parts.append({name: values[: len(part)] for name, values in outputs.items()})
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _check_labels(self, labels: Tensor) -> None:
        """Raise a SpinetError for labels of which the manifest knows no class."""
        known = len(self.info.class_names)
        unknown = labels[labels >= known].tolist()
        if unknown:
            raise SpinetError(
                f"{self.session.where} predicts label {unknown[0]}, but its manifest has {known} classes: labels 0 to "
                f"{known - 1}"
            )


class ExportedDetector(ExportedModel):
    """An exported detector."""

    def predict(self, images: Tensor, *, score_threshold: float = NmsOptions().score_threshold) -> list[Detections]:
        """Find objects in images, given as for `run`; the file itself leaves out scores below 0.05."""
        detections = split_detections(self.run(images), score_threshold)
        for found in detections:
            self._check_labels(found["labels"])
        return detections


class ExportedClassifier(ExportedModel):
    """An exported classifier."""

    def predict(self, images: Tensor, top: int = 5) -> ClassPredictions:
        """Predict the classes of images, given as for `run`; the background is not among them."""
        scores = self.run(images)["probabilities"]
        self._check_labels(torch.arange(scores.shape[1]))
        first = 1 if self.info.model.background else 0
        best, labels = scores[:, first:].topk(min(top, scores.shape[1] - first), dim=1)
        return {"scores": best, "labels": labels + first}


def split_detections(outputs: dict[str, Tensor], score_threshold: float) -> list[Detections]:
    """Take the rows that are detections out of outputs of fixed shapes."""
    valid = (outputs["labels"] >= 0) & (outputs["scores"] >= score_threshold)
    names = [name for name in ("boxes", "scores", "labels", "masks") if name in outputs]
    return [cast(Detections, {name: outputs[name][image][rows] for name in names}) for image, rows in enumerate(valid)]
