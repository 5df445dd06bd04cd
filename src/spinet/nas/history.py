"""A journal read back as records, one a trial, also while the search writes it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.arch.cost import Cost
from spinet.arch.head_cost import model_cost
from spinet.errors import SpinetError
from spinet.nas.journal import NAME, Event, is_written, read_journal
from spinet.nas.space import Choices, Space
from spinet.nas.trial import Status


@dataclass
class Record:
    """All that a journal says about one trial; `status` is None while nothing came of it yet."""

    number: int
    choices: Choices
    graph: str
    rung: int
    replicate: int
    draws: int = 1
    duplicate_of: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    status: Status | None = None
    reward: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    ended: str = ""
    retries: list[tuple[str, str]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the trial was measured; one that diverged has a reward, but a made-up one."""
        return self.status == "done" and self.reward is not None

    @property
    def drawn_blindly(self) -> bool:
        """Whether nothing that was learnt had a say in the proposal, so that it is a uniform draw.

        So are random proposals, which say so, and those of a policy that was never updated (version 0).
        """
        return self.rung == 0 and (self.notes.get("random") is True or self.notes.get("version") == 0)


@dataclass(frozen=True)
class Summary:
    """A graph at one rung: its trials together, the mean of their rewards."""

    graph: str
    rung: int
    trials: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The first of the trials."""
        return self.trials[0]

    @property
    def reward(self) -> float:
        """Mean reward."""
        return fmean(trial.reward for trial in self.trials if trial.reward is not None)


@dataclass
class History:
    """What a journal says.

    Args:
        header: its first line, which says what the search is of.
        sessions: the lines of the driver's starts.
        records: the trials, in the order of asking.
        elapsed: seconds from each start of the driver to the last trial that it saw end, together.
        running: whether a driver was at work when the journal was read.
    """

    header: Event
    sessions: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    elapsed: float = 0.0
    running: bool = False

    @cached_property
    def space(self) -> Space:
        """The space that was searched."""
        return Space.from_dict(self.header["space"])

    @cached_property
    def rungs(self) -> list[int]:
        """The proxy's rungs that any trial was asked at."""
        return sorted({record.rung for record in self.records})

    @property
    def image_size(self) -> int:
        """Size of the images that full-scale costs are counted at: the constraints', 640 px without any."""
        return int(self._basis.get("image_size", 640))

    def architecture(self, record: Record) -> Architecture:
        """Return the full-scale architecture of a trial."""
        source = f"{self.space.name}, trial {record.number}"
        return Architecture(self.space.decode(record.choices), self.space.scaling, f"trial {record.number}", source)

    def cost(self, architecture: Architecture) -> Cost:
        """Count what a full-scale architecture costs with its head, as the search's constraints count."""
        head, classes = self._basis.get("head", "retinanet"), int(self._basis.get("num_classes", 91))
        return model_cost(architecture, self.image_size, head, classes)

    def done(self, rung: int | None = None) -> list[Summary]:
        """Return what was measured, a graph at a rung each; duplicates, which were not measured, left out."""
        found: dict[tuple[str, int], list[Record]] = {}
        for record in self.records:
            if record.done and record.duplicate_of is None and rung in (None, record.rung):
                found.setdefault((record.graph, record.rung), []).append(record)
        return [Summary(graph, at, tuple(trials)) for (graph, at), trials in found.items()]

    def best(self, count: int) -> list[Summary]:
        """Return the best graphs: those of a higher rung first, then those of a higher reward."""
        ordered = sorted(self.done(), key=lambda each: (-each.rung, -each.reward, each.first.number))
        unique = {each.graph: each for each in reversed(ordered)}
        return [each for each in ordered if unique[each.graph] is each][:count]

    @cached_property
    def _basis(self) -> Mapping[str, Any]:
        return next((each for each in self.header.get("constraints") or [] if "image_size" in each), {})


def load_history(run: Path) -> History:
    """Read the journal of a run; a last line that is torn, or just being written, is passed over.

    Raises:
        SpinetError: there is no journal, it is empty, or a line of it is damaged; the sentence names the line.
    """
    path = run / NAME
    history: History | None = None
    clock = _Clock()
    for number, _, event in checked_events(path):
        try:
            if history is None:
                history = History(event)
            else:
                _enter(history, clock, event)
        except (LookupError, TypeError, ValueError) as error:
            raise SpinetError(f"{path}, line {number} is damaged: {type(error).__name__}: {error}") from None
    if history is None:
        raise SpinetError(f"{path} is empty: the search has not begun")
    history.elapsed = clock.total()
    history.running = is_written(path)
    return history


