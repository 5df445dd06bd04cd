"""How fast networks are on this machine, in turn with each other and with what the machine can do at most."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

import torch

from spinet.arch.head_cost import Head
from spinet.benchmark.ceilings import MEMORY, STAGE, Ceiling, fastest, matrix_ceilings, memory_ceiling
from spinet.benchmark.entries import Backend, Entry, Subject, explained, photos, torch_entry
from spinet.benchmark.peers import PREFIX, peer_entry
from spinet.benchmark.rounds import Spread, peak_memory
from spinet.benchmark.sessions import Exports, file_entry
from spinet.data.stream import check_numbers
from spinet.deploy.manifest import Precision
from spinet.deploy.sessions import exported_file
from spinet.engine.machine import describe_machine, threads
from spinet.errors import SpinetError, unknown_name
from spinet.files import write_atomically
from spinet.timing import interleave

# Which precisions a backend computes in.
COMPUTES: dict[str, tuple[Precision, ...]] = {
    "eager": ("fp32", "bf16"),
    "compile": ("fp32", "bf16"),
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16", "int8"),
}


@dataclass(frozen=True)
class BenchmarkOptions:
    """How networks are measured.

    Attributes:
        image_size: side of the networks' square images, pixels; photos are a quarter larger.
        batch_size: images at once.
        backends: that run each network, as far as they compute in a precision.
        precisions: of the arithmetic.
        head: on architectures and baselines.
        classes: likewise.
        threads: of the CPU, in all runtimes; 0 takes as many as PyTorch does.
        rounds: measured runs of each.
        warm_up: runs before.
        calibration: folder of photos for int8.
        against: name of the network that the others are compared with; the first one if empty.
        ceiling_side: side of the matrices whose product is the ceiling; one that suits the device if None.
        ceiling_numbers: numbers in the arrays that memory is measured with; likewise.

    Raises:
        SpinetError: a number is below 1, or a backend or precision is unknown or fits none of the others.
    """

    image_size: int = 640
    batch_size: int = 1
    backends: tuple[Backend, ...] = ("eager",)
    precisions: tuple[Precision, ...] = ("fp32",)
    head: Head = "retinanet"
    classes: int = 91
    threads: int = 0
    rounds: int = 20
    warm_up: int = 2
    calibration: Path | None = None
    against: str = ""
    ceiling_side: int | None = None
    ceiling_numbers: int | None = None

    def __post_init__(self) -> None:
        check_numbers(image_size=self.image_size, batch_size=self.batch_size, classes=self.classes, rounds=self.rounds)
        if self.threads < 0 or self.warm_up < 0:
            raise SpinetError("threads and warm_up are 0 or more")
        for backend in self.backends:
            if backend not in COMPUTES:
                raise unknown_name("backend", backend, COMPUTES)
        for precision in self.precisions:
            if precision not in get_args(Precision):
                raise unknown_name("precision", precision, get_args(Precision))
            if not any(precision in COMPUTES[backend] for backend in self.backends):
                able = [name for name, known in COMPUTES.items() if precision in known]
                raise SpinetError(
                    f"no backend of {', '.join(self.backends)} computes in {precision}; {', '.join(able)} can"
                )
        heads = [head for head in get_args(Head) if head != "none"]
        if self.head not in heads:
            raise unknown_name("head", self.head, heads)


@dataclass(frozen=True)
class Line:
    """What was measured of one network.

    Attributes:
        name: of the network.
        backend: what ran it.
        precision: of its arithmetic.
        images: of one run.
        stages: milliseconds of each stage of a run.
        whole: the stage that is all of them.
        images_per_second: by the median of the whole.
        ratio: its time for an image by that of the network it is compared with, in each round; None for what is no
            network.
        macs: multiply-adds (the paper's FLOPs) of one image by the architecture, None if unknown.
        work_macs: multiply-adds that one run executes: fused networks do with less; None if unknown.
        macs_per_second: executed, by the median of the network alone; None if unknown.
        ceiling: that this is a share of: the fastest matrix product in this precision; None if unknown.
        share: of the ceiling; None if unknown.
        memory_share: of the machine's memory bandwidth, if every operator's tensors came from and went to memory.
        peak_bytes: most memory that a run takes beyond what was taken before; None if unknown.
    """

    name: str
    backend: str
    precision: Precision
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
class Report:
    """A benchmark: how, where, what.

    Attributes:
        options: settings as plain values.
        machine: see `engine.machine.describe_machine`; "load_average_after" is that of the end.
        ceilings: multiply-adds a second of the matrix products, bytes a second of the memory.
        lines: one for each network and way to run it.
    """

    options: dict[str, Any]
    machine: dict[str, Any]
    ceilings: dict[str, float]
    lines: tuple[Line, ...]

    def to_json(self) -> str:
        """Return all as JSON text."""
        return json.dumps(asdict(self), indent=1, default=str) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Read what `to_json` wrote; `where` names it in errors.

        Raises:
            SpinetError: it is something else.
        """
        try:
            data = json.loads(text)
            lines = []
            for line in data["lines"]:
                stages = {name: Spread(**spread) for name, spread in line["stages"].items()}
                ratio = Spread(**line["ratio"]) if line["ratio"] else None
                lines.append(Line(**line | {"stages": stages, "ratio": ratio}))
            return cls(data["options"], data["machine"], data["ceilings"], tuple(lines))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpinetError(f"{where} is not a benchmark that this version wrote: {error!r:.100}") from None

    def write(self, path: Path) -> None:
        """Write a JSON file."""
        write_atomically(path, self.to_json())


def benchmark(
    names: Sequence[str],
    options: BenchmarkOptions,
    device: torch.device,
    each: Callable[[int], object] = lambda _: None,
) -> Report:
    """Measure networks: pre-processing, network and post-processing of photos that are decoded already.

    Args:
        names: architectures, baselines, run folders, weights files, exported files, and `torchvision/NAME`.
        options: how.
        device: where PyTorch computes; the other runtimes take the CPU.
        each: is called with the number of rounds that are done.

    Raises:
        SpinetError: a name is unknown, a package is missing, a file cannot be read, or a network does not compile.
    """
    if not names:
        raise SpinetError("no network given; name architectures, baselines, runs, exported files or torchvision/NAME")
    options = replace(options, threads=options.threads or torch.get_num_threads())
    with threads(options.threads):
        return measure([entry for name in names for entry in entries(name, options, device)], options, device, each)


def entries(name: str, options: BenchmarkOptions, device: torch.device) -> Iterator[Entry]:
    """Make a network ready to be run by each backend in each precision that goes with it.

    Raises:
        SpinetError: see `benchmark`.
    """
    images = photos(options.batch_size, options.image_size)
    pairs = [(b, p) for b in options.backends for p in options.precisions if p in COMPUTES[b]]
    if name.startswith(PREFIX):
        # Whatever our networks are run by, this is how torchvision's are.
        for backend, precision in dict.fromkeys((("eager", "fp32"), *pairs)):
            if backend in ("eager", "compile") and precision != "int8":
                yield peer_entry(name, backend, precision, images, device, options.classes, options.image_size)
        return
    if exported_file(Path(name)) is not None:
        yield file_entry(Path(name), options.image_size, options.threads)
        return
    subject = Subject.load(name, options.head, options.classes, options.image_size)
    exports: Exports | None = None
    for backend, precision in pairs:
        if backend == "eager" or backend == "compile":
            assert precision != "int8"
            yield torch_entry(subject, backend, precision, images, device)
        else:
            exports = exports or Exports(subject, images, options.threads, options.calibration)
            yield exports.entry(backend, precision)


def measure(
    found: Sequence[Entry],
    options: BenchmarkOptions,
    device: torch.device,
    each: Callable[[int], object] = lambda _: None,
) -> Report:
    """Run entries and ceilings in turn.

    Raises:
        SpinetError: the network to compare with is none of them, or one does not compile.
    """
    first = _compared_with(found, options.against)
    machine = describe_machine(device)
    ceilings = [memory_ceiling(device, options.ceiling_numbers)]
    for precision in dict.fromkeys(entry.precision for entry in found if entry.work):
        ceilings += matrix_ceilings(precision, device, options.threads, options.ceiling_side)
    runs = {str(place): entry.run for place, entry in enumerate(found)} | {limit.name: limit.run for limit in ceilings}
    for entry in found:
        with explained(entry.name, entry.backend, entry.precision, entry.images):
            entry.run()
    peaks = [peak_memory(entry.run, device) for entry in found]
    times = interleave(runs, options.rounds, options.warm_up, each)
    rates = {limit.name: _rate(limit, times[limit.name][STAGE]) for limit in ceilings}
    whole = found[first].whole
    base = [seconds / found[first].images for seconds in times[str(first)][whole]]
    lines = [
        _line(entry, times[str(place)], base if entry.whole == whole else None, rates, peak)
        for place, (entry, peak) in enumerate(zip(found, peaks, strict=True))
    ]
    machine["load_average_after"] = describe_machine(device)["load_average"]
    return Report(json.loads(json.dumps(asdict(options), default=str)), machine, rates, tuple(lines))


def _compared_with(found: Sequence[Entry], name: str) -> int:
    names = [entry.name for entry in found]
    if name and name not in names:
        raise unknown_name("network to compare with", name, list(dict.fromkeys(names)))
    return names.index(name) if name else 0


def _rate(limit: Ceiling, seconds: list[float]) -> float:
    # The quicker quartile: a ceiling is what can be reached, not what is usual.
    return limit.amount / Spread.of(seconds).low


def _line(
    entry: Entry, times: dict[str, list[float]], base: list[float] | None, rates: dict[str, float], peak: int | None
) -> Line:
    stages = {name: Spread.of([1000 * value for value in values]) for name, values in times.items()}
    own = [seconds / entry.images for seconds in times[entry.whole]]
    ratio = Spread.of([mine / other for mine, other in zip(own, base, strict=True)]) if base else None
    ceiling = speed = share = memory = None
    if entry.work and entry.core in stages:
        seconds = stages[entry.core].median / 1000
        speed, ceiling = entry.work.macs / seconds, fastest(entry.precision, rates)
        share = speed / rates[ceiling]
        memory = entry.work.bytes / seconds / rates[MEMORY]
    return Line(
        entry.name,
        entry.backend,
        entry.precision,
        entry.images,
        stages,
        entry.whole,
        1000 * entry.images / stages[entry.whole].median,
        ratio,
        entry.macs,
        entry.work.macs if entry.work else None,
        speed,
        ceiling,
        share,
        memory,
        peak,
    )
