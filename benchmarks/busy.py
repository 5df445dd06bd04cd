"""Training steps of the demo with two threads, on a quiet machine and beside one niced busy loop per core.

    python benchmarks/busy.py --against OTHER_CHECKOUT

Two builds, this one and that of another checkout, train in turn, each time in a fresh process of the command line. The
machine has to be quiet otherwise. `--set GOMP_SPINCOUNT=1000` measures this build with such a variable of its
environment, too. The busy loops are in the session of the measurement, because Linux shares cores among sessions first
(sched_autogroup), and then nice has no effect.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from spinet.data.demo import make_demo_dataset
from spinet.recipes import RECIPES

# A busy loop ends with the process that started it, however that ends.
LOOP = """
import os
os.nice(19)
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(10**6):
        pass
"""
ROOT = Path(__file__).resolve().parents[1]
# Lines of metrics of one step each that do not count: threads, memory and file caches are being set up.
WARM_UP = 3


class Build(NamedTuple):
    """A checkout, and variables of the environment that it runs with."""

    name: str
    folder: Path
    variables: dict[str, str]


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Run so many niced busy loops inside the block."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds_per_step(build: Build, data: Path, arguments: argparse.Namespace) -> list[float]:
    """Train for a few steps in a process of its own; return the duration of each."""
    batch = RECIPES["demo"].config.batch_size
    epochs = (arguments.steps + WARM_UP) * batch / arguments.images
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    environment |= {"PYTHONPATH": str(build.folder / "src"), "OMP_NUM_THREADS": str(arguments.threads)}
    with tempfile.TemporaryDirectory() as run:
        command = [sys.executable, "-m", "spinet", "train", "demo", "--data.root", data, "--run", Path(run) / "run"]
        command += ["--epochs", epochs, "--log-steps", 1, "--save-seconds", 1e9, "--eval-epochs", 0, "--device", "cpu"]
        command += ["--data.workers", arguments.workers]
        environment |= build.variables
        subprocess.run(list(map(str, command)), check=True, env=environment, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (Path(run) / "run" / "metrics.jsonl").read_text().splitlines()]
    return [batch / line["images_per_second"] for line in lines if "images_per_second" in line][WARM_UP:]


def table(times: dict[tuple[str, bool], list[float]], builds: Sequence[Build]) -> str:
    """Return medians in milliseconds, and their ratios to the quiet machine and to the last build."""
    medians = {key: 1000 * statistics.median(values) for key, values in times.items()}
    rows = [f"{'build':32}{'quiet, ms':>12}{'busy, ms':>12}{'busy / quiet':>14}{'quiet / other':>15}"]
    for build in builds:
        quiet, busy = medians[build.name, False], medians[build.name, True]
        other = medians[builds[-1].name, False]
        rows.append(f"{build.name:32}{quiet:12.0f}{busy:12.0f}{busy / quiet:14.2f}{quiet / other:15.3f}")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the table after each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="checkout of the other build")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="this build with a variable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each process")
    parser.add_argument("--images", type=int, default=200, help="training images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--out", type=Path, help="JSON file of all times, in seconds")
    arguments = parser.parse_args()
    builds = [Build("this", ROOT, {})]
    builds += [Build(setting, ROOT, dict([setting.split("=", 1)])) for setting in arguments.set]
    builds += [Build(f"against {arguments.against.name}", arguments.against, {})] if arguments.against else []
    times: dict[tuple[str, bool], list[float]] = {(build.name, busy): [] for build in builds for busy in (False, True)}
    with tempfile.TemporaryDirectory() as folder:
        data = make_demo_dataset(folder, train_images=arguments.images, val_images=4)
        for number in range(arguments.rounds):
            # Every other round backwards: a machine that gets warmer favours nobody.
            for build in builds if number % 2 == 0 else builds[::-1]:
                times[build.name, False] += seconds_per_step(build, data, arguments)
                with busy_loops(os.cpu_count() or 1):
                    times[build.name, True] += seconds_per_step(build, data, arguments)
            print(f"after round {number + 1}\n{table(times, builds)}", flush=True)
    if arguments.out:
        plain = {f"{name}, {'busy' if busy else 'quiet'}": values for (name, busy), values in times.items()}
        arguments.out.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    main()
