"""How far trainings and searches are, from their folders alone, which may be being written."""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from spinet.engine.config import TrainConfig, read_config
from spinet.engine.run_folder import is_running
from spinet.engine.sessions import read_sessions
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.nas.status import summary
from spinet.report.training_run import CONFIG, METRICS, read_lines
from spinet.text import count_of

JOURNAL = "journal.jsonl"
# Lines of metrics whose speed is that of the rest of a training.
RECENT = 5


@dataclass(frozen=True)
class RunStatus:
    """One row of the table.

    Attributes:
        run: the folder.
        kind: `"training"` or `"search"`.
        state: `"running"`, `"finished"`, `"stopped"` (by a signal), `"failed"`, or `"ended"`, without a word why.
        what: recipe or space in words.
        done: epochs or trials done; `total`: of so many.
        metric: name of the score; `best` and `last` are its values, None before the first.
        seconds_left: while it runs, at its recent speed.
        memory_gib: peak memory of a training.
    """

    run: str
    kind: Literal["training", "search"]
    state: str
    what: str
    done: float
    total: float | None
    metric: str
    best: float | None = None
    last: float | None = None
    seconds_left: float | None = None
    memory_gib: float | None = None


def find_runs(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the run folders among paths and directly in them, and the paths that lead to none."""
    runs: list[Path] = []
    others: list[Path] = []
    for path in paths:
        inside = [path] if _is_run(path) else sorted(filter(_is_run, _folders(path)))
        runs += inside
        others += [] if inside else [path]
    return list(dict.fromkeys(runs)), others


def status_of(run: Path) -> RunStatus:
    """Return how far a run is.

    Raises:
        SpinetError: its settings or journal are corrupt.
    """
    return _search(run) if (run / JOURNAL).is_file() else _training(run)


def _folders(path: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (entry for entry in path.iterdir() if entry.is_dir())


def _is_run(path: Path) -> bool:
    return (path / JOURNAL).is_file() or ((path / CONFIG).is_file() and (path / METRICS).is_file())


def _training(run: Path) -> RunStatus:
    config, lines, running = read_config(run / CONFIG), read_lines(run / METRICS), is_running(run)
    steps = [line for line in lines if "loss" in line]
    score = task_of(config.model).score
    scores = [line[f"val/{score}"] for line in lines if f"val/{score}" in line]
    epoch = steps[-1].get("epoch", 0.0) if steps else 0.0
    return RunStatus(
        run=str(run),
        kind="training",
        state="running" if running else _how(run, config, epoch),
        what=f"{config.model.head}, {config.model.arch:.40}, {Path(config.data.root).name}",
        done=round(epoch, 2),
        total=config.epochs,
        metric=score,
        best=max(scores, default=None),
        last=scores[-1] if scores else None,
        seconds_left=_left(config, steps) if running else None,
        memory_gib=max((line["memory_gib"] for line in steps if "memory_gib" in line), default=None),
    )


def _how(run: Path, config: TrainConfig, epoch: float) -> str:
    """Return how a training ended that nobody continues at the moment."""
    sessions = read_sessions(run)
    if not sessions or sessions[-1]["event"] == "start":
        return "finished" if epoch > config.epochs - 1e-6 else "ended"
    return str(sessions[-1].get("how", "ended")).partition(":")[0]


def _left(config: TrainConfig, steps: list[dict[str, Any]]) -> float | None:
    speeds = [line["images_per_second"] for line in steps[-RECENT:] if line.get("images_per_second", 0) > 0]
    if not speeds or not steps[-1].get("epoch"):
        return None
    step, epoch = steps[-1]["step"], steps[-1]["epoch"]
    return float(step * (config.epochs / epoch - 1) * config.batch_size / median(speeds))


def _search(run: Path) -> RunStatus:
    numbers = summary(run)
    best = numbers["best"]
    reason = "running" if numbers["running"] else "stopped" if numbers["open"] else "ended"
    return RunStatus(
        run=str(run),
        kind="search",
        state=reason,
        what=f"{numbers['space']}, {numbers['strategy']}" + (f", {numbers['proxy']}" if numbers["proxy"] else ""),
        done=numbers["told"],
        total=None,
        metric=f"{numbers['reward']} at rung {best['rung']}" if best else numbers["reward"],
        best=best["reward"] if best else None,
    )


def remark(others: Iterable[Path]) -> str:
    """Return a sentence about paths that are no runs; empty without any."""
    named = [str(path) for path in others]
    if not named:
        return ""
    missing = [name for name in named if not Path(name).exists()]
    if missing:
        raise SpinetError(f"there is no {missing[0]}; expected run folders, or a folder of them")
    return f"no run is in {count_of(len(named), 'of the paths', 'of the paths')}, such as {named[0]}"


def percent(status: RunStatus) -> str:
    """Return how far a run is, in words."""
    if status.total is None:
        return count_of(int(status.done), "trial")
    share = min(1.0, status.done / status.total) if status.total else math.nan
    return f"{status.done:.0f} of {status.total:g} epochs ({share:.0%})"
