"""How fast models train: the stages of a step, and data loading beside decoding alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from spinet.benchmark.benchmark import measure_cases
from spinet.benchmark.cases import Case, Subject, explained
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.peers import PREFIX, compile_peer, create_peer
from spinet.benchmark.report import BenchmarkReport
from spinet.benchmark.work import count_work
from spinet.deploy.manifest import ExportPrecision
from spinet.deploy.sessions import exported_file
from spinet.engine.build import WITHOUT_MASKS
from spinet.engine.compiling import compile_for_training
from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.distributed import ProcessGroup
from spinet.engine.machine import choose_threads, threads
from spinet.engine.optim import clip_gradients, create_optimizer
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.timing import Clock, timed

STEP, LOADING = "step", "loading"
# Per synthetic training image.
OBJECTS = 8
Losses = Callable[[], dict[str, Tensor]]


def benchmark_training(
    names: Sequence[str],
    options: BenchmarkOptions,
    device: torch.device | str,
    root: str | Path = "",
    progress: Callable[[int], object] = lambda _: None,
) -> BenchmarkReport:
    """Measure training steps on synthetic batches and, given a dataset folder `root`, how fast its batches load.

    Only the backends eager and compile train, in fp32 and bf16; for the other arguments see `benchmark`.

    Raises:
        SpinetError: a name is unknown, or a backend, precision or file cannot be trained.
    """
    if not names and not root:
        raise SpinetError("nothing to measure; name models or a dataset (data.root)")
    for choice in (*options.backends, *options.precisions):
        if choice in ("onnxruntime", "openvino", "int8"):
            raise SpinetError(f"{choice} cannot train; use eager or compile in fp32 or bf16")
    device = torch.device(device)
    options = replace(options, threads=choose_threads(options.threads))
    with threads(options.threads):
        cases = [step_case(name, *pair, options, device) for name in names for pair in options.runs()]
        return measure_cases(cases + (loading_cases(root, options) if root else []), options, device, progress)


def step_case(name: str, backend: str, precision: str, options: BenchmarkOptions, device: torch.device) -> Case:
    """Return a training step: forward pass with losses, backward pass, clipping and update."""
    if exported_file(Path(name)) is not None:
        raise SpinetError(f"{name} is an exported file, which cannot be trained; name the run it was exported from")
    build = _peer_step if name.startswith(PREFIX) else _our_step
    model, losses, macs = build(name, options, device, backend == "compile")
    optimizer = create_optimizer(model, OptimConfig())
    clock = Clock(device)

    def run() -> dict[str, float]:
        clock.start()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            total = torch.stack(list(losses().values())).sum()
        clock.lap("forward")
        total.backward()  # type: ignore[no-untyped-call]
        clock.lap("backward")
        clip_gradients(model.parameters(), OptimConfig().clip_norm)
        optimizer.step()
        clock.lap("update")
        return clock.total(STEP)

    # Compiled models cannot be counted; they compute the same.
    with explained(name, backend, precision, options.batch_size):
        work = None if backend == "compile" else count_work(run)
    return Case(
        name, backend, cast(ExportPrecision, precision), run, options.batch_size, macs, work, whole=STEP, core=STEP
    )


def _our_step(
    name: str, options: BenchmarkOptions, device: torch.device, compiled: bool
) -> tuple[Any, Losses, int | None]:
    subject = Subject.load(name, options)
    model: Any = subject.model.to(device).train()
    # A run has its own head and classes.
    head, classes = subject.info.model.head, len(subject.info.class_names)
    targets = make_targets(replace(options, head=head, classes=classes), head in WITHOUT_MASKS, device)
    model.to(memory_format=torch.channels_last)
    images = _images(options, device).contiguous(memory_format=torch.channels_last)
    if compiled:
        compile_for_training(model)
    return model, lambda: cast(dict[str, Tensor], model.losses(images, targets)), subject.macs()


def _peer_step(
    name: str, options: BenchmarkOptions, device: torch.device, compiled: bool
) -> tuple[Any, Losses, int | None]:
    model: Any = create_peer(name, options.classes, options.image_size).to(device).train()
    images, size = _images(options, device), options.image_size
    targets = make_targets(replace(options, head="retinanet"), False, device)
    if hasattr(model, "roi_heads") and model.roi_heads.has_mask():
        targets["masks"] = images.new_ones(len(images), OBJECTS, size, size, dtype=torch.uint8)
    per_image = [dict(zip(targets, values, strict=True)) for values in zip(*targets.values(), strict=True)]
    if compiled:
        compile_peer(model)
    # torchvision's transform writes into the dictionaries it gets.
    return model, lambda: cast(dict[str, Tensor], model(list(images), [dict(one) for one in per_image])), None


def _images(options: BenchmarkOptions, device: torch.device) -> Tensor:
    return torch.randn(options.batch_size, 3, options.image_size, options.image_size, device=device)


def make_targets(options: BenchmarkOptions, masks: bool, device: torch.device) -> dict[str, Tensor]:
    """Generate the same targets on every call: `OBJECTS` boxes of all sizes per image."""
    generator = torch.Generator().manual_seed(0)
    count, size, classes = options.batch_size, options.image_size, options.classes
    if options.head == "classifier":
        return {"labels": torch.randint(classes, (count,), generator=generator).to(device)}
    sides = size * (0.05 + 0.6 * torch.rand(count, OBJECTS, 2, generator=generator) ** 2)
    corners = torch.rand(count, OBJECTS, 2, generator=generator) * (size - sides)
    # Label 0 is torchvision's background.
    labels = torch.randint(1, max(classes, 2), (count, OBJECTS), generator=generator).clamp(max=classes - 1)
    targets = {"boxes": torch.cat([corners, corners + sides], dim=-1).to(device), "labels": labels.to(device)}
    if masks:
        targets["masks"] = torch.ones(count, OBJECTS, 112, 112, dtype=torch.uint8, device=device)
    return targets


def loading_cases(root: str | Path, options: BenchmarkOptions) -> list[Case]:
    """Return the loading of training batches, and the decoding of as many of their images, both in this process."""
    config = TrainConfig(
        model=ModelConfig(head=options.head),
        data=DataConfig(root=str(root), image_size=options.image_size, workers=0),
    )
    task, count, cpu = task_of(config.model), options.batch_size, torch.device("cpu")
    train: Any = task.open(config, "train")
    stream = iter(task.batches(config, train, part_size=count, first_batch=0, group=ProcessGroup()))
    indices = cycle(range(len(train)))
    calls: dict[str, Callable[[], object]] = {
        "decoding": lambda: [train.image(next(indices)) for _ in range(count)],
        "batches": lambda: next(stream),
    }
    runs = {f"{name} of {root}": timed(LOADING, call, cpu) for name, call in calls.items()}
    return [Case(name, "loader", "fp32", run, count, whole=LOADING, core=LOADING) for name, run in runs.items()]
