"""All that changes while a search goes on: what its journal's events come to, live and on resuming alike."""

from array import array
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from spinet.nas.journal import Event
from spinet.nas.space import Choices
from spinet.nas.trial import Outcome, Status, Strategy, Trial

# So many of the last trainings are looked at to decide whether a search still makes sense.
WINDOW = 100


@dataclass
class OpenTrial:
    """A trial that was asked for and not told yet.

    Args:
        trial: what is to be evaluated.
        duplicate_of: number of the trial whose outcome it waits for; None if it is trained itself.
        retries: attempts that failed and are made again, by status.
    """

    trial: Trial
    duplicate_of: int | None = None
    retries: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Best:
    """The best graph so far: of the highest rung, then of the highest mean reward of its replicates, then the first.

    Args:
        trial: the first that trained it with success.
        choices: of that trial.
        rung: that it was trained at.
        reward: the mean.
    """

    trial: int
    choices: Choices
    rung: int
    reward: float


class SearchState:
    """Events come to this; `apply` is the only thing that changes it.

    Per trial only what decides the future is kept. Outcomes lie in the journal, `tells` says where.

    Args:
        strategy: learns along with it; None where only the numbers are wanted.

    Attributes:
        header: the event that says what the search is of.
        lines: events so far.
        asked: trials so far; the number of the next one.
        open: trials not told yet, by number.
        trained: numbers of the trials that trained a graph at a rung, duplicates left out.
        tells: where the journal tells a trial's outcome, by number; -1 for open ones.
        counts: trained trials that were told, by status.
        duplicates: told trials that took over an outcome.
        draws: proposals that the constraints looked at.
        accepted: proposals that they accepted.
        seconds: of all attempts, as far as they were told.
        best: the best graph.
        worst: the lowest reward of a trial that was done.
        recent: status and reason of the last trainings of this session.
        failed: trials whose outcome is a failure.
        reasons: of failures, with how often.
        sessions: starts of the driver.
        session: the last one's event.
        told_before: trials told when it began.
    """

    def __init__(self, strategy: Strategy | None = None) -> None:
        self.strategy = strategy
        self.header: Event = {}
        self.session: Event = {}
        self.lines = self.asked = self.duplicates = self.draws = self.accepted = 0
        self.sessions = self.told_before = 0
        self.seconds = 0.0
        self.open: dict[int, OpenTrial] = {}
        self.trained: dict[tuple[str, int], tuple[int, ...]] = {}
        self.tells = array("q")
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.failed: dict[int, Status] = {}
        self.best: Best | None = None
        self._means: dict[tuple[str, int], Best] = {}  # where graphs have replicates
        self._done: Counter[tuple[str, int]] = Counter()
        self.worst: float | None = None
        self.recent: deque[tuple[Status, str]] = deque(maxlen=WINDOW)

    @property
    def acceptance(self) -> float | None:
        """Share of the draws that the constraints accepted."""
        return self.accepted / self.draws if self.draws else None

    @property
    def told(self) -> int:
        """Trials whose outcome is known, duplicates included."""
        return self.asked - len(self.open)

    def apply(self, event: Event, start: int) -> None:
        """Take in an event as the journal holds it, whose line begins at `start`."""
        match event["event"]:
            case "search":
                self.header = event
            case "session":
                self.session = event
                self.sessions += 1
                self.told_before = self.told
                self.recent.clear()  # whoever starts again may have mended what failed
            case "ask":
                self._ask(event)
            case "retry":
                self.open[event["trial"]].retries[event["status"]] += 1
            case "tell":
                self._tell(event, start)
            case "time":
                self.seconds += event.get("seconds") or 0.0
        self.lines += 1

    def original(self, graph: str, rung: int, replicates: int) -> int | None:
        """Return the trial whose outcome another trial of the same graph takes over, if it was trained enough."""
        trained = self.trained.get((graph, rung), ())
        if len(trained) < replicates:
            return None
        return next((number for number in trained if number not in self.failed), trained[0])

    def _ask(self, event: Event) -> None:
        trial = Trial(
            event["trial"],
            tuple(event["choices"]),
            event["graph"],
            event["rung"],
            event["replicate"],
            event["seed"],
            event["notes"],
        )
        if trial.number != self.asked:
            raise ValueError(f"trial {trial.number} follows trial {self.asked - 1}")
        self.asked += 1
        self.tells.append(-1)
        self.draws += event["draws"]
        self.accepted += event["draws"] > 0
        self.open[trial.number] = OpenTrial(trial, event["duplicate_of"])
        if event["duplicate_of"] is None:
            key = (trial.graph, trial.rung)
            self.trained[key] = (*self.trained.get(key, ()), trial.number)
        if self.strategy:
            self.strategy.asked(trial)

    def _tell(self, event: Event, start: int) -> None:
        if event["trial"] not in self.open:
            raise ValueError(f"trial {event['trial']} is not open")
        known = self.open.pop(event["trial"])
        trial, status, reward = known.trial, event["status"], event["reward"]
        self.tells[trial.number] = start
        if known.duplicate_of is None:
            self._count(trial, status, reward, event.get("reason", ""))
        else:
            self.duplicates += 1
        if self.strategy:
            self.strategy.tell(trial, Outcome(status, reward, event["metrics"]))

    def _count(self, trial: Trial, status: Status, reward: float | None, reason: str) -> None:
        self.counts[status] += 1
        self.recent.append((status, reason))
        if status != "done":
            self.failed[trial.number] = status
            self.reasons[f"{status}: {reason}"] += 1
        elif reward is not None:
            self.worst = reward if self.worst is None else min(reward, self.worst)
            self._rank(trial, reward)

    def _rank(self, trial: Trial, reward: float) -> None:
        """Take in a reward: a graph counts with its mean, which may fall."""
        found = Best(trial.number, trial.choices, trial.rung, reward)
        if self.header.get("replicates", 1) == 1:
            self.best = found if self.best is None else max(self.best, found, key=_order)
            return
        key = (trial.graph, trial.rung)
        before, count = self._means.get(key), self._done[key]
        if before is not None:
            found = min(before, found, key=lambda each: each.trial)
            found = replace(found, reward=(before.reward * count + reward) / (count + 1))
        self._means[key] = found
        self._done[key] += 1
        if self.best is None or self.best is before:
            best = max(self._means.values(), key=_order)
        else:
            best = max(self.best, found, key=_order)
        self.best = best


def _order(best: Best) -> tuple[int, float, int]:
    return best.rung, best.reward, -best.trial


def outcome_of(tell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a duplicate takes over from the event that tells its original."""
    return {key: tell[key] for key in ("status", "reward", "metrics", "reason") if key in tell}
