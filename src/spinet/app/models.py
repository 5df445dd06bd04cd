"""The models that the page can ask: run folders, weights files and exported files, each opened once."""

import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.deploy.exported import ExportedClassifier, ExportedDetector, open_exported
from spinet.deploy.sessions import CPU, SUFFIXES, exported_file
from spinet.engine.checkpoint import holds_weights, read_info
from spinet.engine.config import read_config
from spinet.engine.evaluate import ImageDetections
from spinet.errors import SpinetError
from spinet.models.classifier import ClassPredictions
from spinet.predict.predict import Predictor
from spinet.predict.predict_classes import ClassPredictor

# What is kept of a detector's finds: the slider reaches down to it.
LOWEST_SCORE = 0.05
GUESSES = 5


class AppModel:
    """A detector or classifier under the name that the page has for it.

    Attributes:
        name: what tells it from the others on the page.
        path: the run folder or file.
        info: what its file says about it.
        is_classifier: whether it guesses classes instead of finding objects.
        runs_as: what computes it, and how precisely where it is an exported file.
        size: of its images, pixels: the side of squares, or height x width.
    """

    def __init__(
        self, name: str, path: Path, predictor: Predictor | ClassPredictor | ExportedDetector | ExportedClassifier
    ) -> None:
        self.name, self.path, self.info = name, path, predictor.info
        self.is_classifier = isinstance(predictor, ClassPredictor | ExportedClassifier)
        self.runs_as, self.size = "PyTorch", str(predictor.info.image_size)
        if isinstance(predictor, ExportedDetector | ExportedClassifier):
            file = exported_file(path)
            assert file is not None
            self.runs_as = f"{SUFFIXES[file.suffix]} {predictor.session.manifest.precision}"
            self.size = predictor.size
        self._predictor = predictor

    def find(self, image: Tensor) -> ImageDetections:
        """Find objects in a uint8 RGB photo `(3, H, W)`, in its pixels; all scores from `LOWEST_SCORE`."""
        assert isinstance(self._predictor, Predictor | ExportedDetector)
        return self._predictor(image, LOWEST_SCORE)

    def guess(self, image: Tensor) -> ClassPredictions:
        """Guess the class of a uint8 RGB photo `(3, H, W)`; at most `GUESSES`, best first."""
        assert isinstance(self._predictor, ClassPredictor | ExportedClassifier)
        return self._predictor(image, min(GUESSES, len(self.info.class_names)))


def open_predictor(
    path: Path, device: torch.device
) -> Predictor | ClassPredictor | ExportedDetector | ExportedClassifier:
    """Open whatever file or folder answers questions about photos: run, weights file or exported file.

    Exported files that are no .pt2 run on the CPU; `device` is for the others.

    Raises:
        SpinetError: it is missing, damaged, not one of ours, a backbone alone, or needs a runtime that is not there.
    """
    file = exported_file(path)
    if file is not None:
        return open_exported(path, device=device if file.suffix == ".pt2" else CPU)
    if read_info(path).kind == "classifier":
        return ClassPredictor.load(path, device)
    return Predictor.load(path, device)


class Models:
    """The models of a page, by name; those given are opened at once, so that what is missing is known early.

    Exported files in a run folder can be picked too, and are opened when they are.

    Attributes:
        paths: run folder or file of each name: those given, then those found.
    """

    def __init__(self, paths: Sequence[Path], device: torch.device) -> None:
        """Open the models.

        Raises:
            SpinetError: no path is given, or one of them cannot be opened.
        """
        if not paths:
            raise SpinetError("no model given; name a run folder or a file, or several")
        given = {path.absolute() for path in paths}
        inside = [file for path in paths for file in _exported_files(path) if file.absolute() not in given]
        everything = [*paths, *inside]
        self.paths = dict(zip(short_names(everything), everything, strict=True))
        self._device = device
        self._opened: dict[str, AppModel] = {}
        self._lock = threading.Lock()
        for name in list(self.paths)[: len(paths)]:
            self[name]

    def __getitem__(self, name: str) -> AppModel:
        with self._lock:
            if name not in self._opened:
                path = self.paths[name]
                self._opened[name] = AppModel(name, path, open_predictor(path, self._device))
            return self._opened[name]

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return list(self.paths)


def _exported_files(path: Path) -> list[Path]:
    """The exported files that lie in a run folder."""
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if holds_weights(path) else []


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name each path by as many of its last parts as tell it from the others.

    >>> short_names([Path("runs/a/best.safetensors"), Path("runs/b/best.safetensors"), Path("c")])
    ['a/best.safetensors', 'b/best.safetensors', 'c']
    """
    whole = list(dict.fromkeys(path.absolute() for path in paths))
    if len(whole) < len(paths):
        raise SpinetError("the same model is given twice; each is needed once, the page compares any two of them")
    return [_short_name(path, [other for other in whole if other != path]) for path in whole]


def _short_name(path: Path, others: Sequence[Path]) -> str:
    for count in range(1, len(path.parts)):
        if all(other.parts[-count:] != path.parts[-count:] for other in others):
            return "/".join(path.parts[-count:])
    return str(path)


def example_photos(paths: Sequence[Path], most: int = 8) -> list[Path]:
    """Photos of the val splits that the runs were measured on, evenly spread; none where the data is not there."""
    roots: dict[str, bool] = {}
    for path in paths:
        folder = path if path.is_dir() else path.parent
        try:
            config = read_config(folder / "config.json")
        except SpinetError:
            continue
        roots.setdefault(config.data.root, config.model.head == "classifier")
    splits = [photos for root, classes in roots.items() if (photos := _val_photos(Path(root), classes))]
    share = max(most // max(len(splits), 1), 1)
    return [photo for photos in splits for photo in photos[:: max(len(photos) // share, 1)][:share]]


def _val_photos(root: Path, classes: bool) -> list[Path]:
    try:
        dataset = ClassDataset(root, "val") if classes else CocoDataset(root, "val")
    except SpinetError:
        return []
    return [sample.path for sample in dataset.samples]
