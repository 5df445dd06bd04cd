"""Strategies on recorded rewards, without training: how fast do they find what the table says is good?

A strategy proposes points that no table holds, so replaying is a model, and there are two of them here:

- `PoolWorld`: a proposal stands for the nearest architecture of the table that was not taken yet, and gets one of its
  recorded rewards. All rewards are real, but the answer is to another question than was asked.
- `ModelWorld`: the reward is what a surrogate predicts, plus a part of the architecture's own that it cannot predict,
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
    """The outcome of a trial of a replay: the reward that the strategy was told, and the one without noise."""

    told: float
    true: float


class World(Protocol):
    """Gives rewards for points of a space."""

    def look(self, choices: Choices) -> Seen | None:
        """Return the reward of a point; None if there is nothing left to find."""
        ...


@dataclass(frozen=True)
class Landscape:
    """What the uniform draws of a table tell about the rewards of its space, at the lowest rung.

    Args:
        space: of the architectures.
        graphs: of the uniform draws.
        described: their features.
        rewards: their mean rewards over seeds.
        single: for each the rewards of its seeds.
        noise: deviations of single rewards from their means, to draw seed noise from.
        surrogate: the model fitted to `rewards`.
        own: standard deviation of what of an architecture's reward the surrogate does not explain.
    """

    space: Space
    graphs: tuple[str, ...]
    described: Floats
    rewards: Floats
    single: tuple[tuple[float, ...], ...]
    noise: Floats
    surrogate: Surrogate
    own: float

    @property
    def mean(self) -> float:
        """Mean reward of uniform draws."""
        return float(self.rewards.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation of the rewards of uniform draws, that of the noise taken off."""
        return math.sqrt(max(1e-12, self._variance - float((self.noise**2).mean())))

    @property
    def _variance(self) -> float:
        return float(np.var([reward for rewards in self.single for reward in rewards], ddof=1))


def landscape(table: RewardTable, kind: Kind = "ridge", rung: int = 0) -> Landscape:
    """Fit what a table says.

    Raises:
        SpinetError: the table has too few uniform draws.
    """
    means = table.column("reward", rung)
    graphs = tuple(graph for graph in table.random if graph in means)
    described = np.array([features(table.genotypes[graph], table.space.scaling) for graph in graphs])
    rewards = np.array([means[graph] for graph in graphs])
    columns = [table.column("reward", rung, seed) for seed in table.seeds(rung)]
    single = tuple(tuple(column[graph] for column in columns if graph in column) for graph in graphs)
    halves = np.array(table.seed_differences(graphs, rung=rung)) / math.sqrt(2)
    noise = np.concatenate([halves, -halves]) if len(halves) else np.zeros(1)
    surrogate = fit_surrogate(kind, described, rewards)
    found = Landscape(table.space, graphs, described, rewards, single, noise, surrogate, 0.0)
    explained = float(np.var(_uniform_predictions(found, 300)))
    own = math.sqrt(max(0.0, found.deviation**2 - explained))
    return Landscape(table.space, graphs, described, rewards, single, noise, surrogate, own)


class PoolWorld:
    """Real rewards of the architectures of a table, each taken once; see the module."""

    def __init__(self, found: Landscape, seed: int) -> None:
        self._found = found
        self._random = Random(f"pool/{seed}")
        self._free = np.ones(len(found.graphs), dtype=bool)
        self._x = (found.described - found.surrogate.centre) / found.surrogate.spread

    def look(self, choices: Choices) -> Seen | None:
        """Return what was recorded for the nearest architecture that is left."""
        if not self._free.any():
            return None
        found = self._found
        described = np.array(features(found.space.decode(choices), found.space.scaling))
        at = (described - found.surrogate.centre) / found.surrogate.spread
        distance = np.where(self._free, ((self._x - at) ** 2).sum(axis=1), np.inf)
        place = int(distance.argmin())
        self._free[place] = False
        return Seen(self._random.choice(found.single[place]), float(found.rewards[place]))


class ModelWorld:
    """Rewards by the surrogate, with an own part of each graph and noise; a graph is measured once."""

    def __init__(self, found: Landscape, seed: int) -> None:
        self._found = found
        self._seed = seed
        self._seen: dict[str, Seen] = {}

    def look(self, choices: Choices) -> Seen:
        """Return the modelled reward; the same one whenever a graph comes again."""
        genotype = self._found.space.decode(choices)
        graph = graph_hash(genotype)
        if graph not in self._seen:
            predicted = self._found.surrogate.predict([features(genotype, self._found.space.scaling)])
            random = Random(f"model/{self._seed}/{graph}")
            true = float(predicted[0]) + random.gauss(0.0, self._found.own)
            self._seen[graph] = Seen(true + random.choice(self._found.noise.tolist()), true)
        return self._seen[graph]

    def quantile(self, share: float, draws: int = 2000) -> float:
        """Return the true reward that a share of uniform draws stays below."""
        random = Random(f"quantile/{self._seed}")
        space = self._found.space
        return float(np.quantile([self.look(space.sample(random)).true for _ in range(draws)], share))


def replay_search(strategy: Strategy, space: Space, world: World, trials: int, seed: int) -> list[Seen]:
    """Let a fresh strategy ask and learn, one trial after the other; return what each trial came to."""
    found: list[Seen] = []
    for number in range(trials):
        proposal = strategy.ask(ask_random(seed, number))
        seen = world.look(proposal.choices)
        if seen is None:
            break
        graph = graph_hash(space.decode(proposal.choices))
        trial = Trial(number, proposal.choices, graph, 0, 0, 0, proposal.notes)
        strategy.asked(trial)
        strategy.tell(trial, Outcome("done", seen.told))
        found.append(seen)
    return found


def picked(trials: Sequence[Seen]) -> list[float]:
    """True reward, after each trial, of the one that had the best reward told so far: what one would go on with.

    >>> picked([Seen(0.2, 0.3), Seen(0.1, 0.9), Seen(0.4, 0.2)])
    [0.3, 0.3, 0.2]
    """
    curve: list[float] = []
    best = Seen(-math.inf, -math.inf)
    for seen in trials:
        best = seen if seen.told > best.told else best
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
        mine, theirs = (np.minimum(each.model_counts, trials + 1) for each in (self, random))
        return bootstrap(lambda x, y: float(np.median(x) / np.median(y)), mine, theirs)


def compare(found: Landscape, strategies: Iterable[StrategySettings], seeds: int, trials: int) -> list[Replays]:
    """Replay strategies with several seeds each in both worlds; the first weights of policies hang on the seed."""
    goals = [ModelWorld(found, seed).quantile(0.99) for seed in range(seeds)]
    pool_goal = float(np.quantile(found.rewards, 0.95))
    done = []
    for settings in strategies:
        model, pool = [], []
        for seed in range(seeds):
            own = replace(settings, seed=seed) if isinstance(settings, PolicySettings) else settings
            one, other = (create_strategy(own, found.space) for _ in range(2))
            model.append(replay_search(one, found.space, ModelWorld(found, seed), trials, seed))
            pool.append(replay_search(other, found.space, PoolWorld(found, seed), trials, seed))
        done.append(Replays(settings.name, model, goals, pool, pool_goal))
    return done


def _uniform_predictions(found: Landscape, draws: int) -> Floats:
    random = Random("uniform predictions")
    genotypes = (found.space.decode(found.space.sample(random)) for _ in range(draws))
    return found.surrogate.predict([features(genotype, found.space.scaling) for genotype in genotypes])
