"""One optimizer step: learning rate, forward and backward passes, clipping, update, moving average."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spinet.data.batch import Batch
from spinet.engine.build import Model
from spinet.engine.compiling import compile_for_training
from spinet.engine.config import TrainConfig
from spinet.engine.distributed import ProcessGroup, synchronise_batch_norm
from spinet.engine.optim import clip_gradients, learning_rate
from spinet.engine.state import TrainState
from spinet.errors import OutOfMemory, SpinetError


class Stepper:
    """Runs the steps of a training.

    Args:
        config: all settings.
        state: changed by each step.
        group: the processes of this training.
        device: where the network is.
        steps: length of the run.
        epoch_steps: steps per epoch, may be fractional.
    """

    def __init__(
        self,
        config: TrainConfig,
        state: TrainState,
        group: ProcessGroup,
        device: torch.device,
        steps: int,
        epoch_steps: float,
    ) -> None:
        self.config, self.state, self.group, self.device = config, state, group, device
        self.steps, self.epoch_steps = steps, epoch_steps
        self.bf16 = config.uses_bf16(device.type)
        if config.compile:
            compile_for_training(state.model)
        self.network: nn.Module = _Losses(state.model)
        if group.count > 1:
            self.network = synchronise_batch_norm(self.network, device)
            self.network = DistributedDataParallel(self.network, broadcast_buffers=False)

    def step(self, batches: Iterator[Batch]) -> None:
        """Run one optimizer step on the next `accumulate` batches."""
        config, state = self.config, self.state
        # Stochastic depth and DropBlock depend on the step alone, so that a resumed run draws the same.
        torch.manual_seed(_mix(config.seed, state.step, self.group.rank))
        self._set_learning_rate()
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
            state.window.add(losses, state.step + 1)
        clip_gradients(state.model.parameters(), config.optim.clip_norm)
        state.optimizer.step()
        if state.average:
            state.average.update(state.model, state.step)
        state.step += 1

    def _set_learning_rate(self) -> None:
        rate = learning_rate(
            self.state.step,
            self.config.optim,
            batch_size=self.config.batch_size,
            steps=self.steps,
            epoch_steps=self.epoch_steps,
        )
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate

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
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            losses: dict[str, Tensor] = self.network(images, targets)
        return losses

    def _explained(self, error: Exception) -> Exception:
        """Return the error, or a better one if the cause is known."""
        part = self.config.batch_size // (self.group.count * self.config.accumulate)
        if isinstance(error, torch.OutOfMemoryError):
            return OutOfMemory(
                f"{part} images of {self.config.data.image_size} px do not fit into the memory of {self.device}; "
                "split steps with a larger accumulate, or use a smaller batch_size"
            )
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            return SpinetError(
                "batch norm needs more than one value per channel, but a batch has "
                f"{part} image of {self.config.data.image_size} px; use a larger batch_size or data.image_size"
            )
        return error


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
