"""Records real rewards of architectures of a search space: what strategies are compared on without training again.

Every architecture is trained by a proxy, first at its lowest rung with one seed, then with the other, then some of
them at the next rung, so that a table that was cut off is still a table. The same command resumes where the last one
stopped, skipping what the file holds.

usage: python benchmarks/record_rewards.py --data-root DIR [--out FILE] [--minutes 110] [--processes 2]
"""

import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import tyro

from spinet.arch.budgets import BUDGETS
from spinet.arch.catalog import load_architecture
from spinet.arch.genotype import Genotype
from spinet.arch.graph_hash import graph_hash
from spinet.errors import SpinetError
from spinet.nas.proxies import load_proxy
from spinet.nas.proxy import ProxyTask
from spinet.nas.space import Space
from spinet.nas.spaces import load_space


@dataclass(frozen=True)
class Unit:
    """One training: an architecture at a rung with a seed."""

    name: str
    genotype: Genotype
    rung: int
    seed: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes it the same training as another."""
        return graph_hash(self.genotype), self.rung, self.seed


def architectures(space: Space, count: int, seed: int) -> dict[str, Genotype]:
    """Return the references, then random architectures drawn uniformly, all of them different graphs."""
    genotypes = {name: load_architecture(name).genotype for name in ("spinenet49", "hourglass", "fish")}
    genotypes["chain"] = BUDGETS["spinenet49"].chain()
    genotypes["scale-decreased"] = BUDGETS["r0-sp53"].chain()
    known = {graph_hash(genotype) for genotype in genotypes.values()}
    random = Random(seed)
    while len(genotypes) < count:
        genotype = space.decode(space.sample(random))
        if graph_hash(genotype) not in known:
            known.add(graph_hash(genotype))
            genotypes[f"random-{len(genotypes) - 5:03}"] = genotype
    return genotypes


def plan(genotypes: dict[str, Genotype], seeds: int, upper: int, rungs: int) -> list[Unit]:
    """Return all trainings in the order that leaves a useful table whenever it is cut off."""
    units = [Unit(name, genotype, 0, seed) for seed in range(seeds) for name, genotype in genotypes.items()]
    for rung in range(1, rungs):
        first = list(genotypes.items())[:upper]
        units += [Unit(name, genotype, rung, seed) for seed in range(seeds) for name, genotype in first]
    return units


def read_table(file: Path) -> list[dict[str, Any]]:
    """Read the recorded lines; a last line that was cut off is taken out of the file.

    Raises:
        SpinetError: another line is not JSON.
    """
    if not file.is_file():
        return []
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(file, len(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise SpinetError(
            f"{file} holds a line that is not JSON ({error}); delete that line and re-run to resume"
        ) from None


def measure(task: ProxyTask, space: Space, unit: Unit) -> dict[str, Any]:
    """Train one unit and return its line of the table; failures are lines too."""
    line: dict[str, Any] = {"name": unit.name, "graph": graph_hash(unit.genotype), "space": space.name}
    line |= {"rung": unit.rung, "epochs": task.proxy.epochs(unit.rung), "seed": unit.seed}
    try:
        metrics = task(unit.genotype, base=space.scaling, rung=unit.rung, seed=unit.seed)
        line |= metrics | {"curve": [round(loss, 5) for loss in metrics["curve"]]}
    except SpinetError as error:
        line |= {"failure": type(error).__name__, "reason": str(error)}
    return line | {"genotype": unit.genotype.to_dict()}


def surroundings(task: ProxyTask) -> dict[str, Any]:
    """Return what the numbers depend on besides the architecture."""
    here = Path(__file__).parent
    device = "cuda" if task.device != "cpu" and torch.cuda.is_available() else "cpu"
    return {
        "data": Path(task.root).resolve().name,
        "proxy": task.proxy.to_dict(),
        "device": device,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": task.threads,
        "torch": torch.__version__,
        "commit": _git(here, "rev-parse", "HEAD") or "unknown",
        "changed": bool(_git(here, "status", "--porcelain", "--untracked-files=no", "--", "../src")),
    }


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Recorder:
    """Keeps the processes busy and writes a line, flushed to the disk, for each training that ends.

    Args:
        task: trains an architecture.
        space: of the architectures.
        out: the table.
        processes: trainings at a time.
        deadline: moment of `time.monotonic` after which nothing new begins that would probably outlast it.
    """

    def __init__(self, task: ProxyTask, space: Space, out: Path, processes: int, deadline: float) -> None:
        self.task, self.space, self.out = task, space, out
        self.processes, self.deadline = processes, deadline
        self.around = surroundings(task)
        self.longest: dict[int, float] = {}

    def run(self, units: list[Unit]) -> int:
        """Train the units in order until the deadline; return how many were."""
        waiting, running, done = list(reversed(units)), dict[Future[dict[str, Any]], Unit](), 0
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.processes, context) as pool:
            while waiting or running:
                while waiting and len(running) < self.processes and self._in_time(waiting[-1]):
                    unit = waiting.pop()
                    running[pool.submit(measure, self.task, self.space, unit)] = unit
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[future]
                    line = future.result()
                    done += 1
                    self._write(line)
                    self._report(line, done, len(units))
        return done

    def _in_time(self, unit: Unit) -> bool:
        below = [seconds for rung, seconds in self.longest.items() if rung <= unit.rung]
        expected = self.longest.get(unit.rung, max(below, default=0.0))
        return time.monotonic() + expected < self.deadline

    def _write(self, line: dict[str, Any]) -> None:
        with self.out.open("a") as file:
            file.write(json.dumps(line | self.around) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _report(self, line: dict[str, Any], done: int, total: int) -> None:
        seconds = line.get("seconds", 0.0)
        self.longest[line["rung"]] = max(seconds, self.longest.get(line["rung"], 0.0))
        result = line.get("failure") or f"reward {line['reward']:.4f}  AP50 {line['AP50']:.4f}  {seconds:.1f} s"
        print(f"{done}/{total}  {line['name']}  rung {line['rung']}  seed {line['seed']}  {result}", flush=True)


def main(
    data_root: Path,
    out: Path | None = None,
    minutes: float = math.inf,
    processes: int = 2,
    proxy: str = "tiny",
    space: str = "spinenet49",
    count: int = 105,
    seeds: int = 2,
    upper: int = 45,
    draw_seed: int = 0,
    device: str = "cpu",
) -> None:
    """Record rewards; the same call resumes.

    Args:
        data_root: folder of a dataset in COCO format.
        out: the table, JSON lines; by default results/rewards-DATA.jsonl beside this script.
        minutes: stop in time to have ended after so many.
        processes: trainings at a time, one thread each.
        proxy: name of the proxy task.
        space: name of the search space.
        count: different architectures, five references among them.
        seeds: per architecture.
        upper: architectures, the references first, that are also trained at the higher rungs.
        draw_seed: seed of the random architectures.
        device: where to train.
    """
    deadline = time.monotonic() + 60 * minutes
    searched = load_space(space)
    task = ProxyTask(load_proxy(proxy), str(data_root), device)
    out = out or Path(__file__).parent / "results" / f"rewards-{data_root.resolve().name}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    recorded = read_table(out)
    for line in recorded:
        if line["proxy"] != task.proxy.to_dict():
            raise SpinetError(f"{out} was recorded with other settings of the proxy; give another --out")
    known = {(line["graph"], line["rung"], line["seed"]) for line in recorded}
    units = plan(architectures(searched, count, draw_seed), seeds, upper, len(task.proxy.rungs))
    missing = [unit for unit in units if unit.key not in known]
    print(f"{len(units)} trainings, {len(units) - len(missing)} of them in {out}", flush=True)
    done = Recorder(task, searched, out, processes, deadline).run(missing)
    print(f"{done} recorded, {len(missing) - done} left", flush=True)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except SpinetError as error:
        sys.exit(str(error))
