"""The overhead of the search engine per trial, its memory growth, and the time to resume.

    python benchmarks/search_overhead.py

Random proposals over the SpineNet-49 space, evaluations that do nothing, in process, every outcome synced to disk.
Each part runs in a process of its own, so that its memory is its own. Options: `--trials`, `--notes` (bytes of notes
per proposal), `--constraint` (within the default window of multiply-adds).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from spinet.arch.genotype import Genotype
from spinet.nas.config import SearchConfig
from spinet.nas.constraints import default_constraints
from spinet.nas.driver import Driver
from spinet.nas.journal import NAME, Journal, read_journal
from spinet.nas.run import run_search
from spinet.nas.space import Space
from spinet.nas.spaces import SPACES
from spinet.nas.status import summary
from spinet.nas.trial import Outcome, Proposal, Trial
from spinet.workers.executors import InProcess


class NullSearch:
    """Draws uniformly, with so many bytes of notes."""

    def __init__(self, space: Space, notes: int) -> None:
        self.space, self.notes = space, {"log_probs": [0.12345678] * (notes // 11)} if notes else {}

    def ask(self, random: Random) -> Proposal:
        """Draw a point."""
        return Proposal(self.space.sample(random), notes=self.notes)

    def asked(self, trial: Trial) -> None:
        """Remember nothing."""

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Learn nothing."""


class NullEvaluation:
    """Takes no time; records the memory of the process at every trial."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def __call__(self, genotype: Genotype, *, rung: int, seed: int, accumulate: int) -> dict[str, Any]:
        """Return a reward."""
        del genotype, rung, accumulate
        self.megabytes.append(resident_megabytes())
        return {"reward": seed % 1000 / 1000, "AP50": 0.5, "loss": 1.5}


def resident_megabytes() -> float:
    """Memory of this process that is in RAM."""
    import resource  # Unix only

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Make all trials; return what they cost."""
    space, evaluate, disk = SPACES["spinenet49"], NullEvaluation(), Disk()
    os.fsync = disk.fsync  # type: ignore[assignment]
    started, cpu = time.monotonic(), time.process_time()
    run_search(config(arguments), folder, NullSearch(space, arguments.notes), evaluate, InProcess(), quiet=True)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    settled = evaluate.megabytes[min(1000, len(evaluate.megabytes) - 1)]
    return {
        "ms per trial": 1000 * seconds / arguments.trials,
        "ms per trial of CPU": 1000 * cpu / arguments.trials,
        "ms per trial of waiting for the disk": 1000 * disk.seconds / arguments.trials,
        "MB after 1,000 trials": settled,
        "MB gained until the end": evaluate.megabytes[-1] - settled,
        "MB of journal": (folder / NAME).stat().st_size / 2**20,
    }


class Disk:
    """Measures the time spent on syncing."""

    def __init__(self) -> None:
        self.seconds, self._sync = 0.0, os.fsync

    def fsync(self, file: int) -> None:
        """Sync and measure."""
        started = time.monotonic()
        self._sync(file)
        self.seconds += time.monotonic() - started


def resume(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Resume; return how long that takes, how long reading alone, and how long the summary."""
    times = {}

    def measure(name: str, work: Callable[[], int]) -> None:
        started, cpu = time.monotonic(), time.process_time()
        assert work() >= arguments.trials
        times[f"s to {name}"] = time.monotonic() - started
        times[f"s to {name}, of CPU"] = time.process_time() - cpu

    with Journal(folder) as journal:
        strategy = NullSearch(SPACES["spinenet49"], 0)
        measure("resume", lambda: Driver(config(arguments), folder, journal, strategy).state.finished)
    measure("read", lambda: sum(1 for _ in read_journal(folder / NAME)))
    measure("summarize", lambda: summary(folder)["told"])
    return times


def config(arguments: argparse.Namespace) -> SearchConfig:
    """The search of this benchmark."""
    windows = default_constraints(SPACES["spinenet49"]) if arguments.constraint else ()
    return SearchConfig(SPACES["spinenet49"], {"name": "null"}, constraints=windows, trials=arguments.trials)


def main() -> None:
    """Run the parts and print their numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=14_000)
    parser.add_argument("--notes", type=int, default=1000)
    parser.add_argument("--constraint", action="store_true")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; a temporary one by default")
    parser.add_argument("--part", choices=("run", "resume"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps({"run": run, "resume": resume}[arguments.part](arguments, arguments.folder)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for part in ("run", "resume"):
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder, "--part", part]
            numbers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for name, value in numbers.items():
                print(f"{value:12,.3f} {name}", flush=True)


if __name__ == "__main__":
    main()
