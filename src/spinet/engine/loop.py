"""The training loop: steps, lines of metrics, evaluations, checkpoints. All that it changes is in `TrainState`."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spinet.data.batch import Batch
from spinet.data.dataset import ImageDataset
from spinet.data.findings import Finding
from spinet.engine.build import Model
from spinet.engine.checkpoint import save_weights
from spinet.engine.compiling import compile_for_training
from spinet.engine.config import TrainConfig
from spinet.engine.distributed import ProcessGroup, synchronise_batch_norm
from spinet.engine.evaluate import EvalOptions
from spinet.engine.optim import clip_gradients, learning_rate
from spinet.engine.progress import Display, RunLog, memory_gib
from spinet.engine.state import TrainState
from spinet.engine.task import Task
from spinet.errors import OutOfMemory, SpinetError
from spinet.models.blocks import count_parameters


@dataclass
class TrainRun:
    """A training in progress; without a `folder` nothing is written."""

    config: TrainConfig
    folder: Path | None
    task: Task
    state: TrainState
    train_set: ImageDataset
    val_set: ImageDataset
    findings: list[Finding]
    group: ProcessGroup
    device: torch.device
    quiet: bool

    def __post_init__(self) -> None:
        config, state, group = self.config, self.state, self.group
        self.epoch_steps = len(self.train_set) / config.batch_size
        self.steps = max(1, round(config.epochs * self.epoch_steps))
        self.part_size = config.batch_size // (group.count * config.accumulate)
        self.display = Display(self.steps, state.step, quiet=self.quiet or not group.is_main)
        self.log = RunLog(self.folder, state.step) if self.folder is not None and group.is_main else None
        self.saved = self.logged = time.monotonic()
        self.logged_step = state.step
        self.losses: list[tuple[int, float]] = []
        if config.compile:
            compile_for_training(state.model)
        self.network: nn.Module = _Losses(state.model)
        if group.count > 1:
            self.network = synchronise_batch_norm(self.network, self.device)
            self.network = DistributedDataParallel(self.network, broadcast_buffers=False)

    def loop(self) -> None:
        """Train to the end."""
        config, state = self.config, self.state
        self._announce()
        try:
            first = state.step * config.accumulate
            batches = self.task.batches(
                config, self.train_set, part_size=self.part_size, first_batch=first, group=self.group
            )
            while state.step < self.steps:
                self.step(batches)
                self.display.advance(state.step)
                done = state.step == self.steps
                line_due = done or state.step % config.log_steps == 0
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

    def step(self, batches: Iterator[Batch]) -> None:
        """Run one optimizer step on the next `accumulate` batches."""
        config, state = self.config, self.state
        # Stochastic depth and DropBlock depend on the step alone, so that a resumed run draws the same.
        torch.manual_seed(_mix(config.seed, state.step, self.group.rank))
        sizes = {"batch_size": config.batch_size, "steps": self.steps}
        rate = learning_rate(state.step, config.optim, **sizes, epoch_steps=self.epoch_steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.model.train()
        state.optimizer.zero_grad(set_to_none=True)
        for part in range(config.accumulate):
            batch = next(batches)
            try:
                # Processes exchange gradients once per step, with the last part.
                with self._gradient_sync(part == config.accumulate - 1):
                    losses = self._losses(batch)
                    loss = torch.stack(list(losses.values())).sum() / config.accumulate
                    loss.backward()  # type: ignore[no-untyped-call]
            except (torch.OutOfMemoryError, ValueError) as error:
                raise self._explained(error) from None
            state.add_losses(losses)
        clip_gradients(state.model.parameters(), config.optim.clip_norm)
        state.optimizer.step()
        if state.average:
            state.average.update(state.model, state.step)
        state.step += 1

    def _gradient_sync(self, now: bool) -> AbstractContextManager[None]:
        if now or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        no_sync: AbstractContextManager[None] = self.network.no_sync()
        return no_sync

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        images = batch.images.to(self.device, non_blocking=True)
        if self.config.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        targets = {name: value.to(self.device, non_blocking=True) for name, value in batch.targets.items()}
        bf16 = self.config.uses_bf16(self.device.type)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses: dict[str, Tensor] = self.network(images, targets)
        return losses

    def _explained(self, error: Exception) -> Exception:
        """Return the error, or a better one if the cause is known."""
        size = self.config.data.image_size
        if isinstance(error, torch.OutOfMemoryError):
            return OutOfMemory(
                f"{self.part_size} images of {size} px do not fit into the memory of {self.device}; "
                "split steps with a larger accumulate, or use a smaller batch_size"
            )
        if "more than 1 value per channel" in str(error):
            return SpinetError(
                "batch norm needs more than one value per channel, but a batch has "
                f"{self.part_size} image of {size} px; use a larger batch_size or data.image_size"
            )
        return error

    def _log(self) -> None:
        state = self.state
        state.check_losses()
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
        if self.config.eval_epochs <= 0:
            return False
        every = self.config.eval_epochs * self.epoch_steps
        return self.state.step // every > (self.state.step - 1) // every

    def _evaluate(self) -> None:
        config, state, score = self.config, self.state, self.task.score
        state.check_finite()
        options = EvalOptions(
            config.data.image_size,
            self.part_size,
            self.device,
            config.data.workers,
            bf16=config.uses_bf16(self.device.type),
            group=self.group,
        )
        state.last = self.task.measure(state.evaluated(self.device), self.val_set, options)
        shown = "  ".join(f"{name} {state.last[name]:.3f}" for name in self.task.shown)
        self.display.say(f"step {state.step}/{self.steps}  val: {shown}")
        if self.log:
            self.log.write(state.step, {f"val/{name}": value for name, value in state.last.items()})
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

    def _announce(self) -> None:
        config, say = self.config, self.display.say
        for dataset in (self.train_set, self.val_set):
            say(f"{dataset.split}: {len(dataset)} images, {len(dataset.class_names)} classes, from {dataset.root}")
        for finding in self.findings:
            if finding.severity == "warning":
                say(f"warning: {finding.text}")
        parameters = count_parameters(self.state.model)
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


class _Losses(nn.Module):
    """Makes `losses` the forward method, which DistributedDataParallel hooks into."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.model.losses(images, targets)


def _mix(*numbers: int) -> int:
    """Mix numbers into one seed."""
    seed = 0
    for number in numbers:
        seed = (seed * 0x9E3779B97F4A7C15 + number + 1) % 2**63
    return seed
