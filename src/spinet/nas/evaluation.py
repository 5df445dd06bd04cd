"""One attempt at a trial, as it runs in a worker: from an evaluation function to a report of what came of it."""

import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from spinet.arch.genotype import Genotype
from spinet.errors import BuildError, NotFinite, OutOfMemory, SpinetError, TrialTimeout, WorkerLost
from spinet.nas.trial import Status

# Kinds of error and what they mean for a trial. Any other SpinetError is not about the trial (the data are gone, there
# is no such device) and ends the search.
STATUS: dict[type[SpinetError], Status] = {
    BuildError: "build",
    NotFinite: "nan",
    OutOfMemory: "oom",
    TrialTimeout: "timeout",
    WorkerLost: "lost",
}

# Longest reason that the journal keeps.
_REASON = 500


class Evaluate(Protocol):
    """From a genotype to its `reward` and other metrics (JSON). Must pickle, to be sent to other processes."""

    def __call__(self, genotype: Genotype, *, rung: int, seed: int, accumulate: int) -> Mapping[str, Any]:
        """Evaluate a genotype; everything random hangs on `seed` alone.

        Args:
            genotype: the graph.
            rung: which of the proxy's budgets.
            seed: of this evaluation.
            accumulate: parts that a batch is split into, because whole it did not fit into memory.

        Raises:
            NotFinite: the training diverged.
            OutOfMemory: it does not fit.
            BuildError: it cannot be built.
            SpinetError: nothing can be evaluated; this is no outcome of the trial, and ends the search.
        """
        ...


@dataclass(frozen=True)
class Report:
    """What came of one attempt.

    Args:
        status: as of an `Outcome`.
        reward: if it is done.
        metrics: what else was measured, numbers that are not finite left out.
        reason: of a failure, one line.
        clock: `seconds`, `worker` and what else hangs on the clock or the machine.
    """

    status: Status
    reward: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    clock: Mapping[str, Any] = field(default_factory=dict)


def attempt(evaluate: Evaluate, genotype: Genotype, rung: int, seed: int, accumulate: int) -> Report:
    """Evaluate a genotype once and report what came of it; errors that are not of the trial go on as they are."""
    started = time.monotonic()
    try:
        metrics = dict(evaluate(genotype, rung=rung, seed=seed, accumulate=accumulate))
    except MemoryError:
        return _with_clock(Report("oom", reason="the memory of the machine does not hold the trial"), {}, started)
    except tuple(STATUS) as error:
        return _with_clock(failure(error), {}, started)
    clock = {name: metrics.pop(name) for name in [*metrics] if name.endswith(("seconds", "per_second"))}
    reward = float(metrics.pop("reward"))
    if not math.isfinite(reward):
        return _with_clock(Report("nan", metrics=finite(metrics), reason=f"the reward is {reward}"), clock, started)
    return _with_clock(Report("done", reward, finite(metrics)), clock, started)


def failure(error: SpinetError) -> Report:
    """Return the report of an attempt that ended in one of the errors of `STATUS`."""
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    return Report(status, reason=" ".join(str(error).split())[:_REASON])


def finite(value: Any) -> Any:
    """Return plain data without the numbers that JSON does not know.

    >>> finite({"AP": 0.5, "loss": float("nan"), "curve": [1.0, float("inf")]})
    {'AP': 0.5, 'curve': [1.0, None]}
    """
    if isinstance(value, Mapping):
        kept = {str(name): finite(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each is not None}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_clock(report: Report, clock: Mapping[str, Any], started: float) -> Report:
    seconds = round(clock.get("seconds", time.monotonic() - started), 3)
    where = {"worker": f"{socket.gethostname()}:{os.getpid()}"}
    return Report(report.status, report.reward, report.metrics, report.reason, {**clock, "seconds": seconds, **where})