def checked_events(path: Path) -> Iterator[tuple[int, int, Event]]:
    """Give (number of the line, where it begins, event) of all lines, whose values have the types that they must have.

    Raises:
        SpinetError: there is no journal, or a line of it is damaged; the sentence names the line.
    """
    for number, (start, event) in enumerate(read_journal(path), start=1):
        for key, kinds in _FIELDS[event["event"]].items():
            if key in event and not _is_one_of(event[key], kinds):
                found = f"{key} {event[key]!r:.60}"
                raise SpinetError(f"{path}, line {number} is damaged: its event {event['event']} has {found}")
        if event["event"] == "search":
            _check_search(path, event)
        yield number, start, event


def mean_by_graph(history: History, rung: int) -> dict[str, float]:
    """Return the mean reward of every graph that was measured at a rung."""
    return {each.graph: each.reward for each in history.done(rung)}


def pairs_of(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Return the values of the graphs that both have, in the same order."""
    shared = [graph for graph in one if graph in other]
    return [one[graph] for graph in shared], [other[graph] for graph in shared]


# JSON types of the values of each event.
_FIELDS: dict[str, dict[str, tuple[type | None, ...]]] = {
    "search": {"space": (dict,), "strategy": (dict,), "proxy": (dict, None), "constraints": (list, None)},
    "session": {"started": (str,)},
    "ask": {
        "trial": (int,),
        "choices": (list,),
        "graph": (str,),
        "rung": (int,),
        "replicate": (int,),
        "draws": (int, None),
        "duplicate_of": (int, None),
        "notes": (dict, None),
    },
    "retry": {"trial": (int,), "status": (str,), "reason": (str, None)},
    "tell": {
        "trial": (int,),
        "status": (str,),
        "reward": (float, int, None),
        "metrics": (dict, None),
        "reason": (str, None),
    },
    "time": {"trial": (int,), "seconds": (float, int, None), "ended": (str, None)},
}


def _is_one_of(value: object, kinds: tuple[type | None, ...]) -> bool:
    return value is None if None in kinds and value is None else type(value) in kinds


def _check_search(path: Path, header: Event) -> None:
    """Look into the first line: its space must be one, and its constraints say how costs are counted."""
    for key in _FIELDS["search"]:
        if key not in header:
            raise SpinetError(f"{path}, line 1 is damaged: its event search has no {key}")
    try:
        Space.from_dict(header["space"])
    except SpinetError as error:
        raise SpinetError(f"{path}, line 1 is damaged: {error}") from None
    kinds: dict[str, tuple[type | None, ...]] = {"image_size": (int,), "num_classes": (int,), "head": (str,)}
    for each in header.get("constraints") or []:
        if not isinstance(each, dict) or not all(_is_one_of(each[key], kinds[key]) for key in kinds if key in each):
            raise SpinetError(f"{path}, line 1 is damaged: its event search has the constraint {each!r:.100}")


class _Clock:
    """Adds up the time from each start of the driver to the last event before the next."""

    def __init__(self) -> None:
        self._spans: list[tuple[datetime, datetime]] = []

    def start(self, moment: str) -> None:
        begun = datetime.fromisoformat(moment)
        self._spans.append((begun, begun))

    def saw(self, moment: str) -> None:
        if self._spans and moment:
            begun, last = self._spans[-1]
            self._spans[-1] = begun, max(last, datetime.fromisoformat(moment))

    def total(self) -> float:
        return sum((last - begun).total_seconds() for begun, last in self._spans)


def _enter(history: History, clock: _Clock, event: Event) -> None:
    kind = event["event"]
    if kind == "session":
        history.sessions.append(event)
        clock.start(event["started"])
        return
    if kind == "ask":
        _ask(history.records, event)
        return
    record = _record(history.records, event["trial"])
    if kind == "retry":
        record.retries.append((event["status"], event.get("reason", "")))
    elif kind == "tell":
        record.status, record.reward = event["status"], event["reward"]
        record.metrics, record.reason = event.get("metrics") or {}, event.get("reason") or ""
    else:
        record.seconds, record.ended = event.get("seconds") or 0.0, event.get("ended") or ""
        clock.saw(record.ended)


def _ask(records: list[Record], event: Event) -> None:
    if event["trial"] != len(records):
        raise ValueError(f"trial {event['trial']} follows {len(records)} trials")
    known = ("draws", "duplicate_of", "notes")
    optional = {name: event[name] for name in known if event.get(name) is not None}
    choices = tuple(event["choices"])
    records.append(Record(event["trial"], choices, event["graph"], event["rung"], event["replicate"], **optional))


def _record(records: Sequence[Record], number: int) -> Record:
    if not 0 <= number < len(records):
        raise ValueError(f"trial {number} was never asked")
    return records[number]
