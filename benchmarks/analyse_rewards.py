"""What a recorded table of rewards (benchmarks/record_rewards.py) shows, as a section of docs/results.md.

usage: python benchmarks/analyse_rewards.py TABLE.jsonl [--seeds 20] [--trials 300] [--write]

Prints the section; with --write it replaces the one between this table's markers in docs/results.md, or is added.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from textwrap import wrap

import numpy as np
import torch

from replay import Landscape, Replays, compare, fit_landscape, picked
from reward_table import RewardTable, load_table
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.nas.settings import STRATEGIES
from spinet.report.statistics import Interval, bootstrap, kendall, precision_at_top, regret_of_top1, spearman
from surrogate import graph_features, skill

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.md"
ARROW = "\N{RIGHTWARDS ARROW}"

Column = Mapping[str, float]


def distribution(table: RewardTable) -> list[str]:
    """Rewards of uniform draws at each rung."""
    rows = []
    for rung in table.rungs:
        for measure in ("AP", "AP50", "loss"):
            sign = -1 if measure == "loss" else 1
            column = table.column(measure, rung)
            values = sorted(sign * column[graph] for graph in table.random if graph in column)
            if len(values) < 2:
                continue
            differences = table.seed_differences(table.random, measure, rung)
            noise = math.sqrt(fmean(difference**2 for difference in differences) / 2) if differences else math.nan
            numbers = [fmean(values), float(np.std(values, ddof=1)), values[0], median(values), values[-1], noise]
            cells = [f"{number:.4f}" if math.isfinite(number) else "-" for number in numbers]
            rows.append([f"{measure}, rung {rung}", str(len(values)), *cells])
    return markdown(["", "n", "mean", "SD", "lowest", "median", "highest", "SD of one architecture's seeds"], rows)


def references(table: RewardTable) -> list[str]:
    """The references among the uniform draws."""
    rows = []
    for graph in table.references:
        cells = [table.names[graph]]
        for rung in table.rungs:
            means = table.column("reward", rung)
            others = [means[other] for other in table.random if other in means]
            if graph not in means or len(others) < 10:
                cells += ["-", "-"]
                continue
            cells += [f"{means[graph]:.4f}", percent(fraction_below(means[graph], others, seed_error(table, rung)))]
        rows.append(cells)
    head = ["reference"]
    for rung in table.rungs:
        head += [f"reward, rung {rung}", "share of random architectures below it [95 %]"]
    return markdown(head, rows)


def fraction_below(reward: float, others: Sequence[float], error: float) -> Interval:
    """Fraction of `others` below a reward; its interval is over other draws and over the error of the reward."""
    random = np.random.default_rng(0)
    values = np.asarray(others)
    fraction = float(np.mean(values < reward))
    if math.isnan(error):
        return Interval(fraction, math.nan, math.nan)
    fractions = [np.mean(random.choice(values, len(values)) < reward + random.normal(0.0, error)) for _ in range(2000)]
    low, high = np.quantile(fractions, [0.025, 0.975])
    return Interval(fraction, float(low), float(high))


def seed_error(table: RewardTable, rung: int) -> float:
    """Standard error of a mean over the two seeds of a rung; NaN where there is only one."""
    differences = table.seed_differences(table.random, rung=rung)
    return math.sqrt(fmean(difference**2 for difference in differences)) / 2 if len(differences) > 1 else math.nan


def correlations(table: RewardTable, repeats: int = 1000) -> list[str]:
    """Rank correlations among uniform draws: seeds, rungs, and the measures that need no training or little."""
    pairs: list[tuple[str, Column, Column]] = []
    for rung in table.rungs:
        if len(table.seeds(rung)) > 1:
            one, other = (table.column("reward", rung, seed) for seed in table.seeds(rung)[:2])
            pairs.append((f"rung {rung}: one seed {ARROW} another", one, other))
    low, high = table.rungs[0], table.rungs[-1]
    if high > low:
        first = table.seeds(low)[0]
        target = table.column("reward", high)
        pairs.append((f"reward, rung {low}, one seed {ARROW} rung {high}", table.column("reward", low, first), target))
        pairs.append((f"reward, rung {low}, mean of seeds {ARROW} rung {high}", table.column("reward", low), target))
        for name in ("loss", "train_loss"):
            pairs.append((f"-{name}, rung {low} {ARROW} rung {high}", table.column(name, low), target))
    for rung in table.rungs:
        target = table.column("reward", rung)
        pairs += [(f"{name} {ARROW} rung {rung}", column, target) for name, column in untrained(table).items()]
    rows = [row for label, cheap, costly in pairs if (row := correlation(table, label, cheap, costly, repeats))]
    return markdown(["", "n", "Spearman", "Kendall", "precision at 10 %", "regret of the best"], rows)


def untrained(table: RewardTable) -> dict[str, Column]:
    """What is known of every architecture without training it."""
    scaling = table.space.scaling
    about = {graph: graph_features(genotype, scaling) for graph, genotype in table.genotypes.items()}
    names = ("depth", "level jump", "to finer", "bottlenecks")
    costs = {graph: table.full_scale(graph) for graph in table.genotypes}
    columns: dict[str, Column] = {
        name: {graph: cost[name] for graph, cost in costs.items()} for name in ("MACs", "parameters")
    }
    columns |= {name: {graph: numbers[name] for graph, numbers in about.items()} for name in names}
    scores = [name for name in table.measures(0) if name.startswith("zero_cost.")]
    return columns | {name.removeprefix("zero_cost."): table.column(name, 0) for name in scores}


def correlation(table: RewardTable, label: str, cheap: Column, costly: Column, repeats: int) -> list[str]:
    """One row; empty if fewer than ten uniform draws have both."""
    graphs = [graph for graph in table.random if graph in cheap and graph in costly]
    if len(graphs) < 10:
        return []
    x, y = [cheap[graph] for graph in graphs], [costly[graph] for graph in graphs]
    intervals = [
        str(bootstrap(statistic, x, y, repeats=repeats)) for statistic in (spearman, kendall, precision_at_top)
    ]
    return [label, str(len(graphs)), *intervals, f"{regret_of_top1(x, y):.4f}"]


def efficiency(landscape: Landscape, replays: Sequence[Replays], trials: int) -> list[str]:
    """Table of the sample efficiency of every strategy beside random search."""
    stops = [stop for stop in (50, 100, 300, 1000) if stop <= trials] or [trials]
    random = next(entry for entry in replays if entry.name == "random")
    rows = []
    for entry in replays:
        curves = np.array([picked(seen) for seen in entry.model])
        z = (curves - landscape.mean) / landscape.deviation
        cells = [spread(z[:, stop - 1], 2) for stop in stops]
        ratio = "1" if entry is random else str(entry.ratio_to(random, trials))
        rows.append([entry.name, *cells, spread(entry.model_counts, 0), ratio, spread(entry.pool_counts, 0)])
    head = ["strategy", *(f"z @{stop}" for stop in stops)]
    return markdown([*head, "model: trials to the best 1 %", "of random's", "pool: trials to the best 5 %"], rows)


def spread(values: Sequence[float], digits: int) -> str:
    """Median and quartiles; infinity is printed as never."""
    low, middle, high = np.quantile(np.asarray(values, dtype=float), [0.25, 0.5, 0.75], method="nearest")
    return f"{_number(middle, digits)} ({_number(low, digits)} to {_number(high, digits)})"


def section(table: RewardTable, path: Path, seeds: int, trials: int) -> str:
    """Return the whole section."""
    landscape = fit_landscape(table)
    rewards = landscape.rewards
    skills = {kind: skill(kind, landscape.inputs, rewards) for kind in ("ridge", "neighbours")}  # type: ignore[arg-type]
    replays = compare(landscape, STRATEGIES.values(), seeds, trials)
    about = table.about or {}
    proxy = about.get("proxy") or {}
    failed = f" {len(table.failures)} trainings failed and are left out." if table.failures else ""
    epochs = " and ".join(f"{count:g}" for count in proxy.get("rungs") or [])
    lines = [
        f"## Random architectures of the space {table.space.name} on {about.get('data', 'unknown data')}",
        "",
        *prose(
            f"`python benchmarks/analyse_rewards.py benchmarks/results/{path.name} --seeds {seeds} --trials {trials}`: "
            f"{len(table.rows)} trainings of {len(table.names)} architectures, {len(table.random)} of them uniform "
            f"draws; proxy `{proxy.get('name')}`, rungs of {epochs} epochs, reward {proxy.get('reward')} on held-out "
            f"training images; recorded at commit {str(about.get('commit'))[:7]} on {about.get('hardware')} "
            f"({about.get('device')}).{failed} Brackets are 95 % bootstrap intervals over architectures."
        ),
        "",
        *distribution(table),
        "",
        "The references among the random architectures; the reward is the mean of the seeds:",
        "",
        *references(table),
        "",
        *prose(
            "How measurements rank the random architectures, references left out. Of twenty intervals one is expected "
            "to miss; a precision of 0.10 is chance, and two seeds of one training are the ceiling."
        ),
        "",
        *correlations(table),
        "",
        *prose(
            "Sample efficiency, replayed. No table holds what a strategy proposes, so both replays are models. In "
            "*model* the reward is a ridge regression on a few numbers of the graph (MACs, parameters, depth, levels "
            f"...), plus a part of each architecture's own (SD {landscape.residual:.4f}) that the regression does not "
            "explain, plus noise as between the seeds; the SD of architectures is "
            f"{landscape.deviation:.4f} in all. In *pool* a proposal stands for the nearest architecture of the table "
            "that is left, and gets one of its recorded "
            f"rewards. Cross-validated rank correlation of the regression: {skills['ridge']}, of nearest neighbours: "
            f"{skills['neighbours']}. z is the true reward of the best-told trial in SDs above the mean; medians and "
            f"quartiles over {seeds} seeds of {trials} trials; in the ratio, a replay that never reached the goal "
            "counts one trial more than it had, so such ratios lean towards 1."
        ),
        "",
        *efficiency(landscape, replays, trials),
        "",
        *prose(verdict(landscape, skills["ridge"], replays, trials)),
    ]
    return "\n".join(lines) + "\n"


def verdict(landscape: Landscape, ridge: Interval, replays: Sequence[Replays], trials: int) -> str:
    """State what the numbers support, and no more."""
    random = next(entry for entry in replays if entry.name == "random")
    better, third = [], []
    for entry in replays:
        if entry is not random:
            ratio = entry.ratio_to(random, trials)
            better += [entry.name] * (ratio.high < 1)
            third += [entry.name] * (ratio.value <= 1 / 3)
    unexplained = landscape.residual**2 / landscape.deviation**2
    words = (
        f"The regression predicts better than chance; {unexplained:.0%} of the architectures' variance is not in it."
    )
    if not ridge.low > 0:
        words = "The regression is not shown to predict anything: the replay then tests the machinery alone."
    return (
        f"{words} In the model, shown to need fewer trials than random search (interval of the ratio below 1): "
        f"{', '.join(better) or 'none'}; a third of random search's trials or fewer (the goal): "
        f"{', '.join(third) or 'none'}. This ranks strategies on one modelled landscape of one tiny task; it says "
        "nothing about COCO, nor about which architecture is best."
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def prose(text: str) -> list[str]:
    """Return the lines of a paragraph."""
    return wrap(text, 118, break_long_words=False, break_on_hyphens=False)


def insert(document: str, name: str, text: str) -> str:
    """Put a section between its markers, or at the end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    block = f"{begin}\n{text}{end}"
    if begin in document and end in document:
        return document[: document.index(begin)] + block + document[document.index(end) + len(end) :]
    return f"{document.rstrip()}\n\n{block}\n"


def percent(interval: Interval) -> str:
    """Return an interval as percentages; without one, there was a single seed."""
    if math.isnan(interval.low):
        return f"{interval.value:.0%} (one seed)"
    return f"{interval.value:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "never"


def main() -> None:
    """Print the section, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--write", action="store_true", help="into docs/results.md instead of printing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = section(load_table(options.table), options.table, options.seeds, options.trials)
    if options.write:
        write_atomically(RESULTS, insert(RESULTS.read_text(), options.table.stem, text))
    else:
        print(text)


if __name__ == "__main__":
    try:
        main()
    except SpinetError as error:
        sys.exit(str(error))
