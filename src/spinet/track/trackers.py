"""The trackers of a run: started together, and left behind one by one when they fail.

`metrics.jsonl` and TensorBoard are always written. A tracker gets a copy of the same; whatever it raises ends the
tracker, with a warning, and never the training.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spinet.errors import SpinetError, unknown_name
from spinet.files import write_atomically
from spinet.track.csv_table import CsvTable
from spinet.track.mlflow_run import MlflowRun
from spinet.track.tracker import End, Tracker
from spinet.track.wandb_run import WandbRun

KINDS: dict[str, type[Tracker]] = {"csv": CsvTable, "mlflow": MlflowRun, "wandb": WandbRun}
# In the run folder: by which ids the trackers know the run, and which trials of a search they have.
FILE = "trackers.json"
TRIALS = "trials"


class Trackers:
    """The trackers of one run; a context manager, at whose end they are closed.

    Args:
        names: of `KINDS`.
        run: the run folder; its name becomes that of the run.
        say: is told where each tracker writes, and why one was given up.

    Raises:
        SpinetError: a name is unknown, there is no run folder, or the package of a tracker is not installed.
    """

    def __init__(self, names: Sequence[str], run: Path | None, say: Callable[[str], None] = print) -> None:
        for name in names:
            if name not in KINDS:
                raise unknown_name("tracker", name, KINDS)
        if names and run is None:
            raise SpinetError(f"{names[0]} is for trainings with a run folder, whose name its run gets")
        self.say, self._run = say, run or Path()
        self._chosen: list[Tracker] = []
        # With several processes, the main one reports for all.
        if run is not None and os.environ.get("RANK", "0") == "0":
            self._chosen = [KINDS[name](run) for name in dict.fromkeys(names)]
        self._active: list[Tracker] = []  # those that have started and not failed
        self._known: dict[str, Any] = {}
        self._logged: dict[str, set[int]] = {}
        self.has_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        how: End = "finished"
        if kind is not None:
            how = "stopped" if issubclass(kind, KeyboardInterrupt) else "failed"
        self.close(how)

    def close(self, how: End) -> None:
        """Close the runs; what comes after is not added."""
        self._each(lambda tracker: tracker.end(how))
        self._active = []

    def __bool__(self) -> bool:
        """Whether a tracker has started, and not failed."""
        return bool(self._active)

    def start(self, settings: Mapping[str, Any]) -> None:
        """Create a run in each tracker, or continue the one that was created for this folder.

        Args:
            settings: flat, by dotted name.
        """
        self._active, self.has_started = list(self._chosen), True
        self._known = _read(self._run / FILE)
        logged = self._known.pop(TRIALS, {})

        def begin(tracker: Tracker) -> None:
            before = self._known.get(tracker.name, {})
            now = self._known[tracker.name] = tracker.start(before, settings)
            # A run that is not the one of before, which may have been deleted, has no trials yet.
            self._logged[tracker.name] = set(logged.get(tracker.name, ())) if now == before else set()
            self.say(f"{tracker.name}: {tracker.where}")

        self._each(begin)
        self._save()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add finite metrics of a step; a step that a tracker already has is not repeated."""
        self._each(lambda tracker: tracker.log(step, values))

    def add(self, files: Iterable[Path], pictures: Iterable[Path] = ()) -> None:
        """Add files (weights, the report) and pictures of the finished run; those that do not exist are left out."""
        present, drawn = [file for file in files if file.is_file()], [file for file in pictures if file.is_file()]
        self._each(lambda tracker: tracker.add(present, drawn))

    def add_trial(self, number: int, settings: Mapping[str, Any], values: Mapping[str, float], failed: bool) -> None:
        """Add a finished trial of a search as a run below this one, unless it was added before."""

        def add(tracker: Tracker) -> None:
            if number not in self._logged[tracker.name]:
                tracker.add_trial(number, settings, values, failed)
                self._logged[tracker.name].add(number)
                self._save()

        self._each(add)

    def _save(self) -> None:
        if not self._chosen:
            return
        logged = {name: sorted(numbers) for name, numbers in self._logged.items() if numbers}
        with suppress(SpinetError):  # a full disk ends no search; the next session adds these trials again
            write_atomically(self._run / FILE, json.dumps({**self._known, TRIALS: logged}) + "\n")

    def _each(self, do: Callable[[Tracker], None]) -> None:
        """Do something with each tracker, and give up those that fail."""
        for tracker in list(self._active):
            try:
                do(tracker)
            except Exception as error:  # whatever a service, a disk or a package raises
                self._active.remove(tracker)
                reason = " ".join(str(error).split())[:200]
                self.say(f"warning: {tracker.name} gets nothing more of this run ({type(error).__name__}: {reason})")
                with suppress(Exception):
                    tracker.end("failed")


def _read(file: Path) -> dict[str, Any]:
    """Return what is known of earlier sessions; nothing if the file is missing or corrupt."""
    with suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and all(isinstance(value, dict) for value in content.values()):
            return content
    return {}
