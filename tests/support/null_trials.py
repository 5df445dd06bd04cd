"""Searches that cost nothing: two small strategies, and evaluations that are functions of their arguments."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from spinet.arch.block_spec import BlockSpec
from spinet.errors import BuildError, NotFinite, OutOfMemory
from spinet.nas.config import SearchConfig
from spinet.nas.journal import NAME, REPRODUCIBLE
from spinet.nas.space import Space
from spinet.nas.trial import Proposal

STEM = (BlockSpec(2, "bottleneck"), BlockSpec(2, "bottleneck"))
SMALL = Space("small", STEM, (2, 3, 3, 4), (3, 4, 5), offsets=(0, 1), kinds=("residual", "bottleneck"))
# Two graphs only.
TINY = Space("tiny", STEM, (), (3,), kinds=("residual", "bottleneck"))


class RandomDraws:
    """Draws uniformly; remembers nothing."""

    def __init__(self, space=SMALL):
        self.space = space

    def ask(self, random):
        return Proposal(self.space.sample(random), notes={"random": True})

    def asked(self, trial):
        pass

    def tell(self, trial, outcome):
        pass


class Climber:
    """Mutates the best trial so far, so that every proposal depends on all earlier tells."""

    def __init__(self, space=SMALL):
        self.space, self.best, self.reward, self.told = space, None, None, []

    def ask(self, random):
        if self.best is None:
            return Proposal(self.space.sample(random))
        return Proposal(self.space.mutate(self.best, random), notes={"told": len(self.told), "tuple": (1, 0.1)})

    def asked(self, trial):
        self.told.append(["asked", trial.number, trial.notes])

    def tell(self, trial, outcome):
        self.told.append([trial.number, outcome.status, outcome.reward, outcome.metrics])
        if outcome.reward is not None and (self.reward is None or outcome.reward > self.reward):
            self.best, self.reward = trial.choices, outcome.reward


def number(seed):
    """A number from 0 to 1 that is a function of the seed."""
    return seed % 1_000_003 / 1_000_003


@dataclass(frozen=True)
class Evaluation:
    """Logs when it begins and ends, waits, and gives a reward that depends on the seed alone.

    Args:
        log: file that lines are appended to, if any.
        seconds: to wait.
        nan, oom, build: fractions of trials that fail this way.
    """

    log: str = ""
    seconds: float = 0.0
    nan: float = 0.0
    oom: float = 0.0
    build: float = 0.0

    def __call__(self, genotype, *, rung, seed, accumulate):
        self._note(f"begin {seed} {os.getpid()}")
        time.sleep(self.seconds)
        chance = seed // 1_000_003 % 1000 / 1000
        if chance < self.nan:
            raise NotFinite(f"the loss of seed {seed} is nan")
        if self.nan <= chance < self.nan + self.oom and accumulate < 4:
            raise OutOfMemory(f"seed {seed} does not fit")
        if 1 - chance <= self.build:
            raise BuildError(f"seed {seed} cannot be built")
        self._note(f"end {seed} {os.getpid()}")
        return {"reward": number(seed), "accumulate": accumulate, "loss": float("nan"), "seconds": 0.5}

    def _note(self, line):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(line + "\n")


@dataclass(frozen=True)
class Raises:
    """Always fails."""

    error: type[Exception]
    text: str = "no"

    def __call__(self, genotype, *, rung, seed, accumulate):
        raise self.error(self.text)


def configuration(space=SMALL, **settings):
    settings = {"strategy": {"name": "climber"}, "trials": 30, **settings}
    return SearchConfig(space, **settings)


def events(run, *kinds):
    lines = [json.loads(line) for line in (run / NAME).read_text().splitlines()]
    return [event for event in lines if not kinds or event["event"] in kinds]


def reproducible(run):
    """The lines of a journal that must not depend on the clock or the machine, as bytes."""
    lines = (run / NAME).read_bytes().splitlines()
    return [line for line in lines if json.loads(line)["event"] in REPRODUCIBLE]
