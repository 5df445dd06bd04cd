"""Limits on the cost of an architecture: draws outside are rejected before anything is trained (paper section 3.1)."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.cost import backbone_costs
from spinet.arch.genotype import Genotype, check_keys
from spinet.arch.head_cost import Head, model_cost
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError, unknown_name
from spinet.fields import Count, NonNegative, check_fields
from spinet.files import read_json
from spinet.nas.evaluation import Evaluate
from spinet.nas.space import Space

Measure = Literal["macs", "parameters", "latency"]

_UNITS = {"macs": "multiply-adds", "parameters": "parameters", "latency": "ms"}


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of every part of the networks of one space, on one device, as `spinet.nas.latency` measures them."""

    milliseconds: dict[str, NonNegative]  # by `part_keys`
    image_size: Count
    device: str

    def __post_init__(self) -> None:
        check_fields("latency table", self)

    def latency(self, architecture: Architecture) -> float:
        """Return the sum over all parts, ms."""
        try:
            return math.fsum(self.milliseconds[key] for key in part_keys(architecture))
        except KeyError as error:
            raise SpinetError(
                f"the latency table of {self.device} has no part {error.args[0]!r}: it was measured for another space"
            ) from None

    @property
    def digest(self) -> str:
        """A short hash that identifies the table."""
        return hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=8).hexdigest()

    @classmethod
    def load(cls, path: str | Path) -> "LatencyTable":
        """Read what `spinet.nas.latency` wrote; raise a SpinetError for anything else."""

        def build(data: Any) -> LatencyTable:
            names = [field.name for field in fields(cls)]
            check_keys("latency table", data, names, ("versions", "space"))
            return cls(**{name: data[name] for name in names})

        return read_json(Path(path), "latency table", build)


def part_keys(architecture: Architecture) -> list[str]:
    """Names of the parts of a network; parts of one name cost the same, wherever they are."""
    genotype = architecture.genotype
    blocks, first = genotype.all_blocks, len(genotype.stem)
    names = [f"stem {i}" if i < first else f"L{block.level} {block.kind}" for i, block in enumerate(blocks)]
    sources = [f"L{block.level} {block.kind}" for block in blocks]
    keys = ["head"]
    for kind, index, source, _ in backbone_costs(architecture.scaling, 640).steps(genotype, genotype.endpoints):
        if kind == "stem":
            keys.append("stem")
        elif kind == "connection":
            keys.append(f"{sources[source]} -> {sources[index]}")
        else:
            keys.append(names[index] if kind == "block" else f"endpoint {sources[index]}")
    return keys


@dataclass(frozen=True)
class Constraint:
    """A closed interval that a cost of the full-size network must lie in, validated on construction."""

    measure: Measure  # multiply-adds (the paper's FLOPs), parameters, or ms
    low: float
    high: float
    image_size: int = 640
    head: Head = "retinanet"
    num_classes: int = 91
    table: LatencyTable | None = None  # for latency

    def __post_init__(self) -> None:
        if self.measure not in get_args(Measure):
            raise unknown_name("measure", str(self.measure), get_args(Measure))
        if not self.low <= self.high:
            raise SpinetError(f"constraint {self.measure}: the interval from {self.low:g} to {self.high:g} is empty")
        if self.measure == "latency" and self.table is None:
            raise SpinetError("a constraint on latency needs the latency table of the space")
        if self.table is not None and self.table.image_size != self.image_size:
            size = self.table.image_size
            raise SpinetError(f"the latency table is for {size} px images, the constraint for {self.image_size} px")

    def value(self, architecture: Architecture) -> float:
        """Return the cost of an architecture."""
        if self.table is not None:
            return self.table.latency(architecture)
        cost = model_cost(architecture, self.image_size, self.head, self.num_classes)
        return cost.multiply_adds if self.measure == "macs" else cost.parameters

    def accepts(self, value: float) -> bool:
        """Whether a cost is within the limits."""
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the journal; an open end is None, a table is given by its digest."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "table"}
        table = {"table": self.table.digest, "device": self.table.device} if self.table else {}
        return plain | {"high": self.high if math.isfinite(self.high) else None} | table

    def __str__(self) -> str:
        return constraint_text(self.to_dict())


def constraint_text(plain: Mapping[str, Any]) -> str:
    """Return the text of a constraint from the plain data in a journal.

    >>> constraint_text({"measure": "macs", "low": 0.0, "high": None, "image_size": 640})
    'macs from 0 to inf multiply-adds at 640 px'
    """
    measure, high = plain["measure"], math.inf if plain["high"] is None else plain["high"]
    return f"{measure} from {plain['low']:g} to {high:g} {_UNITS[measure]} at {plain['image_size']} px"


