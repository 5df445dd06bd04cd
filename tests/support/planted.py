"""A reward whose optimum is known, SpineNet-49, and the shortest loop that searches for it: no training, no journal."""

import math
import statistics
from collections import deque
from dataclasses import replace
from itertools import pairwise
from random import Random

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import load_architecture
from spinet.nas.settings import STRATEGIES, PolicySettings, StrategySettings
from spinet.nas.spaces import SPACES
from spinet.nas.strategies import create_strategy
from spinet.nas.trial import Outcome, Trial, ask_random

SPACE = SPACES["spinenet49"]
_TARGET = load_architecture("spinenet49").genotype.blocks


def planted_reward(choices: tuple[int, ...]) -> float:
    """Return how near a point is to SpineNet-49: 1 there, and more for agreeing blocks in a row.

    Parents are compared by block number, so a block that is elsewhere in the order does not count as the same.
    """
    scores = [_agreement(*pair) for pair in zip(SPACE.decode(choices).blocks, _TARGET, strict=True)]
    in_a_row = [one * next_one for one, next_one in pairwise(scores)]
    return 0.6 * statistics.fmean(scores) + 0.4 * statistics.fmean(in_a_row)


def _agreement(block: BlockSpec, target: BlockSpec) -> float:
    level = max(0.0, 1 - abs(block.level - target.level) / 2)
    parents = len(set(block.parents) & set(target.parents)) / 2
    return 0.45 * level + 0.40 * parents + 0.15 * (block.kind == target.kind)


def reward_statistics() -> tuple[float, float]:
    """Return mean and standard deviation over 3,000 uniform samples of the space."""
    random = Random("planted optimum")
    rewards = [planted_reward(SPACE.sample(random)) for _ in range(3000)]
    return statistics.fmean(rewards), statistics.stdev(rewards)


def settings_of(name: str, seed: int) -> StrategySettings:
    """Return the settings of a strategy, the first weights of a policy drawn with `seed`."""
    settings = STRATEGIES[name]
    return replace(settings, seed=seed) if isinstance(settings, PolicySettings) else settings


def search_planted(
    settings: StrategySettings, seed: int, samples: int, in_flight: int = 1
) -> list[tuple[float, float]]:
    """Search with noisy rewards, which agree with the true ones to a correlation of 0.8.

    Args:
        settings: of the strategy.
        seed: of proposals and noise.
        samples: number of trials.
        in_flight: number of open trials.

    Returns:
        (observed reward, true reward) of each trial, in z: standard deviations above the mean of the space.
    """
    mean, deviation = reward_statistics()
    strategy = create_strategy(settings, SPACE)
    running: deque[tuple[Trial, float]] = deque()
    found = []
    for number in range(samples):
        proposal = strategy.ask(ask_random(seed, number))
        trial = Trial(number, proposal.choices, str(proposal.choices), 0, 0, 0, proposal.notes)
        strategy.asked(trial)
        true = planted_reward(trial.choices)
        noise = Random(f"noise/{seed}/{number}").gauss(0, deviation * math.sqrt(1 / 0.8**2 - 1))
        running.append((trial, true + noise))
        found.append(((true + noise - mean) / deviation, (true - mean) / deviation))
        if len(running) == in_flight:
            first, reward = running.popleft()
            strategy.tell(first, Outcome("done", reward))
    return found


def best_of(found: list[tuple[float, float]]) -> float:
    """Return z of the best true reward among the ten best observed ones: what ten trainings in full would find."""
    return max(true for _, true in sorted(found)[-10:])
