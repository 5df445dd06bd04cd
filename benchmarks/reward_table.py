"""A recorded table of real rewards: of each architecture, at each rung, with each seed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.head_cost import model_cost
from spinet.errors import SpinetError
from spinet.nas.space import Space
from spinet.nas.spaces import load_space

# Lower is better for these; a table gives their negative.
_LOSSES = ("loss", "train_loss")


@dataclass(frozen=True)
class Row:
    """One training: `values` are its numbers, those of `zero_cost` among them."""

    name: str
    graph: str
    rung: int
    seed: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class RewardTable:
    """Rows of one space and proxy task; those named `random-...` were drawn uniformly, the others are references.

    Args:
        space: of the architectures.
        rows: trainings that were measured.
        genotypes: by graph hash.
        failures: descriptions of the trainings that failed.
        about: what all rows share: data, proxy, hardware, commit.
    """

    space: Space
    rows: tuple[Row, ...]
    genotypes: Mapping[str, Genotype]
    failures: tuple[str, ...] = ()
    about: Mapping[str, Any] | None = None

    @cached_property
    def names(self) -> dict[str, str]:
        """Graph -> name, in the order of recording."""
        return {row.graph: row.name for row in self.rows}

    @property
    def random(self) -> list[str]:
        """Graphs that were drawn uniformly."""
        return [graph for graph, name in self.names.items() if name.startswith("random-")]

    @property
    def references(self) -> list[str]:
        """The other graphs."""
        return [graph for graph, name in self.names.items() if not name.startswith("random-")]

    @property
    def rungs(self) -> list[int]:
        """Rungs with a row, ascending."""
        return sorted({row.rung for row in self.rows})

    def seeds(self, rung: int) -> list[int]:
        """Seeds with a row at a rung, ascending."""
        return sorted({row.seed for row in self.rows if row.rung == rung})

    def column(self, measure: str, rung: int, seed: int | None = None) -> dict[str, float]:
        """Return graph -> value of a measure, the higher the better (losses negative).

        Args:
            measure: a number of the rows, such as `reward`, `AP50`, `loss`, `zero_cost.synflow`.
            rung: of the trainings.
            seed: of the trainings; None takes the mean over all seeds of a graph.
        """
        sign = -1.0 if measure in _LOSSES else 1.0
        values: dict[str, list[float]] = {}
        for row in self.rows:
            if row.rung == rung and seed in (None, row.seed) and measure in row.values:
                values.setdefault(row.graph, []).append(sign * row.values[measure])
        return {graph: fmean(measured) for graph, measured in values.items()}

    def measures(self, rung: int) -> list[str]:
        """Names of the numbers that rows of a rung have."""
        return list(dict.fromkeys(name for row in self.rows if row.rung == rung for name in row.values))

    def full_scale(self, graph: str, image_size: int = 640) -> dict[str, float]:
        """Return MACs and parameters of a graph at the space's scaling, detector's head included."""
        cost = model_cost(Architecture(self.genotypes[graph], self.space.scaling), image_size)
        return {"MACs": float(cost.multiply_adds), "parameters": float(cost.parameters)}

    def seed_differences(self, graphs: Iterable[str], measure: str = "reward", rung: int = 0) -> list[float]:
        """Return the differences between the first two seeds of each graph that has both."""
        seeds = self.seeds(rung)
        if len(seeds) < 2:
            return []
        first, second = (self.column(measure, rung, seed) for seed in seeds[:2])
        return [first[graph] - second[graph] for graph in graphs if graph in first and graph in second]


def load_table(path: Path) -> RewardTable:
    """Read a table of JSON lines; a torn last line is ignored.

    Raises:
        SpinetError: the file cannot be read, is empty, or a line lacks something; the sentence names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpinetError(f"could not read the table {path}: {error.strerror}") from None
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    rows, genotypes, failures, spaces = list[Row](), dict[str, Genotype](), list[str](), set[str]()
    about: dict[str, Any] = {}
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            spaces.add(line.get("space", "spinenet49"))
            where = f"{line['name']}, rung {line['rung']}, seed {line['seed']}"
            if "failure" in line:
                failures.append(f"{where}: {line['failure']}, {line.get('reason', '')}")
                continue
            rows.append(Row(line["name"], line["graph"], line["rung"], line["seed"], _numbers(line)))
            genotypes.setdefault(line["graph"], Genotype.from_dict(line["genotype"]))
            about = {key: line[key] for key in ("data", "proxy", "hardware", "device", "commit") if key in line}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SpinetError(f"{path}, line {number} is corrupt: {type(error).__name__}: {error}") from None
    if not rows or len(spaces) != 1:
        raise SpinetError(
            f"{path}: a table has trainings of one space, found {len(rows)} of {sorted(spaces) or 'none'}"
        )
    return RewardTable(load_space(spaces.pop()), tuple(rows), genotypes, tuple(failures), about)


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a line by name; every line needs a reward."""
    names = ("reward", "AP", "AP50", "loss", "train_loss", "seconds")
    numbers = {name: line[name] for name in names if name in line}
    numbers["reward"] = line.get("reward", line.get("AP50", line.get("AP")))
    if numbers["reward"] is None:
        raise KeyError("reward")
    numbers |= {f"zero_cost.{name}": value for name, value in (line.get("zero_cost") or {}).items()}
    return {name: float(value) for name, value in numbers.items() if value is not None}