@dataclass(frozen=True)
class WithLatency:
    """An evaluation that also records the predicted latency of the full-size network, as `latency_ms`."""

    evaluate: Evaluate
    table: LatencyTable
    scaling: Scaling  # of the full-size networks

    def __call__(self, genotype: Genotype, *, rung: int, seed: int, accumulate: int) -> dict[str, Any]:
        """Evaluate a genotype; see `Evaluate`."""
        latency = self.table.latency(Architecture(genotype, self.scaling))
        return {**self.evaluate(genotype, rung=rung, seed=seed, accumulate=accumulate), "latency_ms": latency}


class Draws:
    """The draws of one trial, by their costs; `error` tells why none was accepted."""

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.constraints = constraints
        self.count = 0
        self._costs: list[list[float]] = [[] for _ in constraints]

    def accept(self, architecture: Architecture) -> bool:
        """Whether all constraints accept a draw; all are evaluated, so that each counts all draws."""
        self.count += 1
        for constraint, costs in zip(self.constraints, self._costs, strict=True):
            costs.append(constraint.value(architecture))
        return all(
            constraint.accepts(costs[-1]) for constraint, costs in zip(self.constraints, self._costs, strict=True)
        )

    def error(self, trial: int) -> SpinetError:
        """Return the error for a trial without an accepted draw."""
        reasons = []
        for constraint, costs in zip(self.constraints, self._costs, strict=True):
            others = [cost for cost in costs if not constraint.accepts(cost)]
            accepted = len(costs) - len(others)
            nearest = min(others, key=lambda cost: max(constraint.low - cost, cost - constraint.high), default=None)
            reason = f"{constraint} accepted {accepted:,} of them ({accepted / self.count:.2%})"
            reasons.append(reason + (f", the nearest other value was {nearest:g}" if others else ""))
        return SpinetError(f"trial {trial}: the constraints rejected all of {self.count:,} draws: {'; '.join(reasons)}")


def parse_constraint(text: str, table: Path | None = None, image_size: int | None = None) -> Constraint:
    """Read a constraint from a string.

    Args:
        text: `MEASURE=LOW:HIGH`; a missing end is open. An end is a number, or the name or file of an architecture,
            which stands for what that costs: `latency=:mine.json` is "not slower than mine".
        table: latency table.
        image_size: side of the image; by default that of the table for latencies, else 640.

    Raises:
        SpinetError: the string is not a constraint.

    >>> parse_constraint("macs=84.2e9:86e9").high
    86000000000.0
    >>> round(parse_constraint("macs=:spinenet49").high / 1e9, 1)
    85.3
    """
    measure, _, window = text.partition("=")
    ends = window.split(":")
    if len(ends) != 2 or not any(ends):
        raise _not_a_constraint(text)
    latency = LatencyTable.load(table) if table and measure == "latency" else None
    size = image_size or (latency.image_size if latency else 640)
    whole = Constraint(measure, 0.0, math.inf, image_size=size, table=latency)  # type: ignore[arg-type]
    low, high = (_end(whole, end, text) for end in ends)
    return replace(whole, low=0.0 if low is None else low, high=math.inf if high is None else high)


def _end(whole: Constraint, end: str, text: str) -> float | None:
    """Return the number that an end of a window is, or the cost of the architecture that it names."""
    if not end:
        return None
    try:
        number = float(end)
    except ValueError:
        try:
            return whole.value(load_architecture(end))
        except SpinetError as error:
            raise SpinetError(f"constraint {text!r}: {error}") from None
    if not math.isfinite(number):
        raise _not_a_constraint(text)
    return number


def _not_a_constraint(text: str) -> SpinetError:
    return SpinetError(
        f"constraint {text!r} is not MEASURE=LOW:HIGH with finite ends, such as macs=84.2e9:86e9, or with "
        "architectures in their place, such as macs=:spinenet49s; a missing end is open"
    )


def default_constraints(space: Space) -> tuple[Constraint, ...]:
    """Return the default limits of a space: for `spinenet49`, its published multiply-adds within 1 %.

    >>> from spinet.nas.spaces import SPACES
    >>> round(default_constraints(SPACES["spinenet49"])[0].high / 1e9, 2)
    86.13
    """
    if space.name != "spinenet49":
        return ()
    published = Architecture(load_architecture("spinenet49").genotype, space.scaling)
    middle = model_cost(published, 640, "retinanet", 91).multiply_adds
    return (Constraint("macs", 0.99 * middle, 1.01 * middle),)
