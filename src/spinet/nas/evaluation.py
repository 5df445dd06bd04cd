"""One attempt at a trial, as it runs in a worker: its result or error as plain data."""

import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from spinet.arch.genotype import Genotype
from spinet.errors import BuildError, NotFinite, OutOfMemory, SpinetError, TrialTimeout, WorkerLost
from spinet.nas.trial import Status


class TrialError(SpinetError):
    """A user's own objective raised an error."""


# Kinds of error that are outcomes of a trial. Any other SpinetError is not caused by the trial (the data are missing,
# there is no such device) and ends the search.
STATUS: dict[type[SpinetError], Status] = {
    BuildError: "build",
    NotFinite: "nan",
    OutOfMemory: "oom",
    TrialTimeout: "timeout",
    WorkerLost: "lost",
    TrialError: "error",
}

# Longest reason that the journal keeps.
_REASON = 500


class Evaluate(Protocol):
    """From a genotype to its `reward` and other metrics (JSON). Must be picklable, to be sent to other processes."""

    def __call__(self, genotype: Genotype, *, rung: int, seed: int, accumulate: int) -> Mapping[str, Any]:
        """Evaluate a genotype; everything random depends on `seed` alone.

        Args:
            genotype: the graph.
            rung: index of the proxy's budget.
            seed: of this evaluation.
            accumulate: parts to split a batch into, because it did not fit into memory at once.

        Raises:
            NotFinite: the training diverged.
            OutOfMemory: it does not fit.
            BuildError: it cannot be built.
            SpinetError: an error not caused by the trial; it ends the search.
        """
        ...


@dataclass(frozen=True)
class AttemptResult:
    """The result of one attempt.

    Args:
        status: as in `Outcome`.
        reward: if it is done.
        metrics: other measurements, without numbers that are not finite.
        reason: of a failure, one line.
        clock: `seconds`, `worker` and whatever else depends on the clock or the machine.
    """

    status: Status
    reward: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    clock: Mapping[str, Any] = field(default_factory=dict)


def attempt(evaluate: Evaluate, genotype: Genotype, rung: int, seed: int, accumulate: int) -> AttemptResult:
    """Evaluate a genotype once; errors not caused by the trial are raised as they are."""
    started = time.monotonic()
    try:
        metrics = dict(evaluate(genotype, rung=rung, seed=seed, accumulate=accumulate))
    except MemoryError:
        return _with_clock(AttemptResult("oom", reason="the trial does not fit into main memory"), {}, started)
    except tuple(STATUS) as error:
        return _with_clock(failure(error), {}, started)
    clock = {name: metrics.pop(name) for name in [*metrics] if name.endswith(("seconds", "per_second"))}
    reward = float(metrics.pop("reward"))
    if not math.isfinite(reward):
        return _with_clock(
            AttemptResult("nan", metrics=finite(metrics), reason=f"the reward is {reward}"), clock, started
        )
    return _with_clock(AttemptResult("done", reward, finite(metrics)), clock, started)


def failure(error: SpinetError) -> AttemptResult:
    """Return the result of an attempt that ended in one of the errors of `STATUS`."""
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    return AttemptResult(status, reason=one_line(error))


def one_line(error: Exception) -> str:
    """Return the message of an error as one line that is not too long."""
    return " ".join(str(error).split())[:_REASON]


def finite(value: Any) -> Any:
    """Return plain data without the numbers that JSON cannot hold.

    >>> finite({"AP": 0.5, "loss": float("nan"), "curve": [1.0, float("inf")]})
    {'AP': 0.5, 'curve': [1.0, None]}
    """
    if isinstance(value, Mapping):
        kept = {str(name): finite(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part is not None}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_clock(result: AttemptResult, clock: Mapping[str, Any], started: float) -> AttemptResult:
    seconds = round(clock.get("seconds", time.monotonic() - started), 3)
    where = {"worker": f"{socket.gethostname()}:{os.getpid()}"}
    return replace(result, clock={**clock, "seconds": seconds, **where})
