"""What the loop of a search does between two waits: ask, conclude, save; every step an event in the journal."""

import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.graph_hash import graph_hash
from spinet.errors import SpinetError
from spinet.nas.config import SearchConfig, spinet_version
from spinet.nas.constraints import Draws
from spinet.nas.evaluation import Report
from spinet.nas.journal import Event, Journal
from spinet.nas.resume import resume
from spinet.nas.snapshot import save_snapshot
from spinet.nas.state import WINDOW, OpenTrial, outcome_of
from spinet.nas.trial import Proposal, Snapshots, Strategy, ask_random, trial_seed

BEST = "best.json"

# Draws for one trial before the constraints are said to accept nothing.
MAX_DRAWS = 20_000
# Duplicates that are refused in a row, where the strategy wants to avoid them.
MAX_DUPLICATES = 20
# Duplicates that may wait for trials that run, for each worker.
MAX_WAITING = 10
# Attempts that are made again, by the kind of failure; others are final at once.
RETRIES = {"oom": 3, "lost": 2}
# What ends a search that makes no sense any more.
MAX_FAILURES = WINDOW // 5
MAX_EQUAL_BUILD_ERRORS = 5


class Driver:
    """The one writer of a run.

    Args:
        config: what the search is of.
        run: the run folder.
        journal: that of the run, open.
        strategy: a fresh one; it learns what the journal holds.
        snapshot_seconds: least time between two snapshots of the strategy.

    Raises:
        SpinetError: the journal is of another search, or damaged.
    """

    def __init__(
        self, config: SearchConfig, run: Path, journal: Journal, strategy: Strategy, snapshot_seconds: float
    ) -> None:
        self.config, self.run, self.journal, self.strategy = config, run, journal, strategy
        self.state = resume(config, run, journal, strategy)
        self._waiting = deque(known for known in self.state.open.values() if known.duplicate_of is None)
        self._snapshot_seconds, self._snapshot_time = snapshot_seconds, time.monotonic()

    def start(self, workers: int, executor: str, device: str) -> None:
        """Note that a driver starts, and finish what its predecessor left: best.json, duplicates without outcome."""
        started = {"started": now(), "workers": workers, "executor": executor, "device": device}
        self._record({"event": "session", **started, "spinet": spinet_version()})
        if self.state.best:
            self._save_best()
        self._settle()

    def next(self, workers: int, pause: Callable[[bool], object] = bool) -> OpenTrial | None:
        """Return a trial to train: one that was begun before, else a new one; None while there is none to begin.

        Args:
            workers: how many trials may run.
            pause: called between two draws, and with True after a duplicate; it may raise.
        """
        while not self._waiting:
            if self.state.asked >= self.config.trials or self._is_full(workers):
                return None
            known = self._ask(pause)
            if known.duplicate_of is None:
                return known
            self._settle()
            pause(True)
        return self._waiting.popleft()

    def _is_full(self, workers: int) -> bool:
        """Whether all workers have a trial, or too many duplicates wait for the outcome of one."""
        waiting = sum(known.duplicate_of is not None for known in self.state.open.values())
        return len(self.state.open) - waiting >= workers or waiting >= MAX_WAITING * workers

    def genotype(self, known: OpenTrial) -> Genotype:
        """Return the graph of a trial."""
        return self.config.space.decode(known.trial.choices)

    def conclude(self, known: OpenTrial, report: Report) -> None:
        """Take in what came of an attempt: make another one, or tell the outcome."""
        number = known.trial.number
        retries = known.retries[report.status]
        if retries < RETRIES.get(report.status, 0):
            again = {"trial": number, "status": report.status, "attempt": retries + 1, "reason": report.reason}
            self._record({"event": "retry", **again})
            self._waiting.appendleft(known)
            return
        best = self.state.best
        clock = {"seconds": None, "worker": "", **report.clock, "ended": now()}
        self._record(
            {"event": "tell", "trial": number, **self._outcome(report)},
            {"event": "time", "trial": number, **clock},
            durable=True,
        )
        if self.state.best is not best:
            self._save_best()
        self._settle()
        self._save_snapshot()

    def check(self) -> None:
        """Raise if the search makes no sense any more.

        Raises:
            SpinetError: too many trials failed; the sentence says of what.
        """
        failures = [(status, reason) for status, reason in self.state.recent if status != "done"]
        equal = Counter(reason for status, reason in failures if status == "build").most_common(1)
        if equal and equal[0][1] >= MAX_EQUAL_BUILD_ERRORS:
            raise SpinetError(f"the search stops: {equal[0][1]} trials could not be built: {equal[0][0]}")
        if len(failures) > MAX_FAILURES:
            reasons = Counter(f"{status} ({reason})" for status, reason in failures).most_common(3)
            often = "; ".join(f"{count} times {reason}" for reason, count in reasons)
            raise SpinetError(
                f"the search stops: {len(failures)} of its last {len(self.state.recent)} trials failed, most often: "
                f"{often}; mend it and start again, which goes on"
            )

    def _ask(self, pause: Callable[[bool], object]) -> OpenTrial:
        number, config = self.state.asked, self.config
        proposal, graph, draws = self._propose(number, pause)
        original = self.state.original(graph, proposal.rung, config.replicates)
        trained = self.state.trained.get((graph, proposal.rung), ())
        replicate = len(trained) if original is None else trained.index(original)
        self._record(
            {
                "event": "ask",
                "trial": number,
                "choices": proposal.choices,
                "graph": graph,
                "rung": proposal.rung,
                "replicate": replicate,
                "seed": trial_seed(config.seed, graph, proposal.rung, replicate),
                "draws": draws,
                "duplicate_of": original,
                "notes": dict(proposal.notes),
            }
        )
        return self.state.open[number]

    def _propose(self, number: int, pause: Callable[[bool], object]) -> tuple[Proposal, str, int]:
        """Ask until the constraints accept; return the proposal, its graph and the draws that the constraints saw."""
        config, random = self.config, ask_random(self.config.seed, number)
        most = MAX_DUPLICATES if getattr(self.strategy, "avoid_duplicates", False) else 0
        refused = 0
        draws = Draws(config.constraints)
        while draws.count < MAX_DRAWS:
            pause(False)
            proposal = self.strategy.ask(random)
            genotype = config.space.decode(proposal.choices)
            # Promotions were accepted when they were first proposed.
            if proposal.rung == 0 and not draws.accept(Architecture(genotype, config.space.scaling)):
                continue
            graph = graph_hash(genotype)
            if refused < most and self.state.original(graph, proposal.rung, config.replicates) is not None:
                refused += 1
                continue
            # Refused duplicates were accepted by the constraints: they are not to spoil the rate.
            return proposal, graph, draws.count - refused if proposal.rung == 0 else 0
        raise draws.nothing(number)

    def _outcome(self, report: Report) -> Event:
        """What the journal tells; a training that diverged gets the worst reward, as soon as there is one."""
        reward = report.reward
        if report.status == "nan" and self.state.worst is not None:
            reward = min(0.0, self.state.worst)
        outcome: Event = {"status": report.status, "reward": reward, "metrics": dict(report.metrics)}
        return outcome if report.status == "done" else {**outcome, "reason": report.reason}

    def _settle(self) -> None:
        """Tell duplicates what came of their originals."""
        waiting = [known for known in self.state.open.values() if known.duplicate_of is not None]
        for known in waiting:
            assert known.duplicate_of is not None
            start = self.state.tells[known.duplicate_of]
            if start >= 0:
                outcome = outcome_of(self.journal.at(start))
                self._record({"event": "tell", "trial": known.trial.number, **outcome})

    def _record(self, *events: Event, durable: bool = False) -> None:
        """Write events, then let the state and the strategy learn of them, as a later replay will."""
        for start, event in self.journal.append(events, durable=durable):
            self.state.apply(event, start)

    def _save_best(self) -> None:
        best, space = self.state.best, self.config.space
        assert best is not None
        name = f" by the proxy {self.config.proxy.get('name')}" if self.config.proxy else ""
        Architecture(
            space.decode(best.choices),
            space.scaling,
            f"{space.name}-trial-{best.trial}",
            f"search of the space {space.name}: trial {best.trial}, reward {best.reward:g}{name}, rung {best.rung}",
        ).save(self.run / BEST)

    def _save_snapshot(self) -> None:
        due = time.monotonic() - self._snapshot_time >= self._snapshot_seconds
        if due and isinstance(self.strategy, Snapshots):
            save_snapshot(self.run, self.strategy, self.state.lines, self.journal)
            self._snapshot_time = time.monotonic()


def now() -> str:
    """Return the time of day, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
