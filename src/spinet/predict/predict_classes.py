"""Photos in, guesses of their classes as one JSON file out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.images import read_image
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_classifier
from spinet.engine.compiling import compile_for_inference
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.fuse.formats import Precision, check_precision, fuse_in
from spinet.models.classifier import Classifier, ClassPredictions
from spinet.predict.predict import find_images


class PhotoClassifier(Protocol):
    """What guesses the classes of photos of any size: a network of ours, or an exported file."""

    @property
    def info(self) -> ModelInfo:
        """Its classes and settings."""
        ...

    def __call__(self, image: Tensor, top: int = ...) -> ClassPredictions:
        """Guess the class of a uint8 RGB photo `(3, H, W)`; scores and labels are `(top,)`, best first."""
        ...


@dataclass(frozen=True)
class ClassPredictor:
    """A trained classifier for single photos of any size."""

    model: Classifier
    info: ModelInfo
    device: torch.device

    @classmethod
    def load(
        cls, path: Path, device: torch.device, precision: Precision = "fp32", compiled: bool = False
    ) -> "ClassPredictor":
        """Read a run folder or weights file, and fuse its network; arguments as for `Predictor`.

        Raises:
            SpinetError: it is missing, damaged, or holds no classifier, or the precision is unknown.
        """
        check_precision(precision)
        model, info = load_classifier(path, device)
        model = fuse_in(precision, model, info.image_size, device)
        if compiled:
            compile_for_inference(model, device)
        return cls(model, info, device)

    def __call__(self, image: Tensor, top: int = 5) -> ClassPredictions:
        """Guess the class of a uint8 RGB photo `(3, H, W)`; scores and labels are `(top,)`, best first."""
        prepared = ClassEvalTransform(self.info.image_size)(image, self.device)
        found = self.model.predict(prepared[None], top=top)
        return {"scores": found["scores"][0].cpu(), "labels": found["labels"][0].cpu()}


@dataclass(frozen=True)
class ClassPrediction:
    """What became of one photo: its entry in the JSON file, or why it could not be read."""

    path: Path
    entry: dict[str, Any] | None
    error: str = ""

    def __str__(self) -> str:
        """Return a line to print: the photo and its guesses, or the error."""
        if self.entry is None:
            return self.error
        guesses = (f"{guess['class']} {guess['score']:.2f}" for guess in self.entry["guesses"])
        return f"{self.path}  {', '.join(guesses)}"


def predict_class_files(
    predictor: PhotoClassifier, paths: list[Path], out: Path, top: int = 5
) -> Iterator[ClassPrediction]:
    """Guess the classes of photos, one by one, and write `predictions.json` at the end.

    A photo that cannot be read is reported in its `ClassPrediction` and left out; the others go on.

    Args:
        predictor: the classifier.
        paths: photos, or folders of photos.
        out: folder for the JSON file.
        top: guesses for each photo; fewer if the classifier has not so many classes.

    Raises:
        SpinetError: `top` is below 1, a path does not exist, or the output cannot be written.
    """
    if top < 1:
        raise SpinetError(f"top is {top}; allowed is 1 or more guesses")
    entries = []
    for path in find_images(paths):
        try:
            image = read_image(path)
        except SpinetError as error:
            yield ClassPrediction(path, None, str(error))
            continue
        entries.append(_entry(path, image, predictor(image, top), predictor.info))
        yield ClassPrediction(path, entries[-1])
    write_atomically(out / "predictions.json", json.dumps(entries, indent=1) + "\n")


def _entry(path: Path, image: Tensor, found: ClassPredictions, info: ModelInfo) -> dict[str, Any]:
    """One photo in the JSON file."""
    guesses = [
        {"category_id": info.category_ids[label], "class": info.class_names[label], "score": round(score, 4)}
        for score, label in zip(found["scores"].tolist(), found["labels"].tolist(), strict=True)
    ]
    return {"file": str(path), "width": image.shape[-1], "height": image.shape[-2], "guesses": guesses}
