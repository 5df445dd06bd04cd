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

    Attributes:
        name: of the model.
        backend: that ran it.
        precision: of its arithmetic.
        images: per run.
        stages: milliseconds of each stage of a run.
        whole: name of the stage that is the whole run.
        images_per_second: by the median of the whole run.
        ratio: time per image divided by that of the reference model, per round; None if their runs differ in kind.
        macs: multiply-adds of one image (the paper's FLOPs) by the architecture; None if unknown, as all below.
        work_macs: multiply-adds that one run executes; fused networks need fewer.
        macs_per_second: executed, by the median of the network stage.
        ceiling: name of the fastest matrix product in this precision.
        share: fraction of that ceiling.
        memory_share: fraction of the memory bandwidth, if every operator read its tensors from memory.
        peak_bytes: memory that a run takes on top of what was allocated before.
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
    """Settings, machine and results.

    Attributes:
        options: `BenchmarkOptions` as plain values.
        machine: see `engine.machine.describe_machine`; "load_average_after" is the load at the end.
        ceilings: multiply-adds per second of the matrix products, bytes per second of the memory.
        lines: one per model, backend and precision.
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
