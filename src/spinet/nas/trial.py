"""A trial, its outcome, and the interface of a strategy."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from random import Random
from statistics import fmean
from typing import Any, Literal, Protocol

from spinet.nas.space import Choices

# All but "done" are failures; "nan" is reported to the strategy with the worst reward so far.
Status = Literal["done", "nan", "oom", "timeout", "lost", "build", "error"]


@dataclass(frozen=True)
class Proposal:
    """A point that a strategy wants evaluated."""

    choices: Choices
    rung: int = 0  # index of the proxy's budget, 0 the smallest
    notes: Mapping[str, Any] = field(default_factory=dict)  # wanted back with the outcome, such as log-probabilities


@dataclass
class Trial:
    """A point to be evaluated."""

    number: int  # 0, 1, 2 ... in the order of asking
    choices: Choices
    graph: str  # hash of the built graph (`spinet.arch.graph_hash`)
    rung: int
    replicate: int  # 0 for the first evaluation of a graph at a rung, 1 for the second ...
    seed: int  # of the evaluation; see `trial_seed`
    notes: Mapping[str, Any] = field(default_factory=dict)  # those of the proposal


@dataclass
class Record(Trial):
    """A trial with its outcome; `status` is None while it is open."""

    draws: int = 1  # proposals that the constraints looked at for it; 0 for a promotion
    duplicate_of: int | None = None  # trial whose outcome it takes over
    status: Any = None
    reward: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str = ""  # of a failure
    seconds: float = 0.0  # how long its last attempt took
    ended: datetime | None = None
    retries: list[tuple[str, str]] = field(default_factory=list)  # status and reason of the repeated attempts

    @property
    def done(self) -> bool:
        """Whether the trial was measured; a diverged one has a reward, but a synthetic one."""
        return self.status == "done" and self.reward is not None

    def attempts(self, status: str) -> int:
        """How many attempts failed with a status and were repeated."""
        return sum(kind == status for kind, _ in self.retries)

    @property
    def is_reference(self) -> bool:
        """Whether it is the published network, which no strategy proposed and none learns from."""
        return self.notes.get("reference") is True

    @property
    def is_uniform(self) -> bool:
        """Whether the proposal was a uniform draw: marked as random, or from a policy before its first update."""
        return self.rung == 0 and (self.notes.get("random") is True or self.notes.get("version") == 0)


@dataclass(frozen=True)
class Candidate:
    """A graph at one rung: all its trainings, in the order of asking."""

    graph: str
    rung: int
    trials: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The first of the trials."""
        return self.trials[0]

    @cached_property
    def reward(self) -> float:
        """Mean reward."""
        return fmean(trial.reward for trial in self.trials if trial.reward is not None)

    @property
    def order(self) -> tuple[int, float, int]:
        """Higher is better: the rung, then the reward, then the earlier trial."""
        return self.rung, self.reward, -self.first.number


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Args:
        status: `"done"`, or the kind of failure.
        reward: higher is better; None if the trial failed, except for `"nan"`: the worst reward of the trials done
            before it (0 if that is positive), and None while there are none.
        metrics: everything else that was measured (JSON).
    """

    status: Status
    reward: float | None
    metrics: Mapping[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """Proposes points of a space and learns from outcomes, which may arrive in any order (ask and tell).

    Its state is a function of the asks and tells alone, so that replaying a journal rebuilds it.
    """

    def ask(self, random: Random) -> Proposal:
        """Propose a point. Must not change the state: a proposal may be rejected, and is then asked for again.

        Args:
            random: the only source of randomness; it depends on the search's seed and the trial's number.
        """
        ...

    def asked(self, trial: Trial) -> None:
        """Note that a proposal has become a trial, live or when a journal is replayed."""
        ...

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Learn the outcome of a trial that was proposed here; failures have no reward."""
        ...


def trial_seed(search_seed: int, graph: str, rung: int, replicate: int) -> int:
    """Seed of an evaluation: it depends on what is evaluated, not on when, where or by whom (63 bits).

    >>> trial_seed(0, "abc", 0, 0) == trial_seed(0, "abc", 0, 1)
    False
    """
    text = f"{search_seed}/{graph}/{rung}/{replicate}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def ask_random(search_seed: int, number: int) -> Random:
    """Return the generator that trial `number` is drawn with."""
    return Random(f"ask/{search_seed}/{number}")
