"""`spinet benchmark`: how fast networks are on this machine."""

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from spinet.arch.head_cost import Head
from spinet.commands.console import say
from spinet.errors import SpinetError

if TYPE_CHECKING:
    import torch

    from spinet.benchmark.benchmark import BenchmarkOptions, Line, Report
    from spinet.benchmark.rounds import Spread


def benchmark_command(args: list[str]) -> None:
    """Time of networks, beside each other and what this machine can do at most."""

    def command(
        names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
        image_size: int = 640,
        batch_size: int = 1,
        backend: tuple[Literal["eager", "compile", "onnxruntime", "openvino"], ...] = ("eager",),
        precision: tuple[Literal["fp32", "bf16", "int8"], ...] = ("fp32",),
        head: Head = "retinanet",
        classes: int = 91,
        threads: int = 0,
        rounds: int = 20,
        warm_up: int = 2,
        device: str = "auto",
        calibration: Path | None = None,
        against: str = "",
        train: bool = False,
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
        blocks: bool = False,
        json: bool = False,
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    ) -> None:
        """Measure networks in turn: pre-processing, network and post-processing of a decoded photo, and all of it.

        Times are medians of rounds in which all take their turn, with quartiles, so that a busy machine hits all alike;
        ratios are taken round by round. Architectures have untrained weights, which find nothing: name a run or an
        exported file where post-processing counts.

        Args:
            names: Architectures, baselines, run folders, weights files, exported files, and torchvision/NAME, such as
                torchvision/retinanet_resnet50_fpn, which runs in PyTorch whatever runs the others.
            image_size: Side of the networks' images, pixels.
            batch_size: Images at once; exported files take their own number.
            backend: One or more that run each network.
            precision: One or more; bf16 is not for onnxruntime, int8 for openvino only.
            head: On architectures and baselines.
            classes: Likewise; torchvision's count the background too.
            threads: Of the CPU, in all runtimes; 0 takes as many as PyTorch does.
            rounds: Measured runs of each.
            warm_up: Runs of each before.
            device: `auto`, `cpu`, `cuda` ...
            calibration: Folder of photos for int8.
            against: Network that the others' times are divided by; the first one if left out.
            train: Measure training steps on made-up batches instead: forward, backward, update.
            root: With --train: data set folder, to measure the loading of batches beside the decoding of photos.
            blocks: Measure every block, connection and endpoint of one architecture instead, in the format of
                `spinet search latency`.
            json: Print JSON instead of a table.
            out: JSON file to write, with the device, versions, commit and load of the machine.
        """
        from spinet.engine.distributed import pick_device

        place = pick_device(device)
        if root and not train:
            raise SpinetError("--data.root is for --train, which measures loading beside training")
        if blocks:
            if train or json:
                raise SpinetError("--blocks writes a table of parts; --train and --json are for whole networks")
            if (backend, precision, batch_size, head) != (("eager",), ("fp32",), 1, "retinanet"):
                raise SpinetError(
                    "--blocks measures single images in eager fp32 with RetinaNet's head; "
                    "--backend, --precision, --batch-size and --head are for whole networks"
                )
            _measure_blocks(names, image_size, place, classes, rounds, out)
            return
        from spinet.benchmark.benchmark import BenchmarkOptions

        options = BenchmarkOptions(
            image_size, batch_size, backend, precision, head, classes, threads, rounds, warm_up, calibration, against
        )
        report = _measure(names, options, place, train, root)
        if out:
            report.write(out)
        if json:
            sys.stdout.write(json_module.dumps(json_module.loads(report.to_json())) + "\n")
            return
        print_report(report)
        if out:
            say(f"{out}")

    tyro.cli(command, args=args, prog="spinet benchmark")


def _measure(names: list[str], options: "BenchmarkOptions", device: "torch.device", train: bool, root: str) -> "Report":
    from spinet.benchmark.benchmark import benchmark
    from spinet.benchmark.train import benchmark_training

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("rounds", total=options.rounds + options.warm_up)

        def each(done: int) -> None:
            bar.update(task, completed=done)

        if train:
            return benchmark_training(names, options, device, root, each)
        return benchmark(names, options, device, each)


def print_report(report: "Report") -> None:
    """Print a benchmark: the machine, its ceilings, the times of all networks, and how far from the limit they are."""
    machine = report.machine
    say(f"{machine['device']}; torch {machine['versions']['torch']}; load {machine['load_average']}")
    for name, rate in report.ceilings.items():
        unit = "GB/s" if name == "memory" else "G multiply-adds/s (GFLOPs in the paper's words)"
        say(f"ceiling, {name}: {rate / 1e9:.1f} {unit}")
    stages = list(dict.fromkeys(stage for line in report.lines for stage in line.stages))
    times = _table("network", "backend", *(f"{stage} ms" for stage in stages), "images/s", "ratio")
    work = _table("network", "backend", "GMACs", "GMACs/s", "of ceiling", "of memory", "peak MB")
    for line in report.lines:
        what = (line.name, f"{line.backend} {line.precision}")
        found = (_spread(line.stages.get(stage), ".1f") for stage in stages)
        times.add_row(*what, *found, f"{line.images_per_second:.3g}", _spread(line.ratio, ".3f"))
        work.add_row(*what, *_work(line))
    for table in (times, work):
        # A table that is wider than the screen is easier to read than one whose words are cut.
        width = Console(width=10_000).measure(table).maximum
        Console(highlight=False, soft_wrap=True, width=width).print(table)


def _table(*headings: str) -> Table:
    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _spread(spread: "Spread | None", shape: str) -> str:
    if spread is None:
        return "-"
    median, low, high = (format(value, shape) for value in (spread.median, spread.low, spread.high))
    return f"{median} ({low}-{high})"


def _work(line: "Line") -> tuple[str, ...]:
    return (
        _number(line.macs, 1e9, ".2f"),
        _number(line.macs_per_second, 1e9, ".1f"),
        _number(line.share, 1, ".0%"),
        _number(line.memory_share, 1, ".0%"),
        _number(line.peak_bytes, 1e6, ".0f"),
    )


def _number(value: float | None, unit: float, shape: str) -> str:
    return "-" if value is None else format(value / unit, shape)


def _measure_blocks(
    names: list[str], image_size: int, device: "torch.device", classes: int, rounds: int, out: Path | None
) -> None:
    """Write the table of an architecture's parts, and print it by what they take of the network."""
    from spinet.arch.catalog import load_architecture
    from spinet.nas.constraints import part_keys
    from spinet.nas.latency import measure_latency, space_of

    if len(names) != 1 or out is None:
        raise SpinetError("--blocks measures one architecture and writes a table; give one NAME and --out FILE.json")
    architecture = load_architecture(names[0])
    table = measure_latency(
        space_of(architecture), out, image_size=image_size, device=str(device), num_classes=classes, repeats=rounds
    )
    keys = part_keys(architecture)
    shown = Table("part", "times", "ms each", "ms", box=None)
    for key in sorted(set(keys), key=lambda each: -keys.count(each) * table.milliseconds[each]):
        each, count = table.milliseconds[key], keys.count(key)
        shown.add_row(key, str(count), f"{each:.3f}", f"{count * each:.2f}")
    say(shown)
    say(f"{names[0]} at {image_size} px: {table.latency(architecture):.1f} ms on {table.device}, the sum of its parts")
    say(f"{out}")
