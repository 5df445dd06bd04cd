"""The state of a search, rebuilt from the events of its journal: live, on resuming and for its report alike."""

from collections import Counter, deque
from datetime import datetime
from pathlib import Path

import msgspec

from spinet.errors import SpinetError
from spinet.nas import events
from spinet.nas.journal import NAME, Event, corrupt_line, is_written, read_journal
from spinet.nas.space import Space
from spinet.nas.trial import Candidate, Outcome, Record, Strategy

# Number of latest trainings that decide whether a search still makes sense.
WINDOW = 100


class SearchState:
    """All that a journal says; `apply` is the only thing that changes it."""

    space: Space
    basis: events.Constrained  # how the constraints count costs

    def __init__(self, strategy: Strategy | None = None) -> None:
        self.strategy = strategy  # learns along; None where only the numbers are wanted
        self.header: Event = {}  # the first event: the settings of the search
        self.sessions: list[Event] = []  # starts of the driver
        self.records: list[Record] = []  # all trials, by number
        self.open: dict[int, Record] = {}  # those without an outcome
        self.trained: dict[tuple[str, int], tuple[Record, ...]] = {}  # by graph and rung, duplicates left out
        self.candidates: dict[tuple[str, int], Candidate] = {}  # graphs that were measured, by graph and rung
        self.best: Candidate | None = None  # of the highest rung, then of the highest mean reward
        self.worst: float | None = None  # lowest reward of a trial that was done
        self.counts: Counter[str] = Counter()  # finished trials by status, duplicates left out
        self.reasons: Counter[str] = Counter()  # of failures
        self.recent: deque[tuple[str, str]] = deque(maxlen=WINDOW)  # status and reason, in this session
        self.draws = self.accepted = 0  # proposals that the constraints looked at, and those they accepted
        self.finished_before = 0  # trials finished when this session began
        self.last: datetime | None = None  # time of the latest event that has one
        self.running = False  # whether a driver was writing the journal when it was read
        self._spans: list[tuple[datetime, datetime]] = []  # of each session: start, and end of its last trial

    @property
    def finished(self) -> int:
        """Trials whose outcome is known, duplicates included."""
        return len(self.records) - len(self.open)

    @property
    def duplicates(self) -> int:
        """Finished trials that took over an outcome."""
        return self.finished - self.counts.total()

    @property
    def failures(self) -> Counter[str]:
        """Failed trials by status, duplicates left out."""
        return Counter({status: count for status, count in self.counts.items() if status != "done"})

    @property
    def reward_name(self) -> str:
        """What the reward is: the metric that the proxy names, or just a reward."""
        metric = (self.header.get("proxy") or {}).get("reward")
        names = {"loss": "negative loss", "train_loss": "negative training loss"}
        return names.get(metric, metric) if isinstance(metric, str) else "reward"

    def references(self, rung: int) -> list[float]:
        """Return the rewards of the published network's trainings that the search began with, at a rung."""
        first = (record for record in self.records if record.is_reference and record.rung == rung and record.done)
        return [record.reward for record in first if record.reward is not None]

    @property
    def acceptance(self) -> float | None:
        """Fraction of the draws that the constraints accepted."""
        return self.accepted / self.draws if self.draws else None

    @property
    def seconds(self) -> float:
        """Time of all trials together."""
        return sum(record.seconds for record in self.records)

    @property
    def elapsed(self) -> float:
        """Seconds from each start of the driver to the last trial that it saw end, together."""
        return sum((last - start).total_seconds() for start, last in self._spans)

    @property
    def per_hour(self) -> float | None:
        """Finished trials per hour since the last start."""
        passed = sum((last - start).total_seconds() for start, last in self._spans[-1:])
        finished = self.finished - self.finished_before
        return 3600 * finished / passed if passed > 0 and finished else None

    def measured(self, rung: int | None = None) -> list[Candidate]:
        """Return the graphs that were measured, at one rung or at all, in the order of asking."""
        measured = (candidate for candidate in self.candidates.values() if rung in (None, candidate.rung))
        return sorted(measured, key=lambda candidate: candidate.first.number)

    def leaders(self, count: int) -> list[Candidate]:
        """Return the best graphs, each once: those of a higher rung first, then those of a higher reward."""
        ordered = sorted(self.candidates.values(), key=lambda candidate: candidate.order, reverse=True)
        unique: dict[str, Candidate] = {}
        for candidate in ordered:
            unique.setdefault(candidate.graph, candidate)
        return list(unique.values())[:count]

    def original(self, graph: str, rung: int, replicates: int) -> Record | None:
        """Return the trial whose outcome another trial of the same graph takes over, if it was trained enough."""
        trained = self.trained.get((graph, rung), ())
        if len(trained) < replicates:
            return None
        return next((record for record in trained if record.status in (None, "done")), trained[0])

    def apply(self, event: Event) -> None:
        """Take in an event as the journal holds it; raise a ValueError if it does not fit the events before."""
        match msgspec.convert(event, events.Line):
            case events.Search() as search:
                self.header = event
                self.space = Space.from_dict(search.space)
                self.basis = next(iter(search.constraints or []), events.Constrained())
            case events.Session(started=started):
                self.sessions.append(event)
                self._spans.append((started, started))
                self.last = started
                self.finished_before = self.finished
                self.recent.clear()  # whoever restarts may have fixed what failed
            case events.Ask() as ask:
                self._ask(ask)
            case events.Retry() as retry:
                self._open(retry.trial).retries.append((retry.status, retry.reason or ""))
            case events.Tell() as tell:
                self._tell(tell)
            case events.Time() as line:
                self._time(line)

    def _ask(self, ask: events.Ask) -> None:
        if ask.trial != len(self.records):
            raise ValueError(f"trial {ask.trial} follows {len(self.records)} trials")
        if ask.duplicate_of is not None and not 0 <= ask.duplicate_of < ask.trial:
            raise ValueError(f"trial {ask.trial} cannot be a duplicate of trial {ask.duplicate_of}")
        draws = 1 if ask.draws is None else ask.draws
        settings = ask.choices, ask.graph, ask.rung, ask.replicate, ask.seed, ask.notes or {}
        record = Record(ask.trial, *settings, draws, ask.duplicate_of)
        self.draws += draws
        self.accepted += draws > 0
        self.records.append(record)
        self.open[record.number] = record
        if record.duplicate_of is None:
            key = record.graph, record.rung
            self.trained[key] = (*self.trained.get(key, ()), record)
        if self.strategy and not record.is_reference:
            self.strategy.asked(record)

    def _open(self, number: int) -> Record:
        if number not in self.open:
            finished = 0 <= number < len(self.records)
            raise ValueError(f"trial {number} {'has an outcome already' if finished else 'was never asked'}")
        return self.open[number]

    def _tell(self, tell: events.Tell) -> None:
        record = self._open(tell.trial)
        del self.open[tell.trial]
        record.status, record.reward = tell.status, tell.reward
        record.metrics, record.reason = tell.metrics or {}, tell.reason or ""
        if record.duplicate_of is None:
            self.counts[record.status] += 1
            self.recent.append((record.status, record.reason))
            if record.status != "done":
                self.reasons[f"{record.status}: {record.reason}"] += 1
            elif record.reward is not None:
                self.worst = record.reward if self.worst is None else min(record.reward, self.worst)
                self._rank(record)
        if self.strategy and not record.is_reference:
            self.strategy.tell(record, Outcome(record.status, record.reward, record.metrics))

    def _rank(self, record: Record) -> None:
        """Take in a reward. A graph counts with its mean, which may fall: then any other may be the best."""
        key = record.graph, record.rung
        before = self.candidates.get(key)
        trials = (*(before.trials if before else ()), record)
        candidate = Candidate(*key, tuple(sorted(trials, key=lambda trial: trial.number)))
        self.candidates[key] = candidate
        rivals = self.candidates.values() if self.best is before else (self.best, candidate)
        self.best = max((rival for rival in rivals if rival), key=lambda rival: rival.order)

    def _time(self, line: events.Time) -> None:
        if not 0 <= line.trial < len(self.records):
            raise ValueError(f"trial {line.trial} was never asked")
        record = self.records[line.trial]
        record.seconds, record.ended = line.seconds or 0.0, line.ended
        if line.ended and self._spans:
            start, last = self._spans[-1]
            self._spans[-1] = start, max(last, line.ended)
            self.last = line.ended


def replay(state: SearchState, path: Path) -> None:
    """Apply all events of a journal; raise a SpinetError if there is none, or a line of it is corrupt."""
    for number, event in enumerate(read_journal(path), start=1):
        try:
            state.apply(event)
        # Of msgspec, and of strategies that miss a note, or whose sums overflow.
        except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise corrupt_line(path, number, f"its event {event['event']} is not valid: {error!s:.100}") from None


def load_search(run: str | Path) -> SearchState:
    """Read the journal of a run, which may be being written; raise a SpinetError if it is missing, empty or corrupt."""
    path, state = Path(run) / NAME, SearchState()
    if not path.is_file() and (Path(run) / "config.json").is_file():
        raise SpinetError(f"could not read the journal {path}: {run} is the run of a training, not of a search")
    replay(state, path)
    if not state.header:
        raise SpinetError(f"{path} is empty: the search has not begun")
    state.running = is_written(path)
    return state
