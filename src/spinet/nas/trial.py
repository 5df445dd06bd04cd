"""A trial, what came of it, and what a strategy is."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol, runtime_checkable

from spinet.nas.space import Choices

# What can become of a trial. All but "done" are failures; "nan" is told as the worst reward so far.
Status = Literal["done", "nan", "oom", "timeout", "lost", "build"]


@dataclass(frozen=True)
class Proposal:
    """What a strategy wants to know about.

    Args:
        choices: a point of the space.
        rung: which of the proxy's budgets, 0 the smallest.
        notes: whatever the strategy wants back with the outcome (JSON), such as log-probabilities.
    """

    choices: Choices
    rung: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A genotype to be evaluated.

    Args:
        number: 0, 1, 2 ... in the order of asking.
        choices: a point of the space.
        graph: hash of the built graph (`spinet.arch.graph_hash`).
        rung: which of the proxy's budgets.
        replicate: 0 for the first evaluation of a graph at a rung, 1 for the second ...
        seed: of the evaluation; see `trial_seed`.
        notes: those of the proposal.
    """

    number: int
    choices: Choices
    graph: str
    rung: int
    replicate: int
    seed: int
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Args:
        status: `"done"`, or the kind of failure.
        reward: higher is better; None if the trial failed, but for `"nan"`, whose reward is the worst of the trials
            that were done before it, 0 if that is positive, and None while there are none.
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
        """Propose a point. Must not change the state: a proposal may be refused, and is then asked for again.

        Args:
            random: the only source of chance; it depends on the search's seed and the trial's number.
        """
        ...

    def asked(self, trial: Trial) -> None:
        """Take note that a proposal has become a trial, or that the replay of a journal has come to it."""
        ...

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Learn what came of a trial that was proposed here; failures have no reward."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """A strategy that can be saved, because replaying its events would take long."""

    def state(self) -> bytes:
        """Return all that asks and tells have changed."""
        ...

    def load(self, state: bytes) -> None:
        """Take over what `state` returned, into a strategy of the same space and settings."""
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
