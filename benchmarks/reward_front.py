"""What a trial's reward is worth and costs: cheap trainings against a truth that is already recorded.

Each architecture that a table of benchmarks/record_rewards.py has at its highest rung is trained by each candidate in
turn, so that candidates share the machine's moods. Recorded are the CPU seconds of the training and of each way to
score it, the curve of the training loss, and AP50 and loss on the held-out images. The same call resumes.

usage: python benchmarks/reward_front.py TRUTH.jsonl --data-root DIR [--out FILE] [--minutes 60]
       python benchmarks/reward_front.py TRUTH.jsonl --out FILE --show
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import torch
import tyro

from record_rewards import read_table, surroundings
from reward_table import RewardTable, load_table
from spinet.analysis.records import Floats
from spinet.arch.genotype import Genotype
from spinet.engine.evaluate import EvalOptions, mean_loss
from spinet.engine.machine import threads
from spinet.engine.task import task_of
from spinet.engine.train import train
from spinet.errors import SpinetError
from spinet.models.classifier import Classifier
from spinet.nas.proxies import Proxy
from spinet.nas.proxy import ProxyTask, curve
from spinet.nas.zero_cost import zero_cost_scores
from spinet.report.statistics import Interval, bootstrap, spearman

# Settings of a candidate in place of those of the truth's own proxy; the first is what trials were until now.
CANDIDATES: dict[str, dict[str, Any]] = {
    "7 epochs": {"rungs": (7,)},
    "1.75 epochs": {"rungs": (1.75,)},
    "2.33 epochs": {"rungs": (7 / 3,)},
    "3.5 epochs": {"rungs": (3.5,)},
    "2.33 epochs, twice the rate": {"rungs": (7 / 3,), "lr": 0.04},
}
Line = dict[str, Any]


def _end_of_curve(parts: int) -> Callable[[Line], float]:
    return lambda line: -fmean(line["curve"][-parts:])


# Ways to score a training: the value, and what costs time besides the training.
SCORES: dict[str, tuple[Callable[[Line], float], tuple[str, ...]]] = {
    "AP50, with all that was recorded": (lambda line: line["AP50"], ("AP50", "loss", "zero-cost")),
    "AP50": (lambda line: line["AP50"], ("AP50",)),
    "held-out loss": (lambda line: -line["loss"], ("loss",)),
    **{f"training loss, last {parts} of 20 parts": (_end_of_curve(parts), ()) for parts in (1, 2, 4, 6)},
}


@dataclass(frozen=True)
class Score:
    """A way to reward a trial: its values by architecture, and its CPU seconds by architecture."""

    candidate: str
    name: str
    values: dict[str, float]
    seconds: dict[str, float]


def measure(task: ProxyTask, genotype: Genotype, table: RewardTable) -> Line:
    """Train one architecture with one candidate; return its scores and their CPU seconds."""
    clock = Clock()
    with threads(1):
        data = task.data()
        config = task.config(0, 0, 1, len(data.train))
        info = task.info(genotype, table.space.scaling, data.train)
        clock.restart()
        result = train(config, None, train_set=data.train, val_set=data.held_out, info=info, quiet=True, evaluate=False)
        clock.lap("training")
        options = EvalOptions(config.data.image_size, config.batch_size)
        metrics = task_of(config.model).measure(result.model, data.held_out, options).metrics
        clock.lap("AP50")
        assert not isinstance(result.model, Classifier)
        loss = mean_loss(result.model, data.held_out, options)
        clock.lap("loss")
        zero_cost_scores(info, data.train, seed=0, device=torch.device("cpu"))
        clock.lap("zero-cost")
    points = [round(value, 5) for value in curve(result.losses)]
    return {"AP": metrics["AP"], "AP50": metrics["AP50"], "loss": loss, "curve": points, "cpu": clock.seconds}


class Clock:
    """CPU seconds of this process, by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """Begin a part."""
        self.start = time.process_time()

    def lap(self, name: str) -> None:
        """End a part and begin the next."""
        self.seconds[name] = round(time.process_time() - self.start, 3)
        self.restart()


