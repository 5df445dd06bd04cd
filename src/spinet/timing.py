"""Wall-clock times of calls, measured in turn so that other load on the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

# Runs once and returns the seconds of each stage.
Run = Callable[[], dict[str, float]]
K = TypeVar("K")


def finish(device: torch.device) -> None:
    """Wait until a device has finished its queued work; CPU operators are done when they return."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock:
    """Measures the consecutive stages of a run, in seconds; waits for the device at the end of each stage."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stages: dict[str, float] = {}
        self._last = 0.0

    def start(self) -> None:
        """Begin a run."""
        finish(self.device)
        self.stages, self._last = {}, time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage and begin the next; laps of the same name add up."""
        finish(self.device)
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now

    def total(self, name: str) -> dict[str, float]:
        """Return the stages, preceded by their sum under `name`."""
        return {name: sum(self.stages.values()), **self.stages}


def timed(stage: str, call: Callable[[], object], device: torch.device) -> Run:
    """Return a run with one stage: the call."""
    clock = Clock(device)

    def run() -> dict[str, float]:
        clock.start()
        call()
        clock.lap(stage)
        return clock.stages

    return run


def interleave(
    runs: Mapping[K, Run], rounds: int, warm_up: int = 2, progress: Callable[[int], object] = lambda _: None
) -> dict[K, dict[str, list[float]]]:
    """Run everything in turn, `warm_up` rounds and then `rounds`, and return the seconds of every stage of each run.

    `progress` is called with the number of finished rounds, warm-up included.
    """
    times: dict[K, dict[str, list[float]]] = {name: {} for name in runs}
    for number in range(warm_up + rounds):
        for name, run in runs.items():
            for stage, seconds in run().items():
                if number >= warm_up:
                    times[name].setdefault(stage, []).append(seconds)
        progress(number + 1)
    return times


def medians(
    calls: Mapping[K, Callable[[], object]], device: torch.device, rounds: int, warm_up: int = 1
) -> dict[K, float]:
    """Return the median seconds of each call, all of them called in turn."""
    runs = {name: timed("call", call, device) for name, call in calls.items()}
    times = interleave(runs, rounds, warm_up)
    return {name: statistics.median(stages["call"]) for name, stages in times.items()}
