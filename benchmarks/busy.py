"""Training steps of the demo with two threads, on a quiet machine and beside one busy loop per core.

    python benchmarks/busy.py --against OTHER_CHECKOUT

Two builds, this one and that of another checkout, wait in a process each and train a few steps in turn, so that all
see the same machine, which has to be quiet otherwise. `--set GOMP_SPINCOUNT=1000` adds this build with such a variable
of its environment. The busy loops have the lowest priority, unless `--nice` says otherwise, and are in the session of
the measurement, because Linux shares cores among sessions first (sched_autogroup), and then nice has no effect.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from spinet.data.demo import make_demo_dataset

# Trains as the command line does, but waits before each step until it is asked for some.
PROGRAM = """
import sys
import time
from dataclasses import replace
try:
    from spinet.threads import bound_spinning
except ImportError:  # an older build
    pass
else:
    bound_spinning()
from spinet.engine.loop import TrainRun
from spinet.engine.train import train
from spinet.recipes import RECIPES

step, left = TrainRun.step, 0

def timed(run, batches):
    global left
    if left == 0:
        print("ready", flush=True)
        left = int(sys.stdin.readline() or sys.exit())
    left -= 1
    started = time.perf_counter()
    step(run, batches)
    print(time.perf_counter() - started, flush=True)

TrainRun.step = timed
config = RECIPES["demo"].config
data = replace(config.data, root=sys.argv[1], workers=0)
train(replace(config, data=data, epochs=1e5, eval_epochs=0, log_steps=10**6, device="cpu"), None, quiet=True)
"""
# Ends with the process that started it, however that ends.
LOOP = """
import os
import sys
os.nice(int(sys.argv[1]))
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(10**6):
        pass
"""
ROOT = Path(__file__).resolve().parents[1]
# Steps that do not count: threads and memory are being set up.
WARM_UP = 5


class Build:
    """A process of a checkout that trains when it is asked to; `variables` are added to its environment."""

    def __init__(self, name: str, checkout: Path, variables: dict[str, str], data: Path, threads: int) -> None:
        self.name = name
        kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
        own = {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", PROGRAM, str(data)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=kept | own | variables, **pipes)  # type: ignore[call-overload]
        self._in: IO[str] = self._process.stdin
        self._out: IO[str] = self._process.stdout
        self._wait()

    def steps(self, count: int) -> list[float]:
        """Train for so many steps; return the seconds of each."""
        self._in.write(f"{count}\n")
        self._in.flush()
        times = [float(self._out.readline()) for _ in range(count)]
        self._wait()
        return times

    def _wait(self) -> None:
        if self._out.readline().strip() != "ready":
            raise SystemExit(f"the build {self.name!r} ended with exit code {self._process.wait()}")

    def __enter__(self) -> "Build":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def busy_loops(count: int, nice: int) -> Iterator[None]:
    """Run so many busy loops inside the block, each with `nice` added to its niceness."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(nice)]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def table(times: dict[tuple[str, bool], list[float]], names: Sequence[str]) -> str:
    """Return medians in milliseconds, and their ratios to the quiet machine and to the last build."""
    medians = {key: 1000 * statistics.median(values) for key, values in times.items()}
    rows = [f"{'build':32}{'quiet, ms':>12}{'busy, ms':>12}{'busy / quiet':>14}{'quiet / last':>14}"]
    for name in names:
        quiet, busy = medians[name, False], medians[name, True]
        rows.append(f"{name:32}{quiet:12.0f}{busy:12.0f}{busy / quiet:14.2f}{quiet / medians[names[-1], False]:14.3f}")
    return "\n".join(rows)


def measure(builds: Sequence[Build], arguments: argparse.Namespace) -> dict[tuple[str, bool], list[float]]:
    """Let the builds train in turn, and print the table after each round."""
    times: dict[tuple[str, bool], list[float]] = {(build.name, busy): [] for busy in (False, True) for build in builds}
    for build in builds:
        build.steps(WARM_UP)
    for number in range(arguments.rounds):
        # Every other round backwards: a machine that gets warmer favours nobody.
        order = builds if number % 2 == 0 else builds[::-1]
        for build in order:
            times[build.name, False] += build.steps(arguments.steps)
        with busy_loops(os.cpu_count() or 1, arguments.nice):
            for build in order:
                times[build.name, True] += build.steps(arguments.steps)
        print(f"after round {number + 1}\n{table(times, [build.name for build in builds])}", flush=True)
    return times


def main() -> None:
    """Measure, and write all times if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="checkout of the other build")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="this build with a variable")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10, help="steps of each build in each half of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=19, help="of the busy loops; 0 gives them the same priority")
    parser.add_argument("--out", type=Path, help="JSON file of all times, in seconds")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        data = make_demo_dataset(folder, train_images=100, val_images=4)
        plans = [("this", ROOT, {}), *((text, ROOT, dict([text.split("=", 1)])) for text in arguments.set)]
        plans += [(f"against {arguments.against.name}", arguments.against, {})] if arguments.against else []
        builds = [stack.enter_context(Build(*plan, data, arguments.threads)) for plan in plans]
        times = measure(builds, arguments)
    if arguments.out:
        plain = {f"{name}, {'busy' if busy else 'quiet'}": values for (name, busy), values in times.items()}
        arguments.out.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    main()
