"""What a benchmark found out, and its JSON file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from spinet.deploy.manifest import ExportPrecision
from spinet.errors import SpinetError
from spinet.files import write_atomically


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of `runs` values."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: list[float]) -> Self:
        """Summarize one value or more."""
        low, median, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
        return cls(median, low, high, len(values))


@dataclass(frozen=True)
class BenchmarkLine:
    """Results of one model on one backend.

    `stages` are in milliseconds. `ratio` is the time per image divided by that of the reference model, per round; None
    if their runs differ in kind. `macs` are the multiply-adds of one image (the paper's FLOPs) by the architecture,
    `work_macs` those that one run executes; fused networks need fewer. `ceiling` names the fastest matrix product in
    this precision, and `share` is the fraction of it; `memory_share` is that of the memory bandwidth, if every operator
    read its tensors from memory. `peak_bytes` is the memory that a run takes on top of what was allocated before.
    Values that are unknown are None.
    """

    name: str
    backend: str
    precision: ExportPrecision
    images: int
    stages: dict[str, Spread]
    whole: str
    images_per_second: float
    ratio: Spread | None
    macs: int | None
    work_macs: int | None
    macs_per_second: float | None
    ceiling: str | None
    share: float | None
    memory_share: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class BenchmarkReport:
    """`BenchmarkOptions` as plain values, the machine (`describe_machine`), and a line per model, backend, precision.

    `ceilings` are multiply-adds per second of the matrix products, and bytes per second of the memory.
    """

    options: dict[str, Any]
    machine: dict[str, Any]
    ceilings: dict[str, float]
    lines: tuple[BenchmarkLine, ...]

    def to_json(self) -> str:
        """Return everything as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read the output of `to_json`; `where` names the file in errors.

        Raises:
            SpinetError: it is something else.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise SpinetError(f"{where} is not a benchmark report of this version: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write the JSON file."""
        write_atomically(Path(path), self.to_json())
