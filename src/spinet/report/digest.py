"""What all parts of a report need, computed once."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, NamedTuple

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.arch.cost import Cost
from spinet.arch.graph_hash import graph_hash
from spinet.arch.head_cost import model_cost
from spinet.nas.space import Space
from spinet.nas.state import SearchState
from spinet.nas.trial import Candidate, Record
from spinet.report.statistics import best_of, best_of_normal

# Fewer uniform draws say nothing about the best of many.
FEWEST_DRAWS = 10
# Fraction of random searches that the band covers.
BAND = 0.9


class Band(NamedTuple):
    """Where the best of n random draws lies in 90 % of random searches, for some n in ascending order.

    Args:
        at: n, as far as `draws` goes.
        low: lower edge at each of them.
        middle: the median.
        high: upper edge.
        normal_at: n beyond that.
        normal: the median there, if rewards were normally distributed.
        draws: number of random draws that all this comes from.
    """

    at: list[int]
    low: list[float]
    middle: list[float]
    high: list[float]
    normal_at: list[int]
    normal: list[float]
    draws: int


@dataclass(frozen=True)
class Digest:
    """A search with everything that is derived from it."""

    search: SearchState

    @cached_property
    def reward_name(self) -> str:
        """What the reward is, as the proxy names it."""
        proxy = self.search.header.get("proxy") or {}
        return f"reward ({proxy['reward']})" if proxy.get("reward") else "reward"

    @cached_property
    def costs(self) -> Mapping[str, Cost]:
        """Full-scale cost of every graph that was measured."""
        first = {each.graph: each.first for each in reversed(self.search.measured())}
        return {graph: self.cost(self.architecture(trial)) for graph, trial in first.items()}

    @cached_property
    def by_rung(self) -> dict[int, list[Candidate]]:
        """Graphs that were measured at each rung, rungs without any left out."""
        found: dict[int, list[Candidate]] = {}
        for each in self.search.measured():
            found.setdefault(each.rung, []).append(each)
        return dict(sorted(found.items()))

    @cached_property
    def main_rung(self) -> int | None:
        """The highest rung with enough graphs to compare, or the one with most."""
        enough = [rung for rung, graphs in self.by_rung.items() if len(graphs) >= 5]
        return max(enough) if enough else max(self.by_rung, key=lambda rung: len(self.by_rung[rung]), default=None)

    @cached_property
    def failures(self) -> Counter[str]:
        """Trials that failed, by status; duplicates of failed ones left out."""
        return Counter(str(each.status) for each in self.trained if each.status != "done")

    @property
    def trained(self) -> list[Record]:
        """Finished trials that did not take over another's outcome."""
        return [each for each in self.search.records if each.status and each.duplicate_of is None]

    @cached_property
    def uniform_rewards(self) -> list[float]:
        """Rewards of the trials that were drawn uniformly; minus infinity for failed ones, which found nothing."""
        drawn = (each for each in self.search.records if each.status and each.is_uniform)
        return [each.reward if each.done and each.reward is not None else -math.inf for each in drawn]

    @cached_property
    def band(self) -> Band | None:
        """The band for as many draws as the search made at rung 0; None if too few were uniform."""
        return random_band(self.uniform_rewards, sum(each.rung == 0 for each in self.search.records))

    @cached_property
    def reference(self) -> Architecture:
        """The published architecture for comparison."""
        return _reference(self.search.space)

    @cached_property
    def reference_graph(self) -> str:
        """Its hash, to find it among the trials."""
        return graph_hash(self.reference.genotype)

    @cached_property
    def rungs(self) -> list[int]:
        """Rungs that any trial was asked at."""
        return sorted({record.rung for record in self.search.records})

    def architecture(self, record: Record) -> Architecture:
        """Return the full-scale architecture of a trial."""
        space = self.search.space
        name = f"trial {record.number}"
        return Architecture(space.decode(record.choices), space.scaling, name, f"{space.name}, {name}")

    def cost(self, architecture: Architecture) -> Cost:
        """Count what a full-scale architecture costs with its head, as the constraints of the search count."""
        basis = self.search.basis
        return model_cost(architecture, basis.image_size, basis.head, basis.num_classes)

    def rewards(self, rung: int) -> dict[str, float]:
        """Return the mean reward of every graph that was measured at a rung."""
        return {candidate.graph: candidate.reward for candidate in self.search.measured(rung)}

    def pairs(self, low: int, high: int) -> tuple[list[float], list[float]]:
        """Return the rewards of the graphs that were measured at both rungs."""
        return pairs_of(self.rewards(low), self.rewards(high))

    def epochs(self, rung: int) -> str:
        """Name a rung by its training."""
        budgets = (self.search.header.get("proxy") or {}).get("rungs") or []
        if rung < len(budgets):
            count = budgets[rung]
            return f"{count:g} epoch{'' if count == 1 else 's'}"
        return f"rung {rung}"

    def latency(self, summary: Candidate) -> float | None:
        """Return the recorded latency of a graph, ms."""
        found = (trial.metrics.get("latency_ms") for trial in summary.trials)
        return next((float(each) for each in found if isinstance(each, int | float)), None)

    def point(self, summary: Candidate) -> list[Any]:
        """Return what is shown when hovering over a point: trial, GMACs, million parameters."""
        cost = self.costs[summary.graph]
        return [summary.first.number, round(cost.multiply_adds / 1e9, 2), round(cost.parameters / 1e6, 2)]


def pairs_of(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Return the values of the graphs that both have, in the same order."""
    shared = [graph for graph in one if graph in other]
    return [one[graph] for graph in shared], [other[graph] for graph in shared]


def random_band(rewards: Sequence[float], made: int) -> Band | None:
    """Compute the band of random search for `made` draws from the rewards of uniform draws; failed ones are -inf."""
    finite = [reward for reward in rewards if reward > -math.inf]
    if len(rewards) < FEWEST_DRAWS or len(finite) < 3:
        return None
    known = len(rewards)
    at = [draws for draws in _grid(made) if draws <= known]
    low, middle, high = (
        [best_of(rewards, draws, quantile) for draws in at] for quantile in ((1 - BAND) / 2, 0.5, (1 + BAND) / 2)
    )
    beyond = [draws for draws in _grid(made) if draws >= known] if made > known else []
    fraction, mean, spread = len(finite) / known, fmean(finite), stdev(finite)
    normal = [best_of_normal(mean, spread, max(1, round(fraction * draws)), 0.5) for draws in beyond]
    return Band(at, low, middle, high, beyond, normal, known)


def _grid(count: int, most: int = 240) -> list[int]:
    """Integers from 1 to `count`: all, or `most` evenly spaced."""
    return (
        sorted({1 + round(k * (count - 1) / (most - 1)) for k in range(most)})
        if count > most
        else [*range(1, count + 1)]
    )


def _reference(space: Space) -> Architecture:
    if space.name in names():
        return load_architecture(space.name)
    return load_architecture("spinenet49-mobile" if space.scaling.family == "mobile" else "spinenet49")
