"""Strategies from their settings, and those that need no torch: random search and regularized evolution."""

from collections import deque
from dataclasses import replace
from random import Random

from spinet.errors import unknown_name
from spinet.nas.halving import Halving
from spinet.nas.settings import STRATEGIES, EvolutionSettings, HalvingSettings, PolicySettings, StrategySettings
from spinet.nas.space import Choices, Space
from spinet.nas.trial import Outcome, Proposal, Strategy, Trial


def strategy_settings(strategy: StrategySettings | str, seed: int = 0) -> StrategySettings:
    """Return the settings of a strategy by name; `seed` draws the first weights of its policy, if it has one."""
    if isinstance(strategy, StrategySettings):
        return strategy
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    settings = STRATEGIES[strategy]
    return replace(settings, seed=seed) if isinstance(settings, PolicySettings) else settings


def create_strategy(settings: StrategySettings | str, space: Space) -> Strategy:
    """Build a strategy that has seen no trials, from its settings or one of the names in `STRATEGIES`."""
    settings = strategy_settings(settings)
    match settings:
        case EvolutionSettings():
            return RegularizedEvolution(space, settings)
        case PolicySettings():
            from spinet.nas.policy import Policy  # torch, which the other strategies do without

            return Policy(space, settings)
        case HalvingSettings():
            return Halving(create_strategy(settings.inner, space), settings.eta, settings.rungs)
        case _:
            return RandomSearch(space)


class RandomSearch:
    """Draws uniformly from the space and learns nothing."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def ask(self, random: Random) -> Proposal:
        """Draw a point."""
        return Proposal(self._space.sample(random), notes={"random": True})

    def asked(self, trial: Trial) -> None:
        """Do nothing."""

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Do nothing."""


class RegularizedEvolution:
    """Mutates the best of a random few of the last trials (Real et al. 2019, arXiv 1802.01548).

    The population is a queue in the order of outcomes: a new member replaces the oldest, however good that was.
    """

    avoid_duplicates = True  # a mutation often leaves the network unchanged, for example that of a dead block

    def __init__(self, space: Space, settings: EvolutionSettings) -> None:
        self._space = space
        self._settings = settings
        self._asked = 0
        self._population: deque[tuple[float, Choices]] = deque(maxlen=settings.population)

    def ask(self, random: Random) -> Proposal:
        """Draw the first population at random, then mutate the winner of a tournament."""
        if self._asked < self._settings.population or not self._population:
            return Proposal(self._space.sample(random), notes={"random": True})
        drawn = random.sample(self._population, min(self._settings.sample, len(self._population)))
        _, winner = max(drawn, key=lambda member: member[0])
        return Proposal(self._space.mutate(winner, random))

    def asked(self, trial: Trial) -> None:  # noqa: ARG002
        """Count the trial."""
        self._asked += 1

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Add the trial to the population, unless it failed."""
        if outcome.reward is not None:
            self._population.append((outcome.reward, trial.choices))
