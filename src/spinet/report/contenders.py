"""The models of a comparison: their predictions on one split, their size and their speed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spinet.analysis.records import ClassRecord, DetectionRecord
from spinet.deploy.sessions import exported_file
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import holds_weights, weights_file
from spinet.engine.config import TrainConfig
from spinet.engine.evaluate import EvalOptions
from spinet.engine.task import evaluate_folder
from spinet.errors import SpinetError
from spinet.formats.splits import Division
from spinet.models.blocks import count_parameters
from spinet.predict.open import load
from spinet.predict.predictor import Predictor
from spinet.report.training_run import TrainingRun, image_path, is_training, open_training
from spinet.timing import medians

# Images per measurement of speed, of which the median is taken.
ROUNDS = 7


@dataclass(frozen=True)
class Contender:
    """A model of a comparison.

    Attributes:
        name: of its folder or file, or its path where two are the same.
        path: as it was given.
        record: its predictions.
        megabytes: of its file.
        parameters: number, before anything is folded.
        milliseconds: per image, alone and with pre-processing; NaN if it was not measured.
        config: of a training.
    """

    name: str
    path: Path
    record: DetectionRecord | ClassRecord
    megabytes: float
    parameters: int
    milliseconds: float
    config: TrainConfig | None = None


@dataclass(frozen=True)
class _Place:
    """A dataset folder, how it is divided, and the run that recorded that."""

    root: Path
    division: Division | None = None
    run: Path | None = None


def contenders(
    paths: Sequence[str | Path], root: str | Path | None = None, *, device: str = "auto", speed: bool = True
) -> tuple[list[Contender], Path | None]:
    """Open the models and their predictions on one val split.

    Trainings have theirs in their folders; weights and exported files are run over the dataset.

    Args:
        paths: run folders, weights files or exported files, the first to compare the others with.
        root: a dataset to run all of them over; by default the one that the first training among them was trained on.
        device: as for `load`.
        speed: measure the time of one image, of all models in turn.

    Returns:
        The models, and the folder of the images; None if it is not there any more.

    Raises:
        SpinetError: there are fewer than two, one cannot be opened, or they were evaluated on different data.
    """
    files = [Path(path) for path in paths]
    if len(files) < 2:
        raise SpinetError("name at least two runs or files to compare")
    missing = next((file for file in files if not file.exists()), None)
    if missing:
        raise SpinetError(f"there is no run folder or file {missing}")
    if root is not None and not Path(root).exists():
        raise SpinetError(f"there is no dataset folder {root} (data.root)")
    runs = {file: open_training(file) for file in files if root is None and is_training(file)}
    models = {file: load(file, device) for file in dict.fromkeys(files) if speed or file not in runs}
    place = _place(list(runs.values()), root)
    records = [runs[file].record if file in runs else _evaluated(models[file], file, place) for file in files]
    _check_same(files, records)
    times = _times(models, records[0], place) if speed else {}
    names = [file.resolve().name for file in files]
    made = [
        Contender(
            name if names.count(name) == 1 else str(file),
            file,
            record,
            _megabytes(file),
            _parameters(models[file].info if file in models else runs[file].info),
            1000 * times.get(file, math.nan),
            runs[file].config if file in runs else None,
        )
        for name, file, record in zip(names, files, records, strict=True)
    ]
    return made, place.root if place else None


def _place(runs: Sequence[TrainingRun], root: str | Path | None) -> _Place | None:
    if root is not None:
        return _Place(Path(root))
    found = next((run for run in runs if run.images is not None), None)
    return _Place(found.images, found.config.data.division, found.folder) if found and found.images else None


def _evaluated(model: Predictor, file: Path, place: _Place | None) -> DetectionRecord | ClassRecord:
    if place is None:
        raise SpinetError(f"{file} holds no predictions on val; name a dataset folder to run it over as --data.root")
    options = EvalOptions(model.input_shape, 8, model.device)
    made = evaluate_folder(
        model.model, model.info, place.root, "val", options, str(file), place.division, place.run
    ).record(0)
    assert isinstance(made, DetectionRecord | ClassRecord)
    return made


def _check_same(files: Sequence[Path], records: Sequence[DetectionRecord | ClassRecord]) -> None:
    first = records[0]
    for file, record in zip(files[1:], records[1:], strict=True):
        if not first.same_data(record):
            raise SpinetError(
                f"{files[0]} and {file} were evaluated on different data ({_what_differs(first, record)}); --data.root "
                "runs all of them over one dataset"
            )


def _what_differs(first: DetectionRecord | ClassRecord, other: DetectionRecord | ClassRecord) -> str:
    if first.kind != other.kind:
        return f"a {first.kind} and a {other.kind}"
    if first.class_names != other.class_names:
        return f"{len(first.class_names)} and {len(other.class_names)} classes, or others"
    if len(first.images) != len(other.images):
        return f"{len(first.images):,} and {len(other.images):,} val images"
    return "other val images" if first.images != other.images else "other annotations of the same val images"


def _times(
    models: dict[Path, Predictor], record: DetectionRecord | ClassRecord, place: _Place | None
) -> dict[Path, float]:
    """Return the seconds for one image, of all models in turn."""
    file = image_path(place.root, record.images[0]) if place and record.images else None
    image = str(file) if file and file.is_file() else torch.full((3, 480, 640), 128, dtype=torch.uint8)
    calls = {path: lambda model=model: model.predict(image) for path, model in models.items()}
    return medians(calls, next(iter(models.values())).device, ROUNDS, warm_up=2)


def _megabytes(path: Path) -> float:
    file = weights_file(path) if path.is_dir() and holds_weights(path) else exported_file(path) or path
    # OpenVINO keeps its weights beside the graph.
    parts = [file, *([file.with_suffix(".bin")] if file.suffix == ".xml" else [])]
    return sum(part.stat().st_size for part in parts if part.is_file()) / 2**20


def _parameters(info: ModelInfo) -> int:
    with torch.device("meta"):
        return count_parameters(info.create_model())
