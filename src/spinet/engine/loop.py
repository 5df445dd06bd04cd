"""The training loop: steps, lines of metrics, evaluations, checkpoints. All that it changes is in `TrainState`."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from spinet.data.batch import Batch
from spinet.data.dataset import ImageDataset
from spinet.data.unread import Unread, warn
from spinet.engine.announce import announcement, progress_so_far
from spinet.engine.compiling import compile_for_training
from spinet.engine.config import TrainConfig, flatten
from spinet.engine.display import Display
from spinet.engine.distributed import ProcessGroup, gradient_sync, shared_losses
from spinet.engine.evaluate import EvalOptions
from spinet.engine.first_batch import PICTURE, shown_first, write_first_look
from spinet.engine.optim import clip_gradients, learning_rate, set_learning_rate
from spinet.engine.progress import Pace, RunLog, memory_gib
from spinet.engine.record import RECORD
from spinet.engine.run_folder import check_present
from spinet.engine.state import TrainState
from spinet.engine.task import Task
from spinet.errors import Stopped
from spinet.stop import Interrupted, Stop, how
from spinet.track.trackers import Trackers


@dataclass
class TrainRun:
    """A training in progress; without a `folder` nothing is written."""

    config: TrainConfig
    folder: Path | None
    task: Task
    state: TrainState
    train_set: ImageDataset
    val_set: ImageDataset
    remarks: list[str]
    group: ProcessGroup
    device: torch.device
    quiet: bool
    stop: Stop
    trackers: Trackers | None = None
    evaluates: bool = True

    def __post_init__(self) -> None:
        config, state, group = self.config, self.state, self.group
        self.epoch_steps = len(self.train_set) / config.batch_size
        self.steps = max(1, round(config.epochs * self.epoch_steps))
        self.part_size = config.batch_size // (group.count * config.accumulate)
        self.display = Display(
            self.steps,
            state.step,
            self.epoch_steps,
            every=config.eval_epochs * self.epoch_steps,
            score=self.task.score,
            best=state.best.get(self.task.score, math.nan),
            quiet=self.quiet or not group.is_main,
        )
        writes = self.folder is not None and group.is_main
        self.log = RunLog(self.folder, state.step, state.pending, self.trackers) if self.folder and writes else None
        self.saved = self.logged = time.monotonic()
        self.logged_step = state.step
        self.losses: list[tuple[int, float]] = []
        if config.compile:
            compile_for_training(state.model)
        self.network = shared_losses(state.model, group, self.device)
        self.said: set[str] = set()
        self.unread = Unread("train", len(self.train_set), state.unread, self._warn)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state.step == self.steps and not self.state.pending

    def loop(self) -> None:
        """Train to the end, or until a signal: then a checkpoint is written and `Stopped` raised."""
        data = (self.train_set, self.val_set)
        for sentence in announcement(self.config, self.state, data, self.remarks, self.group, self.device):
            self.display.say(sentence)
        for sentence in progress_so_far(self.folder, self.state.step, self.steps, self.is_done):
            self.display.say(sentence)
        if self.trackers is not None and not self.is_done:
            self.trackers.say = self.display.say
            self.trackers.start(flatten(asdict(self.config)))
        try:
            self._train()
        finally:
            self.display.close()
            if self.log:
                self.log.close()

    def _train(self) -> None:
        config, state = self.config, self.state
        first, pace = state.step * config.accumulate, Pace(self.steps, self.device)
        batches = self.task.batches(
            config,
            self.train_set,
            part_size=self.part_size,
            first_batch=first,
            group=self.group,
            unread=self.unread,
        )
        if self.folder is not None and self.group.is_main and not state.step:
            batches = shown_first(batches, self._show_first)
        self._finish_step()
        while state.step < self.steps:
            with pace.measured():
                self.step(batches)
            self.display.advance(state.step)
            if warning := pace.warning(state.step):
                self.display.say(warning)
            state.pending = "line"
            if self._asked_to_stop():
                self._stop()
            self._finish_step()
        if self.unread.faults:
            self._warn(f"{self.unread.text()}; the images after them took their places")

    def _show_first(self, batch: Batch) -> None:
        """Write what the network sees into the run folder, once in a run."""
        assert self.folder is not None
        size = self.config.data.image_size
        written = write_first_look(self.folder, batch, self.train_set, self.val_set, size, self._warn)
        if self.trackers and self.folder / PICTURE in written:
            self.trackers.add([], [self.folder / PICTURE])
        self._restart_clock()

    def _finish_step(self) -> None:
        """Log, evaluate and save as far as it is due after a step."""
        state = self.state
        done = state.step == self.steps
        line_due = state.pending == "line" and (done or state.step % self.config.log_steps == 0)
        if line_due:
            self._log()
        if state.pending and (done or self._evaluation_due()):
            state.pending = "evaluation"
            if self.evaluates:
                self._evaluate()
            else:
                state.check_finite()
                state.pending = ""
                self._save()
        elif line_due and self._save_due():
            state.pending = ""
            self._save()
        state.pending = ""

    def step(self, batches: Iterator[Batch]) -> None:
        """Run one optimizer step on the next `accumulate` batches."""
        config, state = self.config, self.state
        # Stochastic depth and DropBlock depend on the step alone, so that a resumed run draws the same.
        torch.manual_seed(_mix(config.seed, state.step, self.group.rank))
        sizes = {"batch_size": config.batch_size, "steps": self.steps}
        rate = learning_rate(state.step, config.optim, **sizes, epoch_steps=self.epoch_steps)
        set_learning_rate(state.optimizer, rate)
        state.train_mode()
        state.optimizer.zero_grad(set_to_none=True)
        for part in range(config.accumulate):
            batch = next(batches)
            # Processes exchange gradients once per step, with the last part.
            with gradient_sync(self.network, part == config.accumulate - 1):
                losses = self._losses(batch)
                loss = torch.stack(list(losses.values())).sum() / config.accumulate
                loss.backward()  # type: ignore[no-untyped-call]
            state.add_losses(losses)
        clip_gradients(state.model.parameters(), config.optim.clip_norm)
        state.optimizer.step()
        if state.average:
            state.average.update(state.model, state.step)
        state.step += 1

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        images = batch.images.to(self.device, non_blocking=True)
        if self.config.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        targets = {name: value.to(self.device, non_blocking=True) for name, value in batch.targets.items()}
        bf16 = self.config.uses_bf16(self.device.type)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses: dict[str, Tensor] = self.network(images, targets)
        return losses

    def _log(self) -> None:
        state = self.state
        state.check_losses()
        self._share_unread()
        images = (state.step - self.logged_step) * self.config.batch_size
        values = {
            "epoch": state.step / self.epoch_steps,
            **state.take_means(),
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
        if self.config.eval_epochs <= 0 or not self.evaluates:
            return False
        every = self.config.eval_epochs * self.epoch_steps
        return self.state.step // every > (self.state.step - 1) // every

    def _evaluate(self) -> None:
        config, state, score = self.config, self.state, self.task.score
        started = time.monotonic()
        state.check_finite()
        options = EvalOptions(
            config.data.image_size,
            self.part_size,
            self.device,
            config.data.workers,
            bf16=config.uses_bf16(self.device.type),
            group=self.group,
            say=self._warn,
            progress=self.display.evaluating,
        )
        try:
            # Several processes evaluate together: none of them may leave alone.
            with self.stop.interruptible() if self.group.count == 1 else nullcontext():
                evaluation = self.task.measure(state.evaluated(self.device), self.val_set, options)
        except Interrupted:
            self._stop()
        state.last, state.pending = evaluation.metrics, ""
        self.display.evaluated(state.step, state.last, self.task.shown, time.monotonic() - started)
        if self.log:
            self.log.write(state.step, {f"val/{name}": value for name, value in state.last.items()})
        is_best = not state.best or not state.last[score] <= state.best[score]
        state.best = state.last if is_best else state.best
        if self.folder is not None and self.group.is_main:
            record = evaluation.record(state.step)
            state.thresholds = self.task.thresholds(record)
            if is_best:
                state.save_weights(self.folder / "best.safetensors")
                record.save(self.folder / RECORD)
        self._save()
        self._restart_clock()

    def _share_unread(self) -> None:
        """Tell all processes which images any of them could not read."""
        self.unread.add(self.group.gather(list(self.unread.faults.values())))
        self.state.unread = sorted(self.unread.faults.values())

    def _warn(self, text: str) -> None:
        """Warn once in a training, of which a later evaluation may say the same."""
        if text in self.said or not self.group.is_main:
            return
        self.said.add(text)
        if self.quiet:
            warn(text)
        else:
            self.display.say(f"warning: {text}")

    def _asked_to_stop(self) -> bool:
        if self.group.count == 1:
            return bool(self.stop.requested)
        # Processes agree, when they exchange something anyway.
        return self.state.step % self.config.log_steps == 0 and any(self.group.gather([self.stop.requested]))

    def _stop(self) -> NoReturn:
        self._save()
        number = self.stop.requested or signal.SIGTERM  # another process got the signal
        raise Stopped(
            f"stopped by {how(number)} after step {self.state.step} of {self.steps}, with a checkpoint in "
            f"{self.folder}; run the same command again to resume",
            number,
        )

    def _save_due(self) -> bool:
        return self.group.broadcast(time.monotonic() - self.saved >= self.config.save_seconds)

    def _save(self) -> None:
        if self.folder is None:
            return
        self.state.check_finite()
        self._share_unread()
        if self.group.is_main:
            check_present(self.folder)
            self.state.save(self.folder)
        self.saved = time.monotonic()


def _mix(*numbers: int) -> int:
    """Mix numbers into one seed."""
    seed = 0
    for number in numbers:
        seed = (seed * 0x9E3779B97F4A7C15 + number + 1) % 2**63
    return seed
