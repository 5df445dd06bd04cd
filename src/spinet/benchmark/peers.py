"""torchvision's detectors in a benchmark."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spinet.benchmark.entries import WHOLE, Entry, explained, watch
from spinet.benchmark.rounds import count_work
from spinet.errors import unknown_name
from spinet.timing import Clock

PREFIX = "torchvision/"
# Those whose images may be of any size.
KINDS = ("retinanet", "fcos", "fasterrcnn", "maskrcnn")


def peer_names() -> list[str]:
    """Return the names of torchvision's detectors that take part."""
    from torchvision.models import detection, list_models

    return [f"{PREFIX}{name}" for name in list_models(module=detection) if name.startswith(KINDS)]


def create_peer(name: str, classes: int, image_size: int) -> nn.Module:
    """Build a detector of torchvision with untrained weights, for images of one size.

    Raises:
        SpinetError: the name is unknown.
    """
    from torchvision.models import get_model_builder

    if name not in peer_names():
        raise unknown_name("torchvision detector", name, peer_names())
    torch.manual_seed(0)
    model: nn.Module = get_model_builder(name.removeprefix(PREFIX))(
        weights=None, weights_backbone=None, num_classes=classes, min_size=image_size, max_size=image_size
    )
    return model


def compile_peer(model: Any) -> None:
    """Have the backbone compiled at its first call, and the head of a one-stage detector."""
    for part in (model.backbone, *((model.head,) if hasattr(model, "head") else ())):
        part.forward = torch.compile(part.forward, dynamic=False)


def peer_entry(
    name: str,
    backend: Literal["eager", "compile"],
    precision: Literal["fp32", "bf16"],
    images: Sequence[Tensor],
    device: torch.device,
    classes: int,
    image_size: int,
) -> Entry:
    """Return a detector of torchvision as its users run it: photos go in as a list, its own transform resizes them.

    Args:
        name: `torchvision/NAME`.
        backend: what runs it; `compile_peer` says what is compiled.
        precision: bf16 is autocast.
        images: photos `(3, H, W)`, uint8.
        device: where.
        classes: the background among them.
        image_size: both sides that it resizes to.
    """
    model: Any = create_peer(name, classes, image_size).to(device).eval()
    clock = Clock(device)

    @torch.no_grad()
    def detect() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return model([image.to(device).float() / 255 for image in images])

    with explained(name, backend, precision, len(images)):
        work = count_work(detect)
    # Proposals of an R-CNN cannot be told from its network; a one-stage detector ends with its head.
    one_stage = hasattr(model, "head")
    watch(clock, model.backbone, model.head if one_stage else None)
    if backend == "compile":
        compile_peer(model)

    def run() -> dict[str, float]:
        clock.start()
        detect()
        clock.lap("post" if one_stage else "network")
        return clock.total(WHOLE)

    return Entry(name, backend, precision, run, len(images), work.macs // len(images), work)
