"""Kill searches at random moments, and check that nothing is lost, repeated or different.

    python benchmarks/kill_search.py

Half of the kills hit the driver of a search in process, whose journal must come out byte-identical, but for the lines
about clock and machine, to that of an unbroken search. The other half hit, in turn, the driver and a worker of a
search in two processes: all outcomes must be those of an unbroken search, no outcome that the journal held may be
missing later, and no training whose outcome it held may begin again. All kills are SIGKILL.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import Genotype
from spinet.errors import NotFinite, OutOfMemory
from spinet.nas.config import SearchConfig
from spinet.nas.journal import NAME, REPRODUCIBLE, Event, read_journal
from spinet.nas.run import run_search
from spinet.nas.space import Choices, Space
from spinet.nas.trial import Outcome, Proposal, Trial
from spinet.workers.executors import InProcess
from spinet.workers.processes import ProcessExecutor

STEM = (BlockSpec(2, "bottleneck"), BlockSpec(2, "bottleneck"))
# Small, so that some draws are duplicates of others.
SPACE = Space("small", STEM, (2, 3, 3), (3, 4), offsets=(0, 1))
LOG = "evaluations.log"


class Climber:
    """Mutates the best trial so far, or draws uniformly."""

    def __init__(self, climb: bool) -> None:
        self.climb, self.told, self.reward = climb, 0, -1.0
        self.best: Choices | None = None

    def ask(self, random: Random) -> Proposal:
        """Propose a neighbour of the best."""
        if self.climb and self.best and self.told % 3:
            return Proposal(SPACE.mutate(self.best, random), notes={"told": self.told})
        return Proposal(SPACE.sample(random), notes={"told": self.told} if self.climb else {})

    def asked(self, trial: Trial) -> None:
        """Remember nothing."""

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Remember the best."""
        self.told += 1
        if outcome.reward is not None and outcome.reward > self.reward:
            self.best, self.reward = trial.choices, outcome.reward


@dataclass(frozen=True)
class Evaluation:
    """Logs its start, works a few milliseconds, now and then fails; the reward depends on the seed alone."""

    log: str

    def __call__(self, genotype: Genotype, *, rung: int, seed: int, accumulate: int) -> dict[str, Any]:
        """Evaluate nothing."""
        del genotype, rung
        with Path(self.log).open("a") as file:
            file.write(f"{seed} {os.getpid()}\n")
        time.sleep(seed % 30 / 1000)
        if seed % 41 == 0:
            raise NotFinite(f"the loss of seed {seed} is nan")
        if seed % 7 == 0 and accumulate < 2:
            raise OutOfMemory(f"seed {seed} does not fit")
        return {"reward": seed % 1_000_003 / 1_000_003, "accumulate": accumulate}


def drive(run: Path, workers: int, trials: int) -> None:
    """Start or resume a search: this is killed."""
    config = SearchConfig(SPACE, {"name": "climber"}, trials=trials)
    evaluate = Evaluation(str(run / LOG))
    with ProcessExecutor(workers, timeout=60) if workers else InProcess() as executor:
        run_search(config, run, Climber(not workers), evaluate, executor, quiet=True)


