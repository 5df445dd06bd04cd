"""Spaces small enough to list every point of, and a search without an engine that keeps its events."""

import hashlib
import json
from dataclasses import replace
from random import Random

from spinet.arch.block_spec import BlockSpec
from spinet.nas.settings import STRATEGIES, HalvingSettings
from spinet.nas.space import Space
from spinet.nas.strategies import create_strategy
from spinet.nas.trial import Outcome, Trial, ask_random

_STEM = (BlockSpec(2, "bottleneck"), BlockSpec(2, "bottleneck"))
_KINDS = ("residual", "bottleneck")

SMALL = Space("small", _STEM, intermediates=(3, 3, 4), outputs=(3, 4))  # 16,200 points
TINY = replace(SMALL, name="tiny", window=2)  # 900 points
EVERY_PHASE = replace(
    SMALL, name="every phase", intermediates=(3, 4), outputs=(4,), window=2, offsets=(0, 1), kinds=_KINDS
)  # 384 points


def every_point(space: Space) -> list[tuple[int, ...]]:
    points: list[tuple[int, ...]] = [()]
    for _ in space.decisions:
        points = [
            (*before, option) for before in points for option, weight in enumerate(space.weights(before)) if weight
        ]
    return points


def trial_of(
    number: int, choices=(0,), *, rung: int = 0, notes=None, graph: str | None = None, replicate: int = 0
) -> Trial:
    return Trial(number, choices, graph or str(choices), rung, replicate, number, notes or {})


def done(reward: float) -> Outcome:
    return Outcome("done", reward)


class Search:
    """Asks and tells with four trials in flight, told in any order, some of them failures; keeps the events."""

    def __init__(self, strategy, first_number: int = 0, running=()):
        self.strategy = strategy
        self.number = first_number
        self.running = list(running)
        self.events = []

    def go(self, trials: int):
        """Return the proposals."""
        proposals = []
        for _ in range(trials):
            random = ask_random(0, self.number)
            self.strategy.ask(random)  # refused
            proposal = self.strategy.ask(random)
            notes = json.loads(json.dumps(dict(proposal.notes)))  # as the journal gives them back
            trial = trial_of(self.number, proposal.choices, rung=proposal.rung, notes=notes)
            self.strategy.asked(trial)
            self.events.append((trial, None))
            self.running.append(trial)
            proposals.append(proposal)
            if len(self.running) == 4:
                told = self.running.pop(Random(self.number).randrange(4))
                outcome = self._outcome(told)
                self.strategy.tell(told, outcome)
                self.events.append((told, outcome))
            self.number += 1
        return proposals

    @staticmethod
    def _outcome(trial: Trial) -> Outcome:
        luck = Random(trial.number).random()
        if luck < 0.1:
            return Outcome("nan", -1.0) if luck < 0.05 else Outcome("timeout", None)
        return done(sum(trial.choices) + trial.rung + luck)


def learnt() -> str:
    """Return a digest of all that the controller, in every phase, makes of a hundred trials."""
    search = Search(create_strategy(HalvingSettings(inner=STRATEGIES["controller"]), EVERY_PHASE))
    return hashlib.sha256(repr(search.go(100)).encode()).hexdigest()


def replay(strategy, events) -> None:
    for trial, outcome in events:
        if outcome is None:
            strategy.asked(trial)
        else:
            strategy.tell(trial, outcome)
