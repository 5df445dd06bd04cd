"""Strategies on recorded rewards, without training: how fast do they find what the table says is good?

A strategy proposes points that no table holds, so replaying is a model, and there are two of them here:

- `PoolWorld`: a proposal stands for the nearest architecture of the table that was not taken yet, and gets one of its
  recorded rewards. All rewards are real, but the answer is to another question than was asked.
- `ModelWorld`: the reward is what a surrogate predicts, plus a residual of the architecture that it cannot predict,
  plus the noise of a seed. Both are as large as the table says. The landscape is as smooth as the surrogate, whatever
  the real one is: it tests whether strategies cope with this much noise, not what they would find.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple, Protocol

import numpy as np

from reward_table import RewardTable
from spinet.arch.graph_hash import graph_hash
from spinet.nas.settings import PolicySettings, StrategySettings
from spinet.nas.space import Choices, Space
from spinet.nas.strategies import create_strategy
from spinet.nas.trial import Outcome, Strategy, Trial, ask_random
from spinet.report.statistics import Interval, bootstrap
from surrogate import Floats, Kind, Surrogate, features, fit_surrogate


class Seen(NamedTuple):
    """The outcome of a trial of a replay: the reward that the strategy observed, and the one without noise."""

    observed: float
    true: float


class World(Protocol):
    """Gives rewards for points of a space."""

    def look(self, choices: Choices) -> Seen | None:
        """Return the reward of a point; None if there are none left."""
        ...


@dataclass(frozen=True)
class Landscape:
    """What the uniform draws of a table say about the rewards of its space, at the lowest rung.

    Args:
        space: of the architectures.
        graphs: of the uniform draws.
        inputs: their features.
        rewards: their mean rewards over seeds.
        single: rewards of the seeds of each graph.
        noise: deviations of single rewards from their means, to draw seed noise from.
        surrogate: the model fitted to `rewards`.
        residual: standard deviation of the part of an architecture's reward that the surrogate does not explain.
    """

    space: Space
    graphs: tuple[str, ...]
    inputs: Floats
    rewards: Floats
    single: tuple[tuple[float, ...], ...]
    noise: Floats
    surrogate: Surrogate
    residual: float

    @property
    def mean(self) -> float:
        """Mean reward of uniform draws."""
        return float(self.rewards.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the rewards of uniform draws, less that of the noise."""
        return math.sqrt(max(1e-12, self._variance - float((self.noise**2).mean())))

    @property
    def _variance(self) -> float:
        return float(np.var([reward for rewards in self.single for reward in rewards], ddof=1))


def fit_landscape(table: RewardTable, kind: Kind = "ridge", rung: int = 0) -> Landscape:
    """Fit a landscape to a table.

    Raises:
        SpinetError: the table has too few uniform draws.
    """
    means = table.column("reward", rung)
    graphs = tuple(graph for graph in table.random if graph in means)
    inputs = np.array([features(table.genotypes[graph], table.space.scaling) for graph in graphs])
    rewards = np.array([means[graph] for graph in graphs])
    columns = [table.column("reward", rung, seed) for seed in table.seeds(rung)]
    single = tuple(tuple(column[graph] for column in columns if graph in column) for graph in graphs)
    halves = np.array(table.seed_differences(graphs, rung=rung)) / math.sqrt(2)
    noise = np.concatenate([halves, -halves]) if len(halves) else np.zeros(1)
    surrogate = fit_surrogate(kind, inputs, rewards)
    landscape = Landscape(table.space, graphs, inputs, rewards, single, noise, surrogate, 0.0)
    explained = float(np.var(_uniform_predictions(landscape, 300)))
    residual = math.sqrt(max(0.0, landscape.deviation**2 - explained))
    return Landscape(table.space, graphs, inputs, rewards, single, noise, surrogate, residual)


class PoolWorld:
    """Real rewards of the architectures of a table, each taken once; see the module."""

    def __init__(self, landscape: Landscape, seed: int) -> None:
        self._landscape = landscape
        self._random = Random(f"pool/{seed}")
        self._free = np.ones(len(landscape.graphs), dtype=bool)
        self._x = (landscape.inputs - landscape.surrogate.centre) / landscape.surrogate.spread

    def look(self, choices: Choices) -> Seen | None:
        """Return what was recorded for the nearest architecture that is left."""
        if not self._free.any():
            return None
        landscape = self._landscape
        inputs = np.array(features(landscape.space.decode(choices), landscape.space.scaling))
        at = (inputs - landscape.surrogate.centre) / landscape.surrogate.spread
        distance = np.where(self._free, ((self._x - at) ** 2).sum(axis=1), np.inf)
        nearest = int(distance.argmin())
        self._free[nearest] = False
        return Seen(self._random.choice(landscape.single[nearest]), float(landscape.rewards[nearest]))


