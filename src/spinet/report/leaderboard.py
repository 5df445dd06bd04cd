"""All trainings and weights files below a folder, sorted; no network runs."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spinet.analysis.compared import measure
from spinet.analysis.precision import resamples
from spinet.analysis.records import ClassRecord, DetectionRecord, load_record
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import read_notes
from spinet.engine.config import TrainConfig, read_config
from spinet.engine.record import RECORD
from spinet.engine.sessions import read_sessions
from spinet.errors import SpinetError
from spinet.report.network_cost import network_cost
from spinet.report.training_run import BEST, CONFIG, is_training

Sort = Literal["score", "parameters", "multiply_adds", "seconds", "image_size", "model"]


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        model: the run folder or weights file.
        data: a name for the val data; only models of the same are ranked together.
        rank: by score among them, from 1; None without a score.
        metric: name of the score.
        score: at the best evaluation, with the 95 % interval from `low` to `high`; None where it is not known.
        ap50: AP at an IoU of 0.5 of detectors, of masks where these decide, and top-5 of classifiers.
        parameters: number.
        multiply_adds: of one image; None where no formula counts them.
        image_size: side in pixels.
        dataset: name of its folder.
        seconds: of training, without sessions that were killed; None if it is not known.
        seed: of the training.
    """

    model: str
    data: str
    rank: int | None
    metric: str
    score: float | None
    low: float | None
    high: float | None
    ap50: float | None
    parameters: int
    multiply_adds: int | None
    image_size: int
    dataset: str
    seconds: float | None
    seed: int | None


class Leaderboard(NamedTuple):
    """The models below a folder.

    Attributes:
        entries: those of the same val data together.
        unevaluated: trainings without best weights yet.
        faults: of files that could not be read, a sentence each.
    """

    entries: list[Entry]
    unevaluated: list[Path]
    faults: list[str]


def leaderboard(folder: Path, sort: Sort = "score") -> Leaderboard:
    """Return the models below a folder: trainings, and weights files that are no training's.

    Raises:
        SpinetError: there is no such folder.
    """
    if not folder.is_dir():
        raise SpinetError(f"there is no folder {folder}; expected one with run folders or weights files below it")
    entries, unevaluated, faults = [], [], []
    for path in _models(folder):
        if path.is_dir() and not (path / BEST).is_file():
            unevaluated.append(path)
            continue
        try:
            entries.append(_entry(path))
        except SpinetError as error:  # of one file: the others are still of interest
            faults.append(str(error))
    return Leaderboard(_ranked(entries, sort), unevaluated, faults)


def to_json(entries: Sequence[Entry]) -> str:
    """Return a JSON list on one line; null stands for what is not known."""
    return json.dumps([asdict(entry) for entry in entries], allow_nan=False)


def to_csv(entries: Sequence[Entry]) -> str:
    """Return one row per model, empty where something is not known."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(entry) for entry in entries)
    return buffer.getvalue()


def _models(folder: Path) -> Iterator[Path]:
    """Yield folders of trainings, and weights files elsewhere."""
    if is_training(folder):
        yield folder
        return
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from _models(path)
            elif path.suffix == ".safetensors":
                yield path


def _entry(path: Path) -> Entry:
    is_run = path.is_dir()
    notes, info = read_notes(path / BEST if is_run else path)
    config = read_config(path / CONFIG) if is_run else None
    metric, other = _metrics(info, notes)
    low = high = math.nan
    data = ""
    if is_run and (path / RECORD).is_file():
        record = load_record(path / RECORD)
        data = _digest(record)
        if record.step == int(notes.get("step", -1)):
            found = measure(record, resamples(len(record.images)), metric == "mask/AP").metrics
            name = metric.removeprefix("mask/")
            _, low, high = found[name].interval if name in found else (math.nan,) * 3
    cost = network_cost(info)
    return Entry(
        model=str(path),
        data=data,
        rank=None,
        metric=metric,
        score=_known(notes.get(metric, math.nan)),
        low=_known(low),
        high=_known(high),
        ap50=_known(notes.get(other, math.nan)),
        parameters=cost.parameters,
        multiply_adds=None if cost.backbone_only else cost.multiply_adds,
        image_size=info.image_size,
        dataset=Path(config.data.root).name if config else "",
        seconds=_seconds(path, config),
        seed=config.seed if config else None,
    )


def _metrics(info: ModelInfo, notes: dict[str, float]) -> tuple[str, str]:
    if info.kind == "classifier":
        return "top1", "top5"
    return ("mask/AP", "mask/AP50") if "mask/AP" in notes else ("AP", "AP50")


def _seconds(path: Path, config: TrainConfig | None) -> float | None:
    if config is None:
        return None
    ends = [line for line in read_sessions(path) if line["event"] == "end"]
    return round(sum(float(line.get("seconds", 0)) for line in ends), 1) if ends else None


def _digest(record: DetectionRecord | ClassRecord) -> str:
    """Return a short name for images and annotations, the same for the same val data."""
    digest = blake2b(json.dumps([record.kind, record.images, record.class_names]).encode(), digest_size=4)
    if isinstance(record, DetectionRecord):
        for name in ("owners", "labels", "boxes", "crowd"):
            digest.update(getattr(record.truth, name).tobytes())
    else:
        digest.update(record.labels.tobytes())
    return digest.hexdigest()


def _ranked(entries: Sequence[Entry], sort: Sort) -> list[Entry]:
    """Return the entries by data, those of unknown data last and without a rank."""
    names: dict[str, str] = {}
    for entry in entries:
        names[entry.data] = min(names.get(entry.data, entry.dataset), entry.dataset)

    def group(entry: Entry) -> tuple[bool, str, str, str]:
        # The same val images may lie in folders of several names.
        return not entry.data, names[entry.data], entry.data, entry.metric

    ranked: list[Entry] = []
    for key, members in groupby(sorted(entries, key=group), group):
        by_score = sorted(members, key=lambda entry: -math.inf if entry.score is None else entry.score, reverse=True)
        known = not key[0]
        placed = [
            Entry(**{**asdict(entry), "rank": rank if known and entry.score is not None else None})
            for rank, entry in enumerate(by_score, 1)
        ]
        ranked += placed if sort == "score" else sorted(placed, key=lambda entry: _order(getattr(entry, sort)))
    return ranked


def _order(value: Any) -> tuple[bool, Any]:
    """Put what is not known last."""
    return value is None, 0 if value is None else value


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
