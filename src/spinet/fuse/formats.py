"""The number type and memory format of networks for inference."""

from functools import partial
from typing import Literal, NamedTuple, TypeVar, get_args

import torch
from torch import nn

from spinet.errors import unknown_name
from spinet.fuse.fuse import fuse
from spinet.timing import medians

M = TypeVar("M", bound=nn.Module)
Precision = Literal["fp32", "bf16", "auto"]


class Format(NamedTuple):
    """Arguments of `fuse`."""

    dtype: torch.dtype
    channels_last: bool


EXACT = Format(torch.float32, channels_last=True)
HALF = Format(torch.bfloat16, channels_last=True)
PLAIN = Format(torch.float32, channels_last=False)


def check_precision(precision: str) -> None:
    """Raise a SpinetError if the precision is unknown."""
    if precision not in get_args(Precision):
        raise unknown_name("precision", precision, get_args(Precision))


def fuse_in(precision: Precision, model: M, image_size: int, device: torch.device) -> M:
    """Return a copy of a network for inference, as `Predictor` and `spinet predict` use it.

    Args:
        precision: `"fp32"`, `"bf16"`, or `"auto"`, the fastest of a few measured runs.
        model: on `device`, in evaluation mode.
        image_size: side of its square images, pixels.
        device: device that it will run on.

    Raises:
        SpinetError: the precision is unknown.
    """
    check_precision(precision)
    chosen = {"fp32": EXACT, "bf16": HALF}.get(precision) or best_format(model, image_size, device)
    return fuse(model, **chosen._asdict())


@torch.inference_mode()
def best_format(model: nn.Module, image_size: int, device: torch.device, *, bf16: bool = True, runs: int = 3) -> Format:
    """Choose how to fuse a network for a device.

    On NVIDIA GPUs the choice is known: bfloat16, channels-last. On CPUs it depends on their instructions (AMX, AVX-512
    BF16) and on the network, so one image is run a few times in each format, in turn.

    Args:
        model: on `device`, in evaluation mode.
        image_size: side of its square images, pixels.
        device: device that it will run on.
        bf16: whether bfloat16, which changes the results slightly, may be chosen.
        runs: measured runs of each format; the median decides.
    """
    if device.type == "cuda":
        return HALF if bf16 and torch.cuda.is_bf16_supported() else EXACT
    if device.type != "cpu":
        return PLAIN
    half = bf16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    formats = (PLAIN, EXACT, *((HALF,) if half else ()))
    images = torch.zeros(1, 3, image_size, image_size)
    calls = {format: partial(fuse(model, **format._asdict()), images) for format in formats}
    # The first run of each also allocates memory and selects kernels.
    times = medians(calls, device, runs, warm_up=1)
    best: Format = min(times, key=times.__getitem__)
    return best
