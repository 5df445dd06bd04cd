"""Training a network: checks what can be checked before the first step, opens or resumes the run, and trains."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from spinet.arch.catalog import load_network
from spinet.data.dataset import ImageDataset
from spinet.data.findings import refuse
from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import read_state
from spinet.engine.config import TrainConfig, differences, read_config
from spinet.engine.distributed import ProcessGroup, pick_device, process_group
from spinet.engine.loop import TrainRun
from spinet.engine.state import TrainState
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.files import write_atomically

# Settings that may differ when a run is resumed, because they do not change the result. `data.augment_on` does, because
# GPUs round differently when resizing.
RESUME_MAY_CHANGE = ("data.workers", "data.cache_images", "log_steps", "save_seconds", "device")


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        last: metrics on the val split at the end; `best`: those of the evaluation with the best score (boxes: AP).
        steps: optimizer steps of the run.
        seconds: duration of this call.
        losses: (step, mean loss since the previous one) of each line of metrics of this call.
        model: the network with the last evaluated weights, in evaluation mode.
    """

    last: dict[str, float]
    best: dict[str, float]
    steps: int
    seconds: float
    losses: tuple[tuple[int, float], ...]
    model: Model


def train(
    config: TrainConfig,
    run: Path | None,
    *,
    train_set: ImageDataset | None = None,
    val_set: ImageDataset | None = None,
    info: ModelInfo | None = None,
    quiet: bool = False,
) -> TrainResult:
    """Train a network, or resume an interrupted run; on a CPU the result is bit-equal either way.

    Args:
        config: all settings.
        run: run folder: `config.json`, `metrics.jsonl`, `tensorboard/`, `last.safetensors`, `best.safetensors` and
            `state.pt`. A folder with identical settings is resumed. None writes nothing and cannot be resumed, for the
            short trainings of a search.
        train_set: training images, instead of those of `config.data`.
        val_set: validation images, likewise.
        info: the network, instead of that of `config.model`.
        quiet: print nothing.

    Returns:
        The metrics, also of a run that had already finished.

    Raises:
        SpinetError: the settings or data are invalid, the folder has different settings, or a file cannot be written.
            Its subclasses: the network cannot be built (`BuildError`), a step does not fit into memory (`OutOfMemory`),
            or a loss is not finite (`NotFinite`).
    """
    device = pick_device(config.device)
    with ExitStack() as stack:
        group = stack.enter_context(process_group(device))
        if device.type == "cuda" and group.count > 1:
            device = torch.device("cuda", group.local)
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        _check_batch(config, group)
        _check_run(config, run)
        task = task_of(config.model)
        train_set = train_set or task.open(config, "train")
        val_set = val_set or task.open(config, "val")
        findings = task.findings(config, train_set, val_set)
        refuse(findings)
        val_set = task.aligned(train_set, val_set)
        torch.manual_seed(config.seed)
        info = info or model_info(config, train_set)
        _check_background(info)
        resumed = run is not None and (run / "state.pt").is_file()
        state = TrainState(info, config, device, resumed)
        if run is not None and resumed:
            state.load(read_state(run / "state.pt", info.architecture))
        if run is not None and group.is_main:
            write_atomically(run / "config.json", config.to_json())
        training = TrainRun(config, run, task, state, train_set, val_set, findings, group, device, quiet)
        started = time.monotonic()
        training.loop()
        seconds, losses = time.monotonic() - started, tuple(training.losses)
        return TrainResult(state.last, state.best, training.steps, seconds, losses, state.evaluated(device).eval())


def model_info(config: TrainConfig, dataset: ImageDataset) -> ModelInfo:
    """Describe the network that `config` trains on `dataset`."""
    return ModelInfo(
        load_network(config.model.arch),
        config.model,
        dataset.class_names,
        dataset.category_ids,
        config.data.image_size,
    )


def _check_background(info: ModelInfo) -> None:
    """Refuse to hide the first class of a dataset without a background class."""
    first = info.class_names[0]
    if info.model.background and first != "background":
        raise SpinetError(
            f"model.background is for datasets whose first class is 'background'; here it is {first!r}, which would "
            "never be predicted"
        )


def _check_batch(config: TrainConfig, group: ProcessGroup) -> None:
    parts = group.count * config.accumulate
    if config.batch_size % parts:
        raise SpinetError(
            f"batch_size is {config.batch_size}; must be a multiple of {group.count} processes x {config.accumulate} "
            "parts (accumulate)"
        )


def _check_run(config: TrainConfig, run: Path | None) -> None:
    """Refuse a folder that was trained with different settings."""
    if not config.data.root:
        folder = "image folders" if config.model.head == "classifier" else "a folder in COCO, YOLO or Pascal VOC format"
        raise SpinetError(f"data.root is not set; it must be {folder}")
    # Without a state nothing has been trained, so settings may be corrected after a failed start.
    if run is None or not (run / "state.pt").is_file() or not (run / "config.json").is_file():
        return
    before = read_config(run / "config.json")
    changed = differences(before, config)
    if Path(before.data.root).resolve() == Path(config.data.root).resolve():
        changed.pop("data.root", None)
    harmful = [name for name in changed if name not in RESUME_MAY_CHANGE]
    if harmful:
        shown = ", ".join(f"{name} was {changed[name][0]!r}, now {changed[name][1]!r}" for name in harmful[:4])
        raise SpinetError(f"{run} was trained with different settings ({shown}); use another run folder")
