"""Training a network: checks what can be checked before the first step, opens or resumes the run, and trains."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from spinet.data.dataset import ImageDataset
from spinet.data.division_record import record
from spinet.engine.build import Model, ModelInfo, choose_network
from spinet.engine.config import ModelConfig, TrainConfig
from spinet.engine.distributed import ProcessGroup, pick_device, process_group
from spinet.engine.faults import explained
from spinet.engine.loop import TrainRun
from spinet.engine.machine import choose_threads, threads
from spinet.engine.resume import Origin, check_data, check_settings, notes
from spinet.engine.run_folder import exclusive
from spinet.engine.sessions import session
from spinet.engine.state import TrainState
from spinet.engine.state_file import read_state
from spinet.engine.task import task_of
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.formats.findings import refuse
from spinet.stop import Stop, stop_on_signals
from spinet.threads import describe_use
from spinet.track.trackers import Trackers

# Settings about the weights to start from.
NEED_WEIGHTS = ("new_classes", "class_start", "freeze", "freeze_norm")
# Hints that say what was chosen for the user.
SAID = ("division", "image names", "test set")


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
    evaluate: bool = True,
    trackers: Trackers | None = None,
    find_weights: Callable[[str], Path] = Path,
) -> TrainResult:
    """Train a network, or resume an interrupted run; on a CPU the result is bit-equal either way.

    Args:
        config: all settings.
        run: run folder: `config.json`, `metrics.jsonl`, `sessions.jsonl`, `tensorboard/`, `last.safetensors`,
            `best.safetensors` with its predictions on val (`val.npz`), `state.pt`, and `division.json` if the dataset
            was divided. A folder with identical settings is resumed. None writes nothing and cannot be resumed, for
            the short trainings of a search.
        train_set: training images, instead of those of `config.data`.
        val_set: validation images, likewise.
        info: the network, instead of that of `config.model`.
        quiet: print nothing.
        evaluate: False leaves out all evaluations, and best weights with them; the metrics are then empty.
        trackers: get a copy of settings and metrics; the caller closes them.
        find_weights: returns the file that `model.weights` stands for, where that may be an address; asked by each
            process, and not for a run that is resumed.

    Returns:
        The metrics, also of a run that had already finished.

    Raises:
        SpinetError: the settings or data are invalid, the folder has different settings or data or another process
            trains there, or a file cannot be written. Its subclasses: the network cannot be built (`BuildError`), a
            step does not fit into memory (`OutOfMemory`), a process that loads images was killed (`WorkerLost`), or a
            loss is not finite (`NotFinite`).
        Stopped: Ctrl-C or SIGTERM, a KeyboardInterrupt; the step that was running was finished and saved. A second
            signal does not wait for that.
    """
    device = pick_device(config.device)
    with ExitStack() as stack:
        stack.enter_context(threads(choose_threads(config.threads)))
        group = stack.enter_context(process_group(device))
        if device.type == "cuda" and group.count > 1:
            device = torch.device("cuda", group.local)
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        _check_batch(config, group)
        _check_root(config)
        _check_weights(config.model)
        images = config.batch_size // (group.count * config.accumulate)
        stack.enter_context(explained(images, config.data.image_size, device))
        if run is not None and group.is_main:
            stack.enter_context(exclusive(run))
        if run is not None:
            check_settings(config, run)
        task = task_of(config.model)
        train_set = train_set or task.open(config, "train", run)
        val_set = val_set or task.open(config, "val", run)
        findings = task.findings(config, train_set, val_set)
        refuse(findings)
        val_set = task.aligned(train_set, val_set)
        torch.manual_seed(config.seed)
        info = info or model_info(config, train_set)
        _check_background(info)
        resumed = run is not None and (run / "state.pt").is_file()
        pretrained = find_weights(config.model.weights) if config.model.weights and not resumed else None
        state = TrainState(info, config, device, resumed, pretrained)
        remarks = [f"warning: {finding.text}" for finding in findings if finding.severity == "warning"]
        remarks += [finding.text for finding in findings if finding.severity == "hint" and finding.check in SAID]
        remarks += _warm_up_remark(config)
        remarks += describe_use(torch.get_num_threads(), config.threads, config.data.workers)
        if run is not None:
            state.origin = Origin.of(train_set, val_set)
            remarks += _resume(config, run, state, device) if resumed else []
        if run is not None and group.is_main:
            write_atomically(run / "config.json", config.to_json())
            if train_set.division:
                record(run, *train_set.division)
        # Without a folder there is nothing to save, and the signals are those of the search.
        stop = Stop() if run is None else stack.enter_context(stop_on_signals(second_at_once=True))
        data = (train_set, val_set, remarks)
        training = TrainRun(config, run, task, state, *data, group, device, quiet, stop, trackers, evaluate)
        started = time.monotonic()
        if run is not None and group.is_main and not training.is_done:
            stack.enter_context(session(run, state, device, findings))
        training.loop()
        seconds, losses = time.monotonic() - started, tuple(training.losses)
        return TrainResult(state.last, state.best, training.steps, seconds, losses, state.evaluated(device).eval())


def _resume(config: TrainConfig, run: Path, state: TrainState, device: torch.device) -> list[str]:
    """Restore the state of a run, if its data are the same; return what is to be said of it."""
    saved = read_state(run / "state.pt", state.info.architecture)
    state.load(saved)
    before = Origin.from_dict(saved.get("origin", {}))
    check_data(config, run, before, state.origin)
    return notes(before, state.origin, device)


def model_info(config: TrainConfig, dataset: ImageDataset) -> ModelInfo:
    """Describe the network that `config` trains on `dataset`."""
    return ModelInfo(
        choose_network(config.model),
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


def _warm_up_remark(config: TrainConfig) -> list[str]:
    """Warn where the learning rate rises for most of the training."""
    warm_up = config.optim.warmup_epochs
    if config.optim.warmup_fraction or warm_up <= config.epochs / 2:
        return []
    return [
        f"warning: the learning rate rises for {warm_up:g} epochs and the training has {config.epochs:g}; set "
        f"optim.warmup_epochs to at most {config.epochs / 5:g}, or train longer"
    ]


def _check_batch(config: TrainConfig, group: ProcessGroup) -> None:
    parts = group.count * config.accumulate
    if config.batch_size % parts:
        raise SpinetError(
            f"batch_size is {config.batch_size}; must be a multiple of {group.count} processes x {config.accumulate} "
            "parts (accumulate)"
        )


def _check_root(config: TrainConfig) -> None:
    if not config.data.root:
        folder = "image folders" if config.model.head == "classifier" else "a folder in COCO, YOLO or Pascal VOC format"
        raise SpinetError(f"data.root is not set; it must be {folder}")


def _check_weights(model: ModelConfig) -> None:
    for name in NEED_WEIGHTS:
        value = getattr(model, name)
        if value != ModelConfig.__dataclass_fields__[name].default and not model.weights:
            raise SpinetError(f"model.{name} is {value}, which needs model.weights: a weights file or run folder")
