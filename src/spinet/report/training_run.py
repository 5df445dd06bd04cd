"""What a training left in its folder, read for a report or a comparison."""

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spinet.analysis.records import ClassRecord, DetectionRecord, load_record
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import read_notes
from spinet.engine.config import TrainConfig, read_config
from spinet.engine.evaluate import EvalOptions
from spinet.engine.packed import MODEL
from spinet.engine.record import RECORD, dataset_folder
from spinet.engine.run_folder import is_running
from spinet.engine.sessions import read_sessions
from spinet.engine.task import evaluate_folder, task_of
from spinet.errors import SpinetError
from spinet.predict.open import load

CONFIG, METRICS, BEST = "config.json", "metrics.jsonl", "best.safetensors"


@dataclass(frozen=True)
class RunLines:
    """What a training has written so far, also before its first evaluation.

    Attributes:
        folder: of the run.
        config: its settings.
        notes: the step and the metrics of the best weights; empty before the first evaluation.
        lines: of `metrics.jsonl`.
        sessions: of `sessions.jsonl`.
    """

    folder: Path
    config: TrainConfig
    notes: dict[str, float]
    lines: Sequence[dict[str, Any]]
    sessions: Sequence[dict[str, Any]]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @cached_property
    def losses(self) -> list[dict[str, Any]]:
        """Lines of training."""
        return [line for line in self.lines if "loss" in line]

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """Lines of evaluations."""
        return [line for line in self.lines if any(name.startswith("val/") for name in line)]

    @property
    def last_step(self) -> int:
        """The last step that a line is about."""
        return max((int(line["step"]) for line in self.lines), default=0)

    @property
    def last_epoch(self) -> float:
        """The epoch of the last line of training."""
        return float(self.losses[-1].get("epoch", math.nan)) if self.losses else math.nan

    @property
    def is_finished(self) -> bool:
        """Whether the training went on to its last epoch; the number of steps is rounded."""
        done = any(line["event"] == "end" and line.get("how") == "finished" for line in self.sessions)
        return done or not self.last_epoch < self.config.epochs - 1


@dataclass(frozen=True)
class TrainingRun(RunLines):
    """A training that has been evaluated at least once.

    Attributes:
        info: of the best weights.
        record: their predictions on val.
        images: the dataset folder; None if it is not there any more.
    """

    info: ModelInfo
    record: DetectionRecord | ClassRecord
    images: Path | None


def is_training(folder: Path) -> bool:
    """Whether a folder is that of a training, and not that of a shared model, which has settings too."""
    shared = (folder / MODEL).is_file() and not any((folder / name).is_file() for name in (BEST, METRICS))
    return (folder / CONFIG).is_file() and not shared


def open_training(folder: str | Path, root: str | Path | None = None) -> TrainingRun:
    """Read a run; without its record the best weights are evaluated, which takes as long as `spinet evaluate`.

    Args:
        folder: of the run.
        root: the dataset folder, if it has moved.

    Raises:
        SpinetError: there is no such run, it has not been evaluated yet, or a file is corrupt or missing.
    """
    folder = Path(folder)
    _check_present(folder)
    config = read_config(folder / CONFIG)
    lines = read_lines(folder / METRICS)
    if not (folder / BEST).is_file():
        step = max((int(line["step"]) for line in lines), default=0)
        if is_running(folder):
            raise SpinetError(
                f"{folder} is being trained, at step {step}, and was not evaluated yet: a report needs the first "
                "evaluation (eval_epochs); --serve follows a training from its start"
            )
        where = f"stopped at step {step}" if step else "has no line of metrics"
        raise SpinetError(
            f"{folder} {where} and was never evaluated; resume it with the command that started it until the first "
            "evaluation (eval_epochs), or to its end"
        )
    notes, info = read_notes(folder / BEST)
    place = _dataset(config, root)
    record = _record(folder, notes, info, config, place)
    return TrainingRun(folder, config, notes, lines, read_sessions(folder), info, record, place)


def read_progress(folder: str | Path) -> RunLines:
    """Read what a training has written so far; it may be running.

    Raises:
        SpinetError: there is no such run, or its settings are corrupt.
    """
    folder = Path(folder)
    _check_present(folder)
    config, lines = read_config(folder / CONFIG), read_lines(folder / METRICS)
    score = task_of(config.model).score
    scored = [line for line in lines if f"val/{score}" in line]
    best = max(scored, key=lambda line: line[f"val/{score}"], default={})
    notes = {name.removeprefix("val/"): value for name, value in best.items()}
    return RunLines(folder, config, notes, lines, read_sessions(folder))


def _check_present(folder: Path) -> None:
    if not folder.exists():
        raise SpinetError(f"there is no run folder {folder}")
    if not is_training(folder):
        what = "is not a folder" if folder.is_file() else "is empty" if not any(folder.iterdir()) else "holds no run"
        raise SpinetError(
            f"{folder} {what}; name the folder of a training (--run of spinet train, with {CONFIG}) or of a search"
        )


def _dataset(config: TrainConfig, root: str | Path | None) -> Path | None:
    if root is not None and not Path(root).exists():
        raise SpinetError(f"there is no dataset folder {root} (data.root)")
    where = Path(root or config.data.root)
    return where if (root or config.data.root) and where.exists() else None


def _record(
    folder: Path, notes: dict[str, float], info: ModelInfo, config: TrainConfig, root: Path | None
) -> DetectionRecord | ClassRecord:
    """Return the saved record of the best weights, or evaluate them."""
    if (folder / RECORD).is_file():
        record = load_record(folder / RECORD)
        # A run that was killed between the two files has the record of earlier weights.
        if record.step == int(notes.get("step", -1)):
            return record
    if root is None:
        raise SpinetError(
            f"{folder} holds no detections on val, and its dataset is not in {config.data.root or 'any known folder'} "
            "any more; name the dataset folder as --data.root"
        )
    model = load(folder / BEST, fused=False)
    options = EvalOptions(info.image_size, max(1, min(8, config.batch_size)), model.device)
    evaluation = evaluate_folder(
        model.model, model.info, root, "val", options, str(folder), config.data.division, folder
    )
    made = evaluation.record(int(notes.get("step", 0)))
    assert isinstance(made, DetectionRecord | ClassRecord)
    with suppress(SpinetError):  # a folder that cannot be written is no reason to fail
        made.save(folder / RECORD)
    return made


def image_path(root: Path, name: str) -> Path:
    """Return the file of an image of a record."""
    return dataset_folder(root) / name


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics, without those that are incomplete."""
    lines = []
    with suppress(OSError):
        for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    lines.append(line)
    return lines
