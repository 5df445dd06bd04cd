"""What a training says before its first step."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from spinet.data.dataset import ImageDataset
from spinet.engine.config import TrainConfig
from spinet.engine.distributed import ProcessGroup
from spinet.engine.freezing import count_trained
from spinet.engine.optim import describe_depth
from spinet.engine.state import TrainState


def announcement(
    config: TrainConfig,
    state: TrainState,
    datasets: Sequence[ImageDataset],
    remarks: Sequence[str],
    group: ProcessGroup,
    device: torch.device,
) -> Iterator[str]:
    """Yield sentences about data, model and learning rate."""
    for dataset in datasets:
        yield f"{dataset.split}: {len(dataset)} images, {len(dataset.class_names)} classes, from {dataset.root}"
    yield from remarks
    yield _model(config, state, device)
    yield from state.started
    rate = config.optim.lr * config.batch_size / config.optim.lr_batch
    part = config.batch_size // (group.count * config.accumulate)
    yield (
        f"learning rate: {rate:.4g} ({config.optim.lr:g} per {config.optim.lr_batch} images, scaled to batch size "
        f"{config.batch_size} = {group.count} processes x {config.accumulate} parts x {part})"
        + describe_depth(state.optimizer)
    )


def progress_so_far(folder: Path | None, step: int, steps: int, is_done: bool) -> Iterator[str]:
    """Yield a sentence about a run that is resumed, or that has already finished."""
    if folder is not None and is_done:
        yield f"{folder} has already finished; see {folder / 'metrics.jsonl'}"
    elif step:
        yield f"resuming {folder} at step {step} of {steps}"


def _model(config: TrainConfig, state: TrainState, device: torch.device) -> str:
    model = config.model
    arch = state.info.architecture.name if model.arch.startswith("{") else model.arch
    size = f" at the size of {model.scaling}" if model.scaling else ""
    return f"model: {model.head} on {arch}{size}, {count_trained(state.model)}, on {device}"
