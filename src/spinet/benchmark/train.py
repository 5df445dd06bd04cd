"""How fast networks train on this machine: a step in its stages, and the loading of data beside decoding alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from spinet.benchmark.benchmark import BenchmarkOptions, Report, measure
from spinet.benchmark.entries import Entry, Subject, explained
from spinet.benchmark.peers import PREFIX, compile_peer, create_peer
from spinet.benchmark.rounds import count_work
from spinet.deploy.manifest import Precision
from spinet.deploy.sessions import exported_file
from spinet.engine.build import MASK_HEADS
from spinet.engine.compiling import compile_for_training
from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.distributed import Processes
from spinet.engine.machine import threads
from spinet.engine.optim import clip_gradients, create_optimizer
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.timing import Clock, timed

STEP, LOADING = "step", "loading"
# Objects of a made-up training image.
OBJECTS = 8
Losses = Callable[[], dict[str, Tensor]]


def benchmark_training(
    names: Sequence[str],
    options: BenchmarkOptions,
    device: torch.device,
    root: str = "",
    each: Callable[[int], object] = lambda _: None,
) -> Report:
    """Measure training steps on made-up batches, and with `root` the loading of a data set's.

    Args:
        names: architectures, baselines, run folders, weights files and `torchvision/NAME`.
        options: how; of the backends only eager and compile train, in fp32 and bf16.
        device: where.
        root: data set folder.
        each: is called with the number of rounds that are done.

    Raises:
        SpinetError: a name is unknown, or a backend, precision or file that cannot train is asked for.
    """
    if not names and not root:
        raise SpinetError("nothing to measure; name networks, or a data set by --data.root DIR")
    for what in (*options.backends, *options.precisions):
        if what in ("onnxruntime", "openvino", "int8"):
            raise SpinetError(f"{what} cannot train; allowed are the backends eager and compile in fp32 and bf16")
    options = replace(options, threads=options.threads or torch.get_num_threads())
    with threads(options.threads):
        found = [
            step_entry(name, backend, precision, options, device)
            for name in names
            for backend in options.backends
            for precision in options.precisions
        ]
        if root:
            found += data_entries(root, options)
        return measure(found, options, device, each)


def step_entry(name: str, backend: str, precision: Precision, options: BenchmarkOptions, device: torch.device) -> Entry:
    """Return a training step: forward pass with losses, backward pass, clipping and update.

    Raises:
        SpinetError: the name is unknown, or names an exported file.
    """
    if exported_file(Path(name)) is not None:
        raise SpinetError(f"{name} is an exported file, which cannot be trained; name the run that it came from")
    images = torch.randn(options.batch_size, 3, options.image_size, options.image_size, device=device)
    macs = None
    if name.startswith(PREFIX):
        model: Any = create_peer(name, options.classes, options.image_size).to(device).train()
        losses = peer_losses(model, images, make_targets(options, options.head in MASK_HEADS, device))
        if backend == "compile":
            compile_peer(model)
    else:
        subject = Subject.load(name, options.head, options.classes, options.image_size)
        model, macs = subject.model.to(device).train(), subject.macs()
        # A run has a head and classes of its own.
        head, classes = subject.info.model.head, len(subject.info.class_names)
        targets = make_targets(replace(options, head=head, classes=classes), head in MASK_HEADS, device)
        model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
        if backend == "compile":
            compile_for_training(model)

        def losses() -> dict[str, Tensor]:
            return cast(dict[str, Tensor], model.losses(images, targets))

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

    # What is compiled cannot be counted, and computes the same.
    with explained(name, backend, precision, options.batch_size):
        work = None if backend == "compile" else count_work(run)
    return Entry(name, backend, precision, run, options.batch_size, macs, work, whole=STEP, core=STEP)


def make_targets(options: BenchmarkOptions, masks: bool, device: torch.device) -> dict[str, Tensor]:
    """Make up what is to be learnt of a batch: as many objects in each image, of all sizes, always the same."""
    generator = torch.Generator().manual_seed(0)
    count, size = options.batch_size, options.image_size
    if options.head == "classifier":
        return {"labels": torch.randint(options.classes, (count,), generator=generator).to(device)}
    sides = size * (0.05 + 0.6 * torch.rand(count, OBJECTS, 2, generator=generator) ** 2)
    corners = torch.rand(count, OBJECTS, 2, generator=generator) * (size - sides)
    targets = {
        "boxes": torch.cat([corners, corners + sides], dim=-1).to(device),
        # Label 0 is torchvision's background.
        "labels": torch.randint(1, max(options.classes, 2), (count, OBJECTS), generator=generator)
        .clamp(max=options.classes - 1)
        .to(device),
    }
    if masks:
        targets["masks"] = torch.ones(count, OBJECTS, 112, 112, dtype=torch.uint8, device=device)
    return targets


def peer_losses(model: Any, images: Tensor, targets: dict[str, Tensor]) -> Losses:
    """Return the losses of torchvision's network as a call; masks, if it has any, are as large as its images."""
    size = images.shape[-1]
    each = [
        {"boxes": boxes, "labels": labels}
        | ({"masks": images.new_ones(len(labels), size, size, dtype=torch.uint8)} if _has_masks(model) else {})
        for boxes, labels in zip(targets["boxes"], targets["labels"], strict=True)
    ]
    return lambda: cast(dict[str, Tensor], model(list(images), [dict(one) for one in each]))


def _has_masks(model: Any) -> bool:
    heads = getattr(model, "roi_heads", None)
    return heads is not None and heads.has_mask()


def data_entries(root: str, options: BenchmarkOptions) -> list[Entry]:
    """Return the making of training batches, and the decoding of as many of the same photos, both in this process.

    Raises:
        SpinetError: the data set cannot be read.
    """
    config = TrainConfig(
        model=ModelConfig(head=cast(Any, options.head)), data=DataConfig(root=root, image_size=options.image_size)
    )
    config = replace(config, data=replace(config.data, workers=0))
    task = task_of(config.model)
    train: Any = task.open(config, "train")
    group = Processes()
    stream = iter(task.batches(config, train, part_size=options.batch_size, first_batch=0, group=group))
    places = _endless(len(train))

    def decode() -> None:
        for _ in range(options.batch_size):
            train.image(next(places))

    cpu = torch.device("cpu")
    calls: dict[str, Callable[[], object]] = {"decoding": decode, "batches": lambda: next(stream)}
    return [
        Entry(
            f"{name} of {root}",
            "loader",
            "fp32",
            timed(LOADING, call, cpu),
            options.batch_size,
            whole=LOADING,
            core=LOADING,
        )
        for name, call in calls.items()
    ]


def _endless(count: int) -> Iterator[int]:
    while True:
        yield from range(count)
