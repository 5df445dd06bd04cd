"""Asynchronous successive halving around any strategy (Li et al. 2018, "Massively parallel hyperparameter tuning")."""

from bisect import bisect_left, insort
from random import Random

from spinet.nas.space import Choices
from spinet.nas.trial import Outcome, Proposal, Strategy, Trial


class Halving:
    """Promotes the best `1 / eta` of the trials of each rung to the next one, as soon as they are known.

    No rung waits to be full, so workers never idle. If nothing can be promoted, the inner strategy proposes a new
    point for rung 0. It learns from rung 0 only: rewards of different budgets are not comparable.

    Args:
        inner: proposes points for rung 0.
        eta: one trial in `eta` is promoted.
        rungs: number of budgets.
    """

    def __init__(self, inner: Strategy, eta: int, rungs: int) -> None:
        self.inner = inner
        self.avoid_duplicates = bool(getattr(inner, "avoid_duplicates", False))
        self._eta = eta
        self._rungs = [_Rung() for _ in range(rungs)]
        self._promotion: Proposal | None = None
        self._known = True  # whether `_promotion` is up to date

    def ask(self, random: Random) -> Proposal:
        """Propose a promotion to the highest rung possible, or else a point of the inner strategy."""
        if not self._known:
            self._promotion, self._known = self._find_promotion(), True
        return self._promotion or self.inner.ask(random)

    def asked(self, trial: Trial) -> None:
        """Note a promotion, or pass the trial on."""
        if trial.rung == 0:
            self.inner.asked(trial)
        else:
            self._rungs[trial.rung - 1].promoted.add(trial.graph)
            self._known = False

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Add the outcome to its rung, and pass on those of rung 0."""
        self._rungs[trial.rung].enter(trial, outcome)
        self._known = False
        if trial.rung == 0:
            self.inner.tell(trial, outcome)

    def _find_promotion(self) -> Proposal | None:
        for rung in reversed(range(len(self._rungs) - 1)):
            choices = self._rungs[rung].promotable(self._eta)
            if choices is not None:
                return Proposal(choices, rung + 1)
        return None


class _Rung:
    """The results at one budget. A graph counts once, with its mean reward, whatever choices it came from.

    A duplicate takes over the reward of a replicate and does not count again.
    """

    def __init__(self) -> None:
        self.promoted: set[str] = set()
        self._results: dict[str, tuple[int, Choices, dict[int, float]]] = {}  # order of arrival, choices, rewards
        self._nan: set[str] = set()  # finished, and never to be promoted
        self._ranking: list[tuple[float, int, str]] = []  # best first: negative reward, order of arrival, graph

    def enter(self, trial: Trial, outcome: Outcome) -> None:
        graph = trial.graph
        if outcome.status == "nan" and graph not in self._results:
            self._nan.add(graph)
        elif outcome.status == "done" and outcome.reward is not None:
            self._nan.discard(graph)
            if graph in self._results:
                del self._ranking[bisect_left(self._ranking, self._rank(graph))]
            _, _, rewards = self._results.setdefault(graph, (len(self._results), trial.choices, {}))
            rewards.setdefault(trial.replicate, outcome.reward)
            insort(self._ranking, self._rank(graph))

    def promotable(self, eta: int) -> Choices | None:
        """Return the best choices of the best `1 / eta` that have not been promoted."""
        for _, _, graph in self._ranking[: (len(self._ranking) + len(self._nan)) // eta]:
            if graph not in self.promoted:
                return self._results[graph][1]
        return None

    def _rank(self, graph: str) -> tuple[float, int, str]:
        arrival, _, rewards = self._results[graph]
        return -sum(rewards.values()) / len(rewards), arrival, graph
