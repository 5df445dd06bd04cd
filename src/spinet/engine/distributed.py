"""The device, and several processes under `torchrun` with synchronized batch norm."""

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spinet.engine.build import Model
from spinet.errors import OutOfMemory, SpinetError, is_out_of_device_memory

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is a GPU if there is one.

    Raises:
        SpinetError: the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if is_out_of_device_memory(error):
            raise OutOfMemory(f"device {name!r} has no memory left; other programs hold it") from None
        why = str(error).splitlines()[0].partition(" device type at start")[0]
        if why.startswith("Expected one of"):  # PyTorch lists all that it was ever built for
            why = "expected auto, cpu, cuda, cuda:N, mps or another device of PyTorch's"
        raise SpinetError(f"device {name!r} is not available: {why}") from None
    return device


@dataclass(frozen=True)
class ProcessGroup:
    """This process, `rank` of `count`; `local` is its rank on its machine."""

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def gather(self, items: list[T]) -> list[T]:
        """Return the items of all processes, in rank order, in every process."""
        if self.count == 1:
            return items
        parts: list[list[T]] = [[] for _ in range(self.count)]
        dist.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def broadcast(self, value: T) -> T:
        """Return the main process's value in every process."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]


@contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the process group of `torchrun` inside the block; without `torchrun` this process is alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ProcessGroup()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), count, local)
    finally:
        # A network in a reference cycle keeps the group alive, whose threads must end before the process does.
        gc.collect()
        dist.destroy_process_group()


def shared_losses(model: Model, group: ProcessGroup, device: torch.device) -> nn.Module:
    """Return a module that computes the losses of `model`, with all processes of the group if there are several."""
    network: nn.Module = _Losses(model)
    if group.count == 1:
        return network
    return DistributedDataParallel(synchronise_batch_norm(network, device), broadcast_buffers=False)


def gradient_sync(network: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Return the context of a backward pass: processes exchange gradients in it, or not yet."""
    if now or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    no_sync: AbstractContextManager[None] = network.no_sync()
    return no_sync


class _Losses(nn.Module):
    """Makes `losses` the forward method, which DistributedDataParallel hooks into."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.model.losses(images, targets)


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Synchronize batch norm statistics over all processes, as in the papers."""
    plain = (nn.BatchNorm1d, nn.BatchNorm2d, CpuSyncBatchNorm)
    foreign = {type(norm).__name__ for norm in model.modules() if isinstance(norm, plain) and type(norm) not in plain}
    if foreign and device.type == "cuda":
        # timm's batch norms contain an activation, which PyTorch's own conversion would drop.
        from timm.layers import convert_sync_batchnorm

        timm_model: nn.Module = convert_sync_batchnorm(model)
        return timm_model
    if foreign:
        raise SpinetError(f"{', '.join(sorted(foreign))} cannot be synchronized on CPUs; train in one process")
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            # PyTorch's SyncBatchNorm does not support the CPU; parameters and buffers stay, only `forward` changes.
            module.__class__ = CpuSyncBatchNorm
    return model


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the images or RoIs of all processes, on the CPU."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalize `(N, C)` or `(N, C, H, W)`."""
        if not self.training:
            return super().forward(features)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        axes = [axis for axis in range(features.ndim) if axis != 1]
        sums = torch.stack([features.sum(axes), features.square().sum(axes)])
        count = torch.tensor(float(features.numel() // features.shape[1]))
        dist.all_reduce(count)
        mean, square = (_SumOverProcesses.apply(sums) / count).unbind()
        variance = square - mean.square()
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        shape = [1, -1] + [1] * (features.ndim - 2)
        normalized: Tensor = features * scale.view(shape) + shift.view(shape)
        return normalized

    def _check_input_dim(self, features: Tensor) -> None:
        del features  # checked by the class it replaces


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; its gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return _all_sum(values)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _all_sum(gradients[0])


def _all_sum(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total
