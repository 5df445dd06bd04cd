"""What all parts of a report need, computed once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from spinet.arch.catalog import Architecture
from spinet.arch.cost import Cost
from spinet.arch.graph_hash import graph_hash
from spinet.arch.head_cost import model_cost
from spinet.nas.references import published_network
from spinet.nas.state import SearchState
from spinet.nas.trial import Candidate, Record
from spinet.report.statistics import best_of, best_of_normal

# Fewer uniform draws say nothing about the best of many.
FEWEST_DRAWS = 10
# Fraction of random searches that the band covers, and at most so many steps of it.
BAND, GRID = 0.9, 240


class Band(NamedTuple):
    """Where the best of n random draws lies in 90 % of random searches, for some n in ascending order."""

    at: list[int]  # n, as far as `draws` goes
    low: list[float]
    middle: list[float]  # the median
    high: list[float]
    normal_at: list[int]  # n beyond that
    normal: list[float]  # the median there, if rewards were normally distributed
    draws: int  # number of random draws that all this comes from


@dataclass(frozen=True)
class Digest:
    """A search with everything that is derived from it."""

    search: SearchState

    @cached_property
    def reward_name(self) -> str:
        """What the reward is, as the proxy names it."""
        name = self.search.reward_name
        return name if name == "reward" else f"reward ({name})"

    @cached_property
    def costs(self) -> Mapping[str, Cost]:
        """Full-scale cost of every graph that was measured."""
        first = {candidate.graph: candidate.first for candidate in reversed(self.search.measured())}
        return {graph: self.cost(self.architecture(trial)) for graph, trial in first.items()}

    @cached_property
    def by_rung(self) -> dict[int, list[Candidate]]:
        """Graphs that were measured at each rung, rungs without any left out."""
        measured = sorted(self.search.measured(), key=lambda candidate: candidate.rung)
        return {rung: list(graphs) for rung, graphs in groupby(measured, lambda candidate: candidate.rung)}

    @cached_property
    def main_rung(self) -> int | None:
        """The highest rung with enough graphs to compare, or the one with most."""
        enough = [rung for rung, graphs in self.by_rung.items() if len(graphs) >= 5]
        return max(enough) if enough else max(self.by_rung, key=lambda rung: len(self.by_rung[rung]), default=None)

    @property
    def trained(self) -> list[Record]:
        """Finished trials that did not take over another's outcome."""
        return [record for record in self.search.records if record.status and record.duplicate_of is None]

    @cached_property
    def uniform_rewards(self) -> list[float]:
        """Rewards of the trials that were drawn uniformly; minus infinity for failed ones, which found nothing."""
        drawn = (record for record in self.search.records if record.status and record.is_uniform)
        return [record.reward if record.done and record.reward is not None else -math.inf for record in drawn]

    @cached_property
    def band(self) -> Band | None:
        """The band for as many draws as the search made at rung 0; None if too few were uniform."""
        return random_band(self.uniform_rewards, sum(record.rung == 0 for record in self.search.records))

    @cached_property
    def reference(self) -> Architecture:
        """The published architecture for comparison."""
        return published_network(self.search.space)

    @cached_property
    def reference_graph(self) -> str:
        """Its hash, to find it among the trials."""
        return graph_hash(self.reference.genotype)

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
        if rung >= len(budgets):
            return f"rung {rung}"
        return f"{budgets[rung]:g} epoch{'' if budgets[rung] == 1 else 's'}"

    def latency(self, candidate: Candidate) -> float | None:
        """Return the recorded latency of a graph, ms."""
        recorded = (trial.metrics.get("latency_ms") for trial in candidate.trials)
        return next((float(value) for value in recorded if isinstance(value, int | float)), None)

    def point(self, candidate: Candidate) -> list[Any]:
        """Return what is shown when hovering over a point: trial, GMACs, million parameters."""
        cost = self.costs[candidate.graph]
        return [candidate.first.number, round(cost.multiply_adds / 1e9, 2), round(cost.parameters / 1e6, 2)]


def pairs_of(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Return the values of the graphs that both have, in the same order."""
    shared = [graph for graph in one if graph in other]
    return [one[graph] for graph in shared], [other[graph] for graph in shared]


def random_band(rewards: Sequence[float], total: int) -> Band | None:
    """Compute the band of random search for `total` draws from the rewards of uniform draws; failed ones are -inf."""
    finite = [reward for reward in rewards if reward > -math.inf]
    if len(rewards) < FEWEST_DRAWS or len(finite) < 3:
        return None
    known = len(rewards)
    grid = np.unique(np.linspace(1, total, min(total, GRID)).round().astype(int)).tolist()
    at = [draws for draws in grid if draws <= known]
    low, middle, high = (
        [best_of(rewards, draws, quantile) for draws in at] for quantile in ((1 - BAND) / 2, 0.5, (1 + BAND) / 2)
    )
    beyond = [draws for draws in grid if draws >= known] if total > known else []
    fraction, mean, spread = len(finite) / known, fmean(finite), stdev(finite)
    normal = [best_of_normal(mean, spread, max(1, round(fraction * draws)), 0.5) for draws in beyond]
    return Band(at, low, middle, high, beyond, normal, known)
