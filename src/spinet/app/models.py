"""The models of the page: run folders, weights files and exported files, each opened once."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from spinet.app.val import Val, open_val
from spinet.deploy.exported import ExportedModel
from spinet.deploy.sessions import SUFFIXES, exported_file
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import holds_weights
from spinet.engine.config import TrainConfig, read_config
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.predict.open import load
from spinet.predict.predictor import Predictor
from spinet.predict.results import DetectionResult, Result

# The lowest score that the slider reaches.
LOWEST_SCORE = 0.05
TOP_CLASSES = 5
# Opening such a file runs code inside it, and whoever sees the page could pick it.
PROGRAM = ".pt2"


@dataclass(frozen=True)
class AppModel:
    """A model, its run folder or file, and its name on the page."""

    name: str
    path: Path
    predictor: Predictor

    @property
    def info(self) -> ModelInfo:
        """What its file says about it."""
        return self.predictor.info

    @property
    def runs_as(self) -> str:
        """What computes it, and the precision of an exported file."""
        model, file = self.predictor.model, exported_file(self.path)
        if not isinstance(model, ExportedModel) or file is None:
            return "PyTorch"
        return f"{SUFFIXES[file.suffix]} {model.session.manifest.precision}"

    def predict(self, image: Tensor) -> Result:
        """Predict a uint8 RGB image `(3, H, W)`: all objects from `LOWEST_SCORE`, or the `TOP_CLASSES`."""
        return self.predictor.predict(image, score_threshold=LOWEST_SCORE, top=TOP_CLASSES)


class Models:
    """The models of a page, by name. The given ones are opened at once, so that errors come before the page.

    Exported files in a run folder can be picked too, and are opened then.

    Attributes:
        paths: run folder or file of each name: the given ones, then the exported files.
    """

    def __init__(self, paths: Sequence[Path], device: str | torch.device = "auto", threads: int = 0) -> None:
        """Open the models; raise a SpinetError if there are none, or one of them cannot be opened."""
        if not paths:
            raise SpinetError("no model given; name one or more run folders or files")
        for path in paths:
            file = exported_file(path)
            if file is not None and file.suffix == PROGRAM:
                raise SpinetError(f"the page opens no .pt2 files, which can run code, such as {path}; name its run")
        given = {path.absolute() for path in paths}
        inside = [file for path in paths for file in _exported_files(path) if file.absolute() not in given]
        everything = [*paths, *inside]
        self.paths = dict(zip(short_names(everything), everything, strict=True))
        self._device, self._threads = device, threads
        self._opened: dict[str, AppModel] = {}
        self._vals: dict[str, Val] = {}
        self._lock, self._val_lock = threading.Lock(), threading.Lock()
        for name in list(self.paths)[: len(paths)]:
            self[name]

    def __getitem__(self, name: str) -> AppModel:
        with self._lock:
            if name not in self._opened:
                path = self.paths[name]
                file = exported_file(path)
                device = self._device if file is None else "cpu"
                self._opened[name] = AppModel(name, path, load(path, device=device, threads=self._threads))
            return self._opened[name]

    def val(self, name: str) -> Val:
        """Return what is known about the val split of a model; it is read once."""
        with self._val_lock:
            if name not in self._vals:
                self._vals[name] = open_val(self.paths[name])
            return self._vals[name]

    def truth(self, names: Sequence[str], image: Path) -> DetectionResult | None:
        """Return the annotations of a val image of one of these models, without its pixels."""
        found = (self.val(name).truth(image) for name in names)
        return next((truth for truth in found if truth is not None), None)

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return list(self.paths)


def _exported_files(path: Path) -> list[Path]:
    """Return the exported files in a run folder that hold data only."""
    if not holds_weights(path):
        return []
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.suffix != PROGRAM)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name each path by as many of its last parts as it takes to tell it from the others.

    >>> short_names([Path("runs/a/best.safetensors"), Path("runs/b/best.safetensors"), Path("c")])
    ['a/best.safetensors', 'b/best.safetensors', 'c']
    """
    whole = list(dict.fromkeys(path.absolute() for path in paths))
    if len(whole) < len(paths):
        raise SpinetError("a model is given twice; give each model once, the page can compare any two")
    return [_short_name(path, [other for other in whole if other != path]) for path in whole]


def _short_name(path: Path, others: Sequence[Path]) -> str:
    for count in range(1, len(path.parts)):
        if all(other.parts[-count:] != path.parts[-count:] for other in others):
            return "/".join(path.parts[-count:])
    return str(path)


def example_images(paths: Sequence[Path], most: int = 8) -> list[Path]:
    """Return images of the val splits of the runs, evenly spread; none where a dataset is missing."""
    roots: dict[str, TrainConfig] = {}
    for path in paths:
        folder = path if path.is_dir() else path.parent
        try:
            config = read_config(folder / "config.json")
        except SpinetError:
            continue
        roots.setdefault(config.data.root, config)
    splits = [images for config in roots.values() if (images := _val_images(config))]
    count = max(most // max(len(splits), 1), 1)
    return [image for images in splits for image in images[:: max(len(images) // count, 1)][:count]]


def _val_images(config: TrainConfig) -> list[Path]:
    try:
        dataset = task_of(config.model).open(config, "val")
    except SpinetError:
        return []
    return [sample.path for sample in dataset.samples]
