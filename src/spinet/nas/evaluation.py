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
            SpinetError: one of `STATUS` is the outcome of the trial; any other ends the search.
        """
        ...


@dataclass(frozen=True)
class AttemptResult:
    """The result of one attempt."""

    status: Status
    reward: float | None = None  # if it is done
    metrics: Mapping[str, Any] = field(default_factory=dict)  # other measurements, all of them finite
    reason: str = ""  # of a failure, one line
    clock: Mapping[str, Any] = field(default_factory=dict)  # `seconds`, `worker`, and more of clock and machine


def attempt(evaluate: Evaluate, genotype: Genotype, rung: int, seed: int, accumulate: int) -> AttemptResult:
    """Evaluate a genotype once; errors not caused by the trial are raised as they are."""
    started = time.monotonic()
    clock: dict[str, Any] = {}
    try:
        metrics = dict(evaluate(genotype, rung=rung, seed=seed, accumulate=accumulate))
        clock = {name: metrics.pop(name) for name in [*metrics] if name.endswith(("seconds", "per_second"))}
        reward = float(metrics.pop("reward"))
        if math.isfinite(reward):
            result = AttemptResult("done", reward, finite(metrics))
        else:
            result = AttemptResult("nan", metrics=finite(metrics), reason=f"the reward is {reward}")
    except MemoryError:
        result = AttemptResult("oom", reason="the trial does not fit into main memory")
    except tuple(STATUS) as error:
        result = failure(error)
    seconds = round(clock.get("seconds", time.monotonic() - started), 3)
    return replace(result, clock={**clock, "seconds": seconds, "worker": f"{socket.gethostname()}:{os.getpid()}"})


def failure(error: SpinetError) -> AttemptResult:
    """Return the result of an attempt that ended in one of the errors of `STATUS`."""
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    return AttemptResult(status, reason=" ".join(str(error).split())[:_REASON])


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
