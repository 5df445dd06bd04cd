"""torch.compile: whole networks, or the parts of an R-CNN, whose number of RoIs varies."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from spinet.engine.build import Model
from spinet.models.rcnn import RCNN


def compile_for_training(model: Model, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile a network at its first step."""
    parts: list[nn.Module] = [model]
    if isinstance(model, RCNN):
        parts = [model.backbone, model.rpn, *model.box_heads, *([model.mask_head] if model.mask_head else [])]
    for part in parts:
        part.compile(backend=backend)


def compile_for_inference(model: Model, device: torch.device) -> None:
    """Have a network compiled at its first call for the shape of its images, which stays; on GPUs as a CUDA graph.

    Of an R-CNN the backbone alone is: what follows has other shapes for every image. A batch of another size is
    compiled anew.
    """
    part = model.backbone if isinstance(model, RCNN) else model
    mode = "reduce-overhead" if device.type == "cuda" else None
    # The module's hooks stay outside, where there is a clock to look at.
    part.forward = torch.compile(part.forward, dynamic=False, mode=mode)  # type: ignore[method-assign]
