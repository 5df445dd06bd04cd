"""In which number type and memory format a device computes a network fastest."""

import statistics
import time
from typing import NamedTuple

import torch
from torch import nn

from spinet.models.fused import fuse


class Format(NamedTuple):
    """Arguments of `fuse`."""

    dtype: torch.dtype
    channels_last: bool


EXACT = Format(torch.float32, channels_last=True)
HALF = Format(torch.bfloat16, channels_last=True)
PLAIN = Format(torch.float32, channels_last=False)


@torch.inference_mode()
def best_format(model: nn.Module, image_size: int, device: torch.device, *, bf16: bool = True, runs: int = 3) -> Format:
    """Choose how to fuse a network for a device.

    On NVIDIA GPUs the choice is known: bfloat16, pixel by pixel. On CPUs it depends on their instructions (AMX,
    AVX-512 BF16) and on the network, so that one image is run a few times in each format, in turn.

    Args:
        model: on `device`, in evaluation mode.
        image_size: side of its square images, pixels.
        device: where it will run.
        bf16: whether bfloat16, which changes the results a little, may be chosen.
        runs: measured runs of each format; the median decides.
    """
    if device.type == "cuda":
        return HALF if bf16 and torch.cuda.is_bf16_supported() else EXACT
    if device.type != "cpu":
        return PLAIN
    half = bf16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    formats = {each: fuse(model, **each._asdict()) for each in (PLAIN, EXACT, *((HALF,) if half else ()))}
    images = torch.zeros(1, 3, image_size, image_size)
    times: dict[Format, list[float]] = {each: [] for each in formats}
    for _ in range(runs + 1):
        for each, network in formats.items():
            start = time.perf_counter()
            network(images)
            times[each].append(time.perf_counter() - start)
    # The first run of each also allocates memory and chooses kernels.
    best: Format = min(formats, key=lambda each: statistics.median(times[each][1:]))
    return best
