"""`spinet benchmark`: model latency, and the hardware's peak."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from spinet.benchmark.options import BenchmarkOptions
from spinet.commands.console import say
from spinet.errors import SpinetError

if TYPE_CHECKING:
    from spinet.benchmark.report import BenchmarkLine, BenchmarkReport, Spread


@dataclass(frozen=True)
class Arguments:
    """Measure models in turn: pre-processing, network and post-processing of decoded images, and the whole pipeline.

    Times are medians over rounds in which every model takes its turn, with quartiles, so that other load on the machine
    affects all alike; ratios are taken per round. Architectures have untrained weights, which detect nothing: name a
    run or an exported file if post-processing matters.

    Attributes:
        names: Architectures, baselines, run folders, weights files, exported files, and torchvision/NAME, such as
            torchvision/retinanet_resnet50_fpn, which always runs in PyTorch.
        device: `auto`, `cpu`, `cuda` ...
        train: Measure training steps on synthetic batches instead: forward, backward, update.
        root: With --train: dataset folder, to measure batch loading and image decoding.
        blocks: Measure every block, connection and endpoint of one architecture instead, in the format of
            `spinet search latency`.
        json: Print JSON instead of tables.
        out: JSON file to write, with the device, versions, commit and load of the machine.
    """

    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
    options: Annotated[BenchmarkOptions, tyro.conf.arg(name="")]
    device: str = "auto"
    train: bool = False
    root: Annotated[str, tyro.conf.arg(name="data.root")] = ""
    blocks: bool = False
    json: bool = False
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None


def benchmark_command(args: list[str]) -> None:
    """Compare model latency with each other and with the hardware's peak."""
    chosen = tyro.cli(Arguments, args=args, prog="spinet benchmark")
    if chosen.root and not chosen.train:
        raise SpinetError("--data.root needs --train, which measures data loading next to training")
    if chosen.blocks:
        _measure_blocks(chosen)
        return
    report = _measure(chosen)
    if chosen.out:
        report.write(chosen.out)
    if chosen.json:
        sys.stdout.write(json.dumps(json.loads(report.to_json())) + "\n")
        return
    print_report(report)
    if chosen.out:
        say(f"{chosen.out}")


def _measure(chosen: Arguments) -> "BenchmarkReport":
    from spinet.benchmark.benchmark import benchmark
    from spinet.benchmark.train import benchmark_training
    from spinet.engine.distributed import pick_device

    options, device = chosen.options, pick_device(chosen.device)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("rounds", total=options.rounds + options.warm_up)
        progress: Callable[[int], object] = lambda done: bar.update(task, completed=done)  # noqa: E731
        if chosen.train:
            return benchmark_training(chosen.names, options, device, chosen.root, progress)
        return benchmark(chosen.names, options, device, progress)


def print_report(report: "BenchmarkReport") -> None:
    """Print the machine, its ceilings, the times of all models, and how close they come to the hardware's limits."""
    machine = report.machine
    say(f"{machine['device']}; torch {machine['versions']['torch']}; load {machine['load_average']}")
    for name, rate in report.ceilings.items():
        unit = "GB/s" if name == "memory" else "GMACs/s (GFLOPs/s in the paper's terms)"
        say(f"ceiling, {name}: {rate / 1e9:.1f} {unit}")
    stages = list(dict.fromkeys(stage for line in report.lines for stage in line.stages))
    times = _table("model", "backend", *(f"{stage} ms" for stage in stages), "images/s", "ratio")
    work = _table("model", "backend", "GMACs", "GMACs/s", "of ceiling", "of memory", "peak MB")
    for line in report.lines:
        label = (line.name, f"{line.backend} {line.precision}")
        cells = (_spread(line.stages.get(stage), ".1f") for stage in stages)
        times.add_row(*label, *cells, f"{line.images_per_second:.3g}", _spread(line.ratio, ".3f"))
        work.add_row(*label, *_work(line))
    for table in (times, work):
        # A table wider than the screen is easier to read than one with cut words.
        width = Console(width=10_000).measure(table).maximum
        Console(highlight=False, soft_wrap=True, width=width).print(table)


def _table(*headings: str) -> Table:
    return Table(*(Column(heading, no_wrap=True) for heading in headings), box=None)


def _spread(spread: "Spread | None", shape: str) -> str:
    if spread is None:
        return "-"
    median, low, high = (format(value, shape) for value in (spread.median, spread.low, spread.high))
    return f"{median} ({low}-{high})"


def _work(line: "BenchmarkLine") -> tuple[str, ...]:
    values = (
        (line.macs, 1e9, ".2f"),
        (line.macs_per_second, 1e9, ".1f"),
        (line.share, 1, ".0%"),
        (line.memory_share, 1, ".0%"),
        (line.peak_bytes, 1e6, ".0f"),
    )
    return tuple("-" if value is None else format(value / unit, shape) for value, unit, shape in values)


def _measure_blocks(chosen: Arguments) -> None:
    """Write the latency table of an architecture's parts, and print it sorted by their total time."""
    from spinet.arch.catalog import load_architecture
    from spinet.engine.distributed import pick_device
    from spinet.nas.constraints import part_keys
    from spinet.nas.latency import measure_latency, space_of

    options, device, out = chosen.options, pick_device(chosen.device), chosen.out
    if chosen.train or chosen.json:
        raise SpinetError("--blocks writes a table of parts; --train and --json are for whole models")
    fixed = BenchmarkOptions()
    if replace(options, backends=fixed.backends, precisions=fixed.precisions, batch_size=1, head=fixed.head) != options:
        raise SpinetError(
            "--blocks measures single images in eager fp32 with RetinaNet's head; "
            "--backend, --precision, --batch-size and --head are for whole models"
        )
    if len(chosen.names) != 1 or out is None:
        raise SpinetError("--blocks measures one architecture and writes a table; give one NAME and --out FILE.json")
    architecture = load_architecture(chosen.names[0])
    table = measure_latency(
        space_of(architecture),
        out,
        image_size=options.image_size,
        device=str(device),
        num_classes=options.classes,
        repeats=options.rounds,
    )
    keys = part_keys(architecture)
    shown = Table("part", "times", "ms each", "ms", box=None)
    for key in sorted(set(keys), key=lambda key: -keys.count(key) * table.milliseconds[key]):
        one, count = table.milliseconds[key], keys.count(key)
        shown.add_row(key, str(count), f"{one:.3f}", f"{count * one:.2f}")
    say(shown)
    total = table.latency(architecture)
    say(f"{architecture.name} at {options.image_size} px: {total:.1f} ms on {table.device}, the sum of its parts")
    say(f"{out}")
