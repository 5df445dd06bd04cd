"""Measures models in turn with each other and with the hardware's peak."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import torch

from spinet.benchmark.cases import Case, Subject, explained, synthetic_images, torch_case
from spinet.benchmark.ceilings import MEMORY, STAGE, fastest, matrix_ceilings, memory_ceiling
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.peers import PREFIX, peer_case
from spinet.benchmark.report import BenchmarkLine, BenchmarkReport, Spread
from spinet.benchmark.sessions import Exports, file_case
from spinet.benchmark.work import peak_memory
from spinet.deploy.sessions import exported_file
from spinet.engine.machine import choose_threads, describe_machine, threads
from spinet.errors import SpinetError, unknown_name
from spinet.timing import Run, interleave


def benchmark(
    names: Sequence[str],
    options: BenchmarkOptions,
    device: torch.device | str,
    progress: Callable[[int], object] = lambda _: None,
) -> BenchmarkReport:
    """Measure pre-processing, network and post-processing of images that are already decoded.

    Args:
        names: architectures, baselines, run folders, weights files, exported files, and `torchvision/NAME`.
        options: how.
        device: for PyTorch; the other runtimes use the CPU.
        progress: called with the number of finished rounds.

    Raises:
        SpinetError: a name is unknown, a package is missing, a file cannot be read, or a model does not compile.
    """
    if not names:
        raise SpinetError("nothing to measure; name architectures, baselines, runs, exported files or torchvision/NAME")
    device = torch.device(device)
    options = replace(options, threads=choose_threads(options.threads))
    with threads(options.threads):
        return measure_cases(
            [case for name in names for case in cases(name, options, device)], options, device, progress
        )


def cases(name: str, options: BenchmarkOptions, device: torch.device) -> Iterator[Case]:
    """Load a model and yield it ready to run, once per backend and precision."""
    images = synthetic_images(options.batch_size, options.image_size)
    if name.startswith(PREFIX):
        # torchvision's detectors always run in PyTorch, whatever backend the others use.
        for backend, precision in dict.fromkeys((("eager", "fp32"), *options.runs())):
            if backend in ("eager", "compile"):
                yield peer_case(name, backend, precision, images, device, options)
    elif exported_file(Path(name)) is not None:
        yield file_case(Path(name), options)
    else:
        subject = Subject.load(name, options)
        exports: Exports | None = None
        for backend, precision in options.runs():
            if backend in ("eager", "compile"):
                yield torch_case(subject, backend, precision, images, device)
            else:
                exports = exports or Exports(subject, images, options.threads, options.calibration)
                yield exports.case(cast(Any, backend), cast(Any, precision))


def measure_cases(
    entrants: Sequence[Case],
    options: BenchmarkOptions,
    device: torch.device,
    progress: Callable[[int], object] = lambda _: None,
) -> BenchmarkReport:
    """Run cases and ceilings in turn."""
    names = [case.name for case in entrants]
    if options.against and options.against not in names:
        raise unknown_name("model to compare with", options.against, set(names))
    reference = names.index(options.against) if options.against else 0
    machine = describe_machine(device)
    ceilings = [memory_ceiling(device, options.ceiling_numbers)]
    for precision in dict.fromkeys(case.precision for case in entrants if case.work):
        ceilings += matrix_ceilings(precision, device, options.threads, options.ceiling_side)
    for case in entrants:
        with explained(case.name, case.backend, case.precision, case.images):
            case.run()
    peaks = [peak_memory(case.run, device) for case in entrants]
    runs: dict[int | str, Run] = dict(enumerate(case.run for case in entrants))
    runs |= {limit.name: limit.run for limit in ceilings}
    times = interleave(runs, options.rounds, options.warm_up, progress)
    # The faster quartile: a ceiling is what the hardware can reach, not what is usual.
    rates = {limit.name: limit.amount / Spread.of(times[limit.name][STAGE]).low for limit in ceilings}
    whole = entrants[reference].whole
    base = [seconds / entrants[reference].images for seconds in times[reference][whole]]
    lines = [
        _line(case, times[index], base if case.whole == whole else None, rates, peak)
        for index, (case, peak) in enumerate(zip(entrants, peaks, strict=True))
    ]
    machine["load_average_after"] = describe_machine(device)["load_average"]
    plain = msgspec.json.decode(msgspec.json.encode(options, enc_hook=str))
    return BenchmarkReport(plain, machine, rates, tuple(lines))


def _line(
    case: Case, times: dict[str, list[float]], base: list[float] | None, rates: dict[str, float], peak: int | None
) -> BenchmarkLine:
    stages = {name: Spread.of([1000 * value for value in values]) for name, values in times.items()}
    per_image = [seconds / case.images for seconds in times[case.whole]]
    ratio = Spread.of([ours / other for ours, other in zip(per_image, base, strict=True)]) if base else None
    speed = ceiling = memory = None
    if case.work and case.core in stages:
        seconds = stages[case.core].median / 1000
        speed, ceiling = case.work.macs / seconds, fastest(case.precision, rates)
        memory = case.work.bytes / seconds / rates[MEMORY]
    return BenchmarkLine(
        case.name,
        case.backend,
        case.precision,
        case.images,
        stages,
        case.whole,
        images_per_second=1000 * case.images / stages[case.whole].median,
        ratio=ratio,
        macs=case.macs,
        work_macs=case.work.macs if case.work else None,
        macs_per_second=speed,
        ceiling=ceiling,
        share=speed / rates[ceiling] if speed and ceiling else None,
        memory_share=memory,
        peak_bytes=peak,
    )
