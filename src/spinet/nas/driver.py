"""The steps of a search between two waits: ask, conclude, save. Every step is an event, first written, then applied."""

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.graph_hash import graph_hash
from spinet.errors import SpinetError
from spinet.nas.config import SearchConfig, check_header, spinet_version
from spinet.nas.constraints import Draws
from spinet.nas.evaluation import AttemptResult
from spinet.nas.journal import Event, Journal, read_journal
from spinet.nas.state import WINDOW, SearchState, replay
from spinet.nas.trial import Proposal, Record, Status, Strategy, ask_random, trial_seed

BEST = "best.json"

# Draws for one trial before the search gives up on its constraints.
MAX_DRAWS = 20_000
# Duplicates rejected per trial, for a strategy that avoids them.
MAX_DUPLICATES = 20
# Duplicates per worker that may wait for running trials.
MAX_WAITING = 10
# Attempts that are repeated, by kind of failure; other failures are final at once.
RETRIES = {"oom": 3, "lost": 2}
# A search is aborted at more failures among the last `WINDOW` trainings, or at so many identical errors.
MAX_FAILURES = WINDOW // 5
MAX_EQUAL_ERRORS = 5


class Driver:
    """The one writer of a run. If its journal has lines, the search is resumed: a fresh strategy learns from them."""

    def __init__(self, config: SearchConfig, run: Path, journal: Journal, strategy: Strategy) -> None:
        self.config, self.run, self.journal, self.strategy = config, run, journal, strategy
        self.state = SearchState(strategy)
        if journal.size and _is_replaceable(journal, config):
            journal.clear()
        if journal.size:
            check_header(journal.path, next(read_journal(journal.path)), config)
            replay(self.state, journal.path)
        else:
            self._record(config.header(), durable=True)
        self._waiting = deque(record for record in self.state.open.values() if record.duplicate_of is None)

    def start(self, workers: int, executor: str, device: str) -> None:
        """Record the start, and finish what a killed driver left: best.json, duplicates without outcome."""
        started = {"started": now(), "workers": workers, "executor": executor, "device": device}
        self._record({"event": "session", **started, "spinet": spinet_version()})
        if self.state.best:
            self.best().save(self.run / BEST)
        self._settle()

    def next(self, workers: int, pause: Callable[[bool], object] = bool) -> Record | None:
        """Return a trial to train: an interrupted one, else a new one; None while there is none to begin.

        `pause` is called between two draws, and with True after a duplicate; it may raise.
        """
        while not self._waiting:
            duplicates = sum(record.duplicate_of is not None for record in self.state.open.values())
            is_full = len(self.state.open) - duplicates >= workers or duplicates >= MAX_WAITING * workers
            if is_full or len(self.state.records) >= self.config.trials:
                return None
            record = self._ask(pause)
            if record.duplicate_of is None:
                return record
            self._settle()
            pause(True)
        return self._waiting.popleft()

    def genotype(self, record: Record) -> Genotype:
        """Return the graph of a trial."""
        return self.config.space.decode(record.choices)

    def conclude(self, record: Record, result: AttemptResult) -> None:
        """Take in the result of an attempt: repeat it, or record the outcome of the trial."""
        number, attempts = record.number, record.attempts(result.status)
        if attempts < RETRIES.get(result.status, 0):
            again = {"trial": number, "status": result.status, "attempt": attempts + 1, "reason": result.reason}
            self._record({"event": "retry", **again})
            self._waiting.appendleft(record)
            return
        best = self.state.best
        reward, clock = result.reward, {"seconds": None, "worker": "", **result.clock, "ended": now()}
        if result.status == "nan" and self.state.worst is not None:  # the worst reward, as soon as there is one
            reward = min(0.0, self.state.worst)
        self._record(
            _tell(number, result.status, reward, result.metrics, result.reason),
            {"event": "time", "trial": number, **clock},
            durable=True,
        )
        if self.state.best is not best:
            self.best().save(self.run / BEST)
        self._settle()

    def check(self) -> None:
        """Abort the search by a SpinetError after too many failed trials."""
        failures = [(status, reason) for status, reason in self.state.recent if status != "done"]
        equal = Counter(failure for failure in failures if failure[0] in ("build", "error")).most_common(1)
        if equal and equal[0][1] >= MAX_EQUAL_ERRORS:
            (status, reason), count = equal[0]
            what = "could not be built" if status == "build" else "failed"
            raise SpinetError(f"search aborted: {count} trials {what}: {reason}")
        if len(failures) > MAX_FAILURES:
            reasons = Counter(f"{status} ({reason})" for status, reason in failures).most_common(3)
            often = "; ".join(f"{count} times {reason}" for reason, count in reasons)
            raise SpinetError(
                f"search aborted: {len(failures)} of the last {len(self.state.recent)} trials failed, most often: "
                f"{often}; fix the cause and re-run to resume"
            )

    def _ask(self, pause: Callable[[bool], object]) -> Record:
        number, config = len(self.state.records), self.config
        proposal, graph, draws = self._propose(number, pause)
        is_reference = number < len(config.reference_trials)
        original = None if is_reference else self.state.original(graph, proposal.rung, config.replicates)
        replicate = original.replicate if original else len(self.state.trained.get((graph, proposal.rung), ()))
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
                "duplicate_of": original.number if original else None,
                "notes": dict(proposal.notes),
            }
        )
        return self.state.records[number]

    def _propose(self, number: int, pause: Callable[[bool], object]) -> tuple[Proposal, str, int]:
        """Ask until the constraints accept; return the proposal, its graph and the draws that the constraints saw."""
        config, random = self.config, ask_random(self.config.seed, number)
        if number < len(config.reference_trials):
            return (
                config.reference_trials[number],
                graph_hash(config.space.decode(config.reference_trials[number].choices)),
                0,
            )
        most = MAX_DUPLICATES if getattr(self.strategy, "avoid_duplicates", False) else 0
        rejected = 0
        draws = Draws(config.constraints)
        while draws.count < MAX_DRAWS:
            pause(False)
            proposal = self.strategy.ask(random)
            genotype = config.space.decode(proposal.choices)
            # Promotions were accepted when they were first proposed.
            if proposal.rung == 0 and not draws.accept(Architecture(genotype, config.space.scaling)):
                continue
            graph = graph_hash(genotype)
            if rejected < most and self.state.original(graph, proposal.rung, config.replicates) is not None:
                rejected += 1
                continue
            # The constraints accepted the rejected duplicates: these must not lower the acceptance rate.
            return proposal, graph, draws.count - rejected if proposal.rung == 0 else 0
        raise draws.error(number)

    def _settle(self) -> None:
        """Give duplicates the outcome of their original."""
        for record in list(self.state.open.values()):
            original = None if record.duplicate_of is None else self.state.records[record.duplicate_of]
            if original and original.status:
                outcome = original.status, original.reward, original.metrics, original.reason
                self._record(_tell(record.number, *outcome))

    def _record(self, *events: Event, durable: bool = False) -> None:
        """Write events, then let the state and the strategy learn of them, as a later replay will."""
        for event in self.journal.append(events, durable=durable):
            self.state.apply(event)

    def best(self) -> Architecture:
        """Return the best architecture, at full size; its source says where it comes from."""
        best, space = self.state.best, self.config.space
        assert best is not None
        number, reward = best.first.number, self.state.reward_name
        name = f" by the proxy {self.config.proxy.get('name')}" if self.config.proxy else ""
        source = f"search of the space {space.name}: trial {number}, {reward} {best.reward:g}{name}, rung {best.rung}"
        return Architecture(space.decode(best.first.choices), space.scaling, f"{space.name}-trial-{number}", source)


def _is_replaceable(journal: Journal, config: SearchConfig) -> bool:
    """Whether the journal is of another search that has no trials yet: its settings may still be corrected."""
    header = next(read_journal(journal.path))
    if header == json.loads(json.dumps(config.header())):
        return False
    return all(event["event"] in ("search", "session") for event in read_journal(journal.path))


def _tell(number: int, status: Status, reward: float | None, metrics: Mapping[str, Any], reason: str) -> Event:
    event = {"event": "tell", "trial": number, "status": status, "reward": reward, "metrics": dict(metrics)}
    return event if status == "done" else {**event, "reason": reason}


def now() -> str:
    """Return the time of day, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