def record(table: RewardTable, graphs: Sequence[str], root: Path, proxy: Proxy, out: Path, minutes: float) -> None:
    """Train what is missing in `out`, all candidates of an architecture one after the other."""
    deadline = time.monotonic() + 60 * minutes
    known = {(line["graph"], line["candidate"]) for line in read_table(out)}
    tasks = {name: ProxyTask(proxy.with_settings(**changes), str(root), "cpu") for name, changes in CANDIDATES.items()}
    for number, graph in enumerate(graphs, start=1):
        for name, task in tasks.items():
            if (graph, name) in known or time.monotonic() > deadline:
                continue
            line = {"graph": graph, "candidate": name, **measure(task, table.genotypes[graph], table)}
            with out.open("a") as file:
                file.write(json.dumps(line | surroundings(task)) + "\n")
                os.fsync(file.fileno())
            print(
                f"{number}/{len(graphs)}  {name}  AP50 {line['AP50']:.4f}  {line['cpu']['training']:.1f} s", flush=True
            )


def scores(lines: Sequence[Line], graphs: Sequence[str]) -> list[Score]:
    """Return the candidates, each with all ways to score it."""
    found = []
    for candidate in CANDIDATES:
        of = {line["graph"]: line for line in lines if line["candidate"] == candidate and line["graph"] in graphs}
        for name, (value, parts) in SCORES.items():
            seconds = {g: sum(line["cpu"][part] for part in ("training", *parts)) for g, line in of.items()}
            found.append(Score(candidate, name, {g: value(line) for g, line in of.items()}, seconds))
    return found


def show(found: Sequence[Score], truth: dict[str, float], graphs: Sequence[str]) -> str:
    """Return a Markdown table: rank correlation with the truth, of all and of the upper half, and relative cost."""
    target = [truth[graph] for graph in graphs]
    upper = [graph for graph in graphs if truth[graph] > median(target)]
    now = found[0]
    rows = [
        "| training | reward | CPU, of today's | Spearman | in the upper half | gain over today's |",
        "|---|---|---|---|---|---|",
    ]
    for score in found:
        cost = median(score.seconds[graph] / now.seconds[graph] for graph in graphs)
        gain = _gain([score.values[graph] for graph in graphs], [now.values[graph] for graph in graphs], target)
        rows.append(
            f"| {score.candidate} | {score.name} | {cost:.2f} | {_rank(score, truth, graphs)} | "
            f"{_rank(score, truth, upper)} | {gain if score is not now else ''} |"
        )
    return "\n".join(rows) + "\n"


def _rank(score: Score, truth: dict[str, float], graphs: Sequence[str]) -> str:
    return _text(bootstrap(spearman, [score.values[graph] for graph in graphs], [truth[graph] for graph in graphs]))


def _gain(values: Sequence[float], others: Sequence[float], target: Sequence[float]) -> str:
    def difference(one: Floats, other: Floats, truth: Floats) -> float:
        return spearman(one, truth) - spearman(other, truth)

    return _text(bootstrap(difference, values, others, target), sign="+")


def _text(found: Interval, sign: str = "") -> str:
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"


def main(
    truth: Annotated[Path, tyro.conf.Positional],
    data_root: Path | None = None,
    out: Path | None = None,
    measure_: Annotated[str, tyro.conf.arg(name="measure")] = "AP50",
    minutes: float = math.inf,
    show_only: Annotated[bool, tyro.conf.arg(name="show")] = False,
) -> None:
    """Record, then show.

    Args:
        truth: table of record_rewards.py whose highest rung is the truth.
        data_root: its dataset.
        out: the table, JSON lines; by default results/reward-front-DATA.jsonl beside this script.
        measure_: of the truth.
        minutes: begin nothing after so many.
        show_only: train nothing.
    """
    table = load_table(truth)
    values = table.column(measure_, table.rungs[-1])
    graphs = [graph for graph in table.random if graph in values]
    assert table.about is not None
    out = out or Path(__file__).parent / "results" / f"reward-front-{table.about['data']}.jsonl"
    if not show_only:
        if data_root is None:
            raise SpinetError("--data-root is missing: the dataset of the table")
        record(table, graphs, data_root, Proxy.from_dict(table.about["proxy"]), out, minutes)
    lines = read_table(out)
    done = [graph for graph in graphs if sum(line["graph"] == graph for line in lines) == len(CANDIDATES)]
    if len(done) < 3:
        raise SpinetError(f"{out} has {len(done)} architectures that all candidates have trained; three are needed")
    print(f"{len(done)} architectures\n\n{show(scores(lines, done), values, done)}")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except SpinetError as error:
        sys.exit(str(error))
