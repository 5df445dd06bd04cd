"""Exported files in the place of networks: for single photos, and for the metrics of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from spinet.data.class_transforms import ClassEvalTransform
from spinet.deploy.graph import letterbox, to_pixels
from spinet.deploy.sessions import CPU, Session, open_session
from spinet.engine.build import ModelInfo
from spinet.engine.evaluate import ImageDetections, to_image
from spinet.errors import SpinetError
from spinet.models.classifier import ClassPredictions
from spinet.models.detections import Detections, NmsOptions
from spinet.predict.predict import Prepared, check_photo


@dataclass
class Exported:
    """An exported file.

    Attributes:
        session: runs it.
        training: always off; `engine.evaluate` asks.
    """

    session: Session
    training: bool = False

    @classmethod
    def load(
        cls,
        path: Path,
        threads: int = 0,
        precision: Literal["fp32", "bf16"] | None = None,
        device: torch.device = CPU,
    ) -> Self:
        """Open an exported file of any format.

        Args:
            path: .onnx, .xml or .pt2 file, or the folder of an .xml file.
            threads: how many compute; 0 leaves it to the runtime.
            precision: of OpenVINO's arithmetic; what the file was exported for if None.
            device: of .pt2 files; the others run on the CPU.

        Raises:
            SpinetError: it is missing, damaged, of another version or for another task, or its runtime is missing.
        """
        exported = cls(open_session(path, threads, precision, device))
        if exported.info.kind != cls.task():
            raise SpinetError(f"{path} holds a {exported.info.kind}, but a {cls.task()} is asked for")
        return exported

    @classmethod
    def task(cls) -> str:
        """Return the task of the files that this class is for."""
        raise NotImplementedError

    @property
    def info(self) -> ModelInfo:
        """What the file says about its network; `image_size` is the long side of its input."""
        return self.session.manifest.info

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the file's input, pixels."""
        return self.session.manifest.shape

    @property
    def size(self) -> str:
        """The same for people: one number if it is a square."""
        height, width = self.shape
        return str(height) if height == width else f"{height} x {width}"

    def eval(self) -> Self:
        """Return itself, as networks do: there is nothing to switch."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Return itself; an exported file cannot be trained.

        Raises:
            SpinetError: it is asked to.
        """
        if mode:
            raise SpinetError("an exported file cannot be trained; train the run that it came from")
        return self

    def run(self, pixels: Tensor) -> dict[str, Tensor]:
        """Map any number of images, uint8 RGB `(B, H, W, 3)`, to the file's outputs.

        The file takes batches of one size; the last one is filled up with grey, and what it finds there left out.

        Raises:
            SpinetError: there is no image, or the images have another size than the file takes.
        """
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


class ExportedDetector(Exported):
    """An exported detector: a call for a photo of any size, `predict` for the batches of evaluation."""

    @classmethod
    def task(cls) -> str:
        """Return the task of the files that this class is for."""
        return "detector"

    def __call__(self, image: Tensor, score_threshold: float = 0.3) -> ImageDetections:
        """Find objects in a uint8 RGB photo `(3, H, W)`; boxes and masks come in its own pixels.

        Raises:
            SpinetError: the photo has no pixels.
        """
        [found] = self.find([self.prepare(image)], score_threshold)
        return found

    def prepare(self, image: Tensor) -> Prepared:
        """Fit a uint8 RGB photo `(3, H, W)` into the file's input.

        Raises:
            SpinetError: it has no pixel.
        """
        check_photo(image)
        return Prepared(image, *letterbox(image, self.shape))

    def find(self, photos: Sequence[Prepared], score_threshold: float = 0.3) -> list[ImageDetections]:
        """Find objects in any number of prepared photos."""
        found = split_detections(self.run(torch.stack([photo.pixels for photo in photos])), score_threshold)
        return [
            to_image(own, photo.scale, photo.image.shape[-2], photo.image.shape[-1])
            for own, photo in zip(found, photos, strict=True)
        ]

    def predict(self, images: Tensor, *, score_threshold: float = NmsOptions().score_threshold) -> list[Detections]:
        """Find objects in normalised images `(B, 3, H, W)`, as evaluation makes them.

        Args:
            images: as `data.transforms.EvalTransform` makes them, of the file's `shape`.
            score_threshold: detections below it are left out; the file itself leaves out those below 0.05.
        """
        return split_detections(self.run(to_pixels(images)), score_threshold)


class ExportedClassifier(Exported):
    """An exported classifier: a call for a photo of any size, `predict` for the batches of evaluation."""

    @classmethod
    def task(cls) -> str:
        """Return the task of the files that this class is for."""
        return "classifier"

    def __call__(self, image: Tensor, top: int = 5) -> ClassPredictions:
        """Guess the class of a uint8 RGB photo `(3, H, W)`; scores and labels are `(top,)`, best first.

        Raises:
            SpinetError: the photo has no pixels.
        """
        check_photo(image)
        guesses = self.predict(ClassEvalTransform(self.info.image_size)(image)[None], top=top)
        return {"scores": guesses["scores"][0], "labels": guesses["labels"][0]}

    def predict(self, images: Tensor, top: int = 5) -> ClassPredictions:
        """Guess the classes of normalised images `(B, 3, S, S)`; the background is not among the guesses."""
        scores = self.run(to_pixels(images))["probabilities"]
        first = 1 if self.info.model.background else 0
        best, labels = scores[:, first:].topk(min(top, scores.shape[1] - first), dim=1)
        return {"scores": best, "labels": labels + first}


def open_exported(
    path: Path,
    threads: int = 0,
    precision: Literal["fp32", "bf16"] | None = None,
    device: torch.device = CPU,
) -> ExportedDetector | ExportedClassifier:
    """Open an exported file of any format, whatever it holds; see `Exported.load`."""
    session = open_session(path, threads, precision, device)
    return ExportedClassifier(session) if session.manifest.info.kind == "classifier" else ExportedDetector(session)


def split_detections(outputs: dict[str, Tensor], score_threshold: float) -> list[Detections]:
    """Take the rows that are detections out of outputs of fixed shapes."""
    found: list[Detections] = []
    for image, labels in enumerate(outputs["labels"]):
        real = (labels >= 0) & (outputs["scores"][image] >= score_threshold)
        own: Detections = {
            "boxes": outputs["boxes"][image][real],
            "scores": outputs["scores"][image][real],
            "labels": labels[real],
        }
        if "masks" in outputs:
            own["masks"] = outputs["masks"][image][real]
        found.append(own)
    return found