class Killer:
    """Starts a driver again and again, and kills it or one of its workers.

    Args:
        run: the run folder.
        workers: of the search; 0 runs it in process.
        trials: of the search.
        dice: where chance comes from.
    """

    def __init__(self, run: Path, workers: int, trials: int, dice: random.Random) -> None:
        self.run, self.workers, self.trials, self.dice = run, workers, trials, dice
        self.errors = run / "errors.txt"
        self.driver: subprocess.Popen[bytes] | None = None
        self.acknowledged: dict[int, Event] = {}
        self.seen = 0
        self.kills = {"driver": 0, "worker": 0}

    def torment(self, kills: int) -> None:
        """Kill so often, then let the search finish."""
        self.run.mkdir(parents=True)
        while (done := sum(self.kills.values())) < kills:
            victim = "worker" if self.workers and done % 2 else "driver"
            self._start()
            self._wait()
            self._note()
            if self._kill(victim):
                self.kills[victim] += 1
        self._start()
        assert self.driver is not None
        if self.driver.wait() != 0:
            raise SystemExit(f"the driver failed:\n{self.errors.read_text()}")
        self._note()

    def _start(self) -> None:
        if self.driver is None or self.driver.poll() is not None:
            command = [sys.executable, __file__, "--drive", str(self.run), str(self.workers), str(self.trials)]
            # Python itself complains where a driver is killed while it starts a worker: shown only if it matters.
            with self.errors.open("wb") as errors:
                self.driver = subprocess.Popen(command, stderr=errors)

    def _wait(self) -> None:
        """Wait for a random number of lines more, and a random time more; now and then strike while it starts."""
        assert self.driver is not None
        if self.dice.random() < 0.1:
            time.sleep(self.dice.uniform(0, 0.5))
            return
        journal, log = self.run / NAME, self.run / LOG
        lines = _lines(journal) + self.dice.randrange(1, 16)
        while (_lines(journal) < lines or not log.exists()) and self.driver.poll() is None:
            time.sleep(0.001)
        time.sleep(self.dice.uniform(0, 0.03))

    def _kill(self, victim: str) -> bool:
        assert self.driver is not None
        if self.driver.poll() is not None:
            raise SystemExit(f"the search ended before all kills:\n{self.errors.read_text()}")
        process = self.driver.pid
        if victim == "worker":
            begun = (self.run / LOG).read_text().splitlines() if (self.run / LOG).exists() else []
            process = int(begun[-1].split()[1]) if begun else 0
            if not _is_worker_of(process, self.driver.pid):
                return False
        os.kill(process, signal.SIGKILL)
        if victim == "driver":
            self.driver.wait()
        return True

    def _note(self) -> None:
        """Check what was acknowledged before against what there is now; then take note of it."""
        # The journal first: what begins after the log was read, then begins after these outcomes were written.
        tells, seeds = _told(self.run)
        log = (self.run / LOG).read_text().splitlines() if (self.run / LOG).exists() else []
        lost = [number for number, tell in self.acknowledged.items() if tells.get(number) != tell]
        if lost:
            raise SystemExit(f"acknowledged outcomes were lost or changed: trials {lost}")
        again = {int(line.split()[0]) for line in log[self.seen :]} & {seeds[number] for number in self.acknowledged}
        if again:
            raise SystemExit(f"finished trainings were repeated: seeds {again}")
        self.acknowledged, self.seen = tells, len(log)


def _told(run: Path) -> tuple[dict[int, Event], dict[int, int]]:
    """Outcomes by trial, and the seeds of the trials that are no duplicates."""
    if not (run / NAME).exists():
        return {}, {}
    events = list(read_journal(run / NAME))
    seeds = {event["trial"]: event["seed"] for event in events if event["event"] == "ask"}
    return {event["trial"]: event for event in events if event["event"] == "tell"}, seeds


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _is_worker_of(process: int, driver: int) -> bool:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1]) == driver
    except OSError:
        return False


def reproducible(run: Path) -> bytes:
    """The lines of a journal that are not about clock and machine."""
    lines = (run / NAME).read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if json.loads(line)["event"] in REPRODUCIBLE)


def outcomes(run: Path) -> dict[tuple[str, int], Event]:
    """What was told, by graph and seed: which trial comes first is left to the workers."""
    asks = {event["trial"]: event for event in read_journal(run / NAME) if event["event"] == "ask"}
    tells, _ = _told(run)
    return {(asks[number]["graph"], asks[number]["seed"]): {**tell, "trial": None} for number, tell in tells.items()}


def main() -> None:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        run, workers, trials = arguments.drive
        drive(Path(run), int(workers), int(trials))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, workers in (("in process", 0), ("two processes", 2)):
            started, kills = time.monotonic(), arguments.kills // 2
            trials = 50 + 8 * kills
            unbroken, broken = Path(folder) / f"unbroken{workers}", Path(folder) / f"broken{workers}"
            drive_unbroken = [sys.executable, __file__, "--drive", str(unbroken), str(workers), str(trials)]
            unbroken.mkdir()
            subprocess.run(drive_unbroken, check=True)
            killer = Killer(broken, workers, trials, random.Random(arguments.seed + workers))
            killer.torment(kills)
            if workers == 0 and reproducible(broken) != reproducible(unbroken):
                raise SystemExit("the journal of the killed search differs")
            if outcomes(broken) != outcomes(unbroken):
                raise SystemExit("outcomes of the killed search differ")
            print(
                f"{name}: {killer.kills['driver']} kills of the driver, {killer.kills['worker']} of a worker, "
                f"{trials} trials, {len(outcomes(broken))} different outcomes, all as in the unbroken search; "
                f"no outcome lost, no finished training repeated ({time.monotonic() - started:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
