"""The training loop; everything it changes is in `TrainState`."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from spinet.arch.catalog import load_network
from spinet.data.batch import Batch
from spinet.data.dataset import ImageDataset
from spinet.data.findings import Finding, refuse
from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import read_state, save_weights
from spinet.engine.config import TrainConfig, differences, read_config
from spinet.engine.distributed import ProcessGroup, pick_device, process_group
from spinet.engine.progress import Display, RunLog, memory_gib
from spinet.engine.state import TrainState
from spinet.engine.step import Stepper
from spinet.engine.task import Task, task_of
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.models.blocks import count_parameters

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
        torch.manual_seed(config.seed)
        info = info or model_info(config, train_set)
        _check_background(info)
        resumed = run is not None and (run / "state.pt").is_file()
        state = TrainState(info, config, device, resumed)
        if run is not None and resumed:
            state.load(read_state(run / "state.pt", info.architecture))
        if run is not None and group.is_main:
            write_atomically(run / "config.json", config.to_json())
        return _Run(config, run, task, state, train_set, val_set, findings, group, device, quiet).loop()


class _Run:
    """A training in progress."""

    def __init__(
        self,
        config: TrainConfig,
        run: Path | None,
        task: Task,
        state: TrainState,
        train_set: ImageDataset,
        val_set: ImageDataset,
        findings: list[Finding],
        group: ProcessGroup,
        device: torch.device,
        quiet: bool,
    ) -> None:
        self.config, self.folder, self.state, self.group, self.device = config, run, state, group, device
        self.task, self.train_set, self.val_set, self.findings = task, train_set, val_set, findings
        self.epoch_steps = len(train_set) / config.batch_size
        self.steps = max(1, round(config.epochs * self.epoch_steps))
        self.part_size = config.batch_size // (group.count * config.accumulate)
        self.display = Display(self.steps, state.step, quiet=quiet or not group.is_main)
        self.log = RunLog(run, state.step) if run is not None and group.is_main else None
        self.stepper = Stepper(config, state, group, device, self.steps, self.epoch_steps)
        self.saved = self.logged = time.monotonic()
        self.logged_step = state.step
        self.losses: list[tuple[int, float]] = []

    def loop(self) -> TrainResult:
        state = self.state
        started = time.monotonic()
        self._announce()
        try:
            batches = self._batches()
            while state.step < self.steps:
                self.stepper.step(batches)
                self.display.advance(state.step)
                done = state.step == self.steps
                line_due = done or state.step % self.config.log_steps == 0
                if line_due:
                    self._log()
                if done or self._evaluation_due():
                    self._evaluate()
                elif line_due and self._save_due():
                    self._save()
        finally:
            self.display.close()
            if self.log:
                self.log.close()
        seconds = time.monotonic() - started
        return TrainResult(
            state.last, state.best, self.steps, seconds, tuple(self.losses), state.evaluated(self.device).eval()
        )

    def _log(self) -> None:
        state = self.state
        state.window.check()
        images = (state.step - self.logged_step) * self.config.batch_size
        values = {
            "epoch": state.step / self.epoch_steps,
            **state.window.take_means(),
            "lr": float(state.optimizer.param_groups[0]["lr"]),
            "images_per_second": images / (time.monotonic() - self.logged),
            "memory_gib": memory_gib(self.device),
        }
        self.losses.append((state.step, values["loss"]))
        self.display.update(state.step, values)
        if self.log:
            self.log.write(state.step, values)
        self._restart_clock()

    def _restart_clock(self) -> None:
        """Restart the measurement of images per second."""
        self.logged, self.logged_step = time.monotonic(), self.state.step

    def _evaluation_due(self) -> bool:
        if self.config.eval_epochs <= 0:
            return False
        every = self.config.eval_epochs * self.epoch_steps
        return self.state.step // every > (self.state.step - 1) // every

    def _evaluate(self) -> None:
        config, state = self.config, self.state
        state.check_finite()
        state.last = self.task.evaluate(
            state.evaluated(self.device),
            self.val_set,
            config,
            part_size=self.part_size,
            device=self.device,
            group=self.group,
        )
        shown = "  ".join(f"{name} {state.last[name]:.3f}" for name in self.task.shown)
        self.display.say(f"step {state.step}/{self.steps}  val: {shown}")
        if self.log:
            self.log.write(state.step, {f"val/{name}": value for name, value in state.last.items()})
        score = self.task.score
        if not state.best or not state.last[score] <= state.best[score]:
            state.best = state.last
            if self.folder is not None and self.group.is_main:
                notes = {"step": state.step, **state.best}
                save_weights(self.folder / "best.safetensors", state.weights(), state.info, notes)
        self._save()
        self._restart_clock()

    def _save_due(self) -> bool:
        return self.group.broadcast(time.monotonic() - self.saved >= self.config.save_seconds)

    def _save(self) -> None:
        if self.folder is None:
            return
        self.state.check_finite()
        if self.group.is_main:
            self.state.save(self.folder)
        self.saved = time.monotonic()

    def _batches(self) -> Iterator[Batch]:
        return self.task.batches(
            self.config,
            self.train_set,
            part_size=self.part_size,
            first_batch=self.state.step * self.config.accumulate,
            group=self.group,
        )

    def _announce(self) -> None:
        config, say = self.config, self.display.say
        parameters = count_parameters(self.state.model)
        for dataset in (self.train_set, self.val_set):
            say(f"{dataset.split}: {len(dataset)} images, {len(dataset.class_names)} classes, from {dataset.root}")
        for finding in self.findings:
            if finding.severity == "warning":
                say(f"warning: {finding.text}")
        say(f"model: {config.model.head} on {config.model.arch}, {parameters:,} parameters, on {self.device}")
        if self.state.started:
            say(self.state.started)
        rate = config.optim.lr * config.batch_size / config.optim.lr_batch
        say(
            f"learning rate: {rate:.4g} ({config.optim.lr:g} per {config.optim.lr_batch} images, scaled to batch size "
            f"{config.batch_size} = {self.group.count} processes x {config.accumulate} parts x {self.part_size})"
        )
        if self.folder is not None and self.state.step == self.steps:
            say(f"{self.folder} has already finished; see {self.folder / 'metrics.jsonl'}")
        elif self.state.step:
            say(f"resuming {self.folder} at step {self.state.step} of {self.steps}")


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