class ModelWorld:
    """Rewards by the surrogate, plus a residual of each graph and noise; a graph is measured once."""

    def __init__(self, landscape: Landscape, seed: int) -> None:
        self._landscape = landscape
        self._seed = seed
        self._seen: dict[str, Seen] = {}

    def look(self, choices: Choices) -> Seen:
        """Return the modelled reward; always the same for one graph."""
        genotype = self._landscape.space.decode(choices)
        graph = graph_hash(genotype)
        if graph not in self._seen:
            predicted = self._landscape.surrogate.predict([features(genotype, self._landscape.space.scaling)])
            random = Random(f"model/{self._seed}/{graph}")
            true = float(predicted[0]) + random.gauss(0.0, self._landscape.residual)
            self._seen[graph] = Seen(true + random.choice(self._landscape.noise.tolist()), true)
        return self._seen[graph]

    def quantile(self, fraction: float, draws: int = 2000) -> float:
        """Return the true reward that a fraction of uniform draws stays below."""
        random = Random(f"quantile/{self._seed}")
        space = self._landscape.space
        return float(np.quantile([self.look(space.sample(random)).true for _ in range(draws)], fraction))


def replay_search(strategy: Strategy, space: Space, world: World, trials: int, seed: int) -> list[Seen]:
    """Let a fresh strategy ask and learn, one trial after the other; return the outcomes."""
    outcomes: list[Seen] = []
    for number in range(trials):
        proposal = strategy.ask(ask_random(seed, number))
        seen = world.look(proposal.choices)
        if seen is None:
            break
        graph = graph_hash(space.decode(proposal.choices))
        trial = Trial(number, proposal.choices, graph, 0, 0, 0, proposal.notes)
        strategy.asked(trial)
        strategy.tell(trial, Outcome("done", seen.observed))
        outcomes.append(seen)
    return outcomes


def picked(trials: Sequence[Seen]) -> list[float]:
    """True reward, after each trial, of the one with the best observed reward so far: the one to pick.

    >>> picked([Seen(0.2, 0.3), Seen(0.1, 0.9), Seen(0.4, 0.2)])
    [0.3, 0.3, 0.2]
    """
    curve: list[float] = []
    best = Seen(-math.inf, -math.inf)
    for seen in trials:
        best = seen if seen.observed > best.observed else best
        curve.append(best.true)
    return curve


def first_above(trials: Sequence[Seen], threshold: float) -> float:
    """Number of trials up to the first whose true reward is above a threshold; infinite if none was.

    >>> first_above([Seen(0.2, 0.3), Seen(0.1, 0.9)], 0.5)
    2
    """
    return next((number for number, seen in enumerate(trials, start=1) if seen.true > threshold), math.inf)


@dataclass(frozen=True)
class Replays:
    """One strategy with several seeds in both worlds.

    Args:
        name: of the strategy.
        model: trials of each seed in its `ModelWorld`.
        goals: for each seed the reward there that one uniform draw in a hundred exceeds.
        pool: trials of each seed in its `PoolWorld`.
        pool_goal: the reward that five in a hundred architectures of the table exceed.
    """

    name: str
    model: list[list[Seen]]
    goals: list[float]
    pool: list[list[Seen]]
    pool_goal: float

    @property
    def model_counts(self) -> list[float]:
        """Trials up to the first above the goal, for each seed; infinite where there was none."""
        return [first_above(trials, goal) for trials, goal in zip(self.model, self.goals, strict=True)]

    @property
    def pool_counts(self) -> list[float]:
        """Trials up to the first of the best of the pool."""
        return [first_above(trials, self.pool_goal) for trials in self.pool]

    def ratio_to(self, random: "Replays", trials: int) -> Interval:
        """Median of `model_counts` over that of random search, with its interval over pairs of equal seeds.

        Replays of `trials` trials that did not reach the goal count as one more: a ratio of lower bounds.
        """
        mine, theirs = (np.minimum(replays.model_counts, trials + 1) for replays in (self, random))
        return bootstrap(lambda x, y: float(np.median(x) / np.median(y)), mine, theirs)


def compare(landscape: Landscape, strategies: Iterable[StrategySettings], seeds: int, trials: int) -> list[Replays]:
    """Replay strategies with several seeds each in both worlds; the initial weights of policies depend on the seed."""
    goals = [ModelWorld(landscape, seed).quantile(0.99) for seed in range(seeds)]
    pool_goal = float(np.quantile(landscape.rewards, 0.95))
    done = []
    for settings in strategies:
        model, pool = [], []
        for seed in range(seeds):
            seeded = replace(settings, seed=seed) if isinstance(settings, PolicySettings) else settings
            one, other = (create_strategy(seeded, landscape.space) for _ in range(2))
            model.append(replay_search(one, landscape.space, ModelWorld(landscape, seed), trials, seed))
            pool.append(replay_search(other, landscape.space, PoolWorld(landscape, seed), trials, seed))
        done.append(Replays(settings.name, model, goals, pool, pool_goal))
    return done


def _uniform_predictions(landscape: Landscape, draws: int) -> Floats:
    random = Random("uniform predictions")
    genotypes = (landscape.space.decode(landscape.space.sample(random)) for _ in range(draws))
    return landscape.surrogate.predict([features(genotype, landscape.space.scaling) for genotype in genotypes])
