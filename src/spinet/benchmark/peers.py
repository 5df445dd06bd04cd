"""torchvision's detectors in a benchmark."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spinet.benchmark.cases import Case, explained, staged_run
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.work import count_work
from spinet.deploy.manifest import ExportPrecision
from spinet.errors import unknown_name

PREFIX = "torchvision/"
# Those that take images of any size.
FAMILIES = ("retinanet", "fcos", "fasterrcnn", "maskrcnn")


def peer_names() -> list[str]:
    """Return the names of torchvision's detectors that can be measured."""
    from torchvision.models import detection, list_models

    return [f"{PREFIX}{name}" for name in list_models(module=detection) if name.startswith(FAMILIES)]


def create_peer(name: str, classes: int, image_size: int) -> nn.Module:
    """Build a torchvision detector with untrained weights that resizes images to one size."""
    from torchvision.models import get_model_builder

    if name not in peer_names():
        raise unknown_name("torchvision detector", name, peer_names())
    torch.manual_seed(0)
    model: nn.Module = get_model_builder(name.removeprefix(PREFIX))(
        weights=None, weights_backbone=None, num_classes=classes, min_size=image_size, max_size=image_size
    )
    return model


def compile_peer(model: Any) -> None:
    """Compile the backbone, and the head of a one-stage detector, at their first call."""
    for part in filter(None, (model.backbone, getattr(model, "head", None))):
        part.forward = torch.compile(part.forward, dynamic=False)


def peer_case(
    name: str, backend: str, precision: str, images: Sequence[Tensor], device: torch.device, options: BenchmarkOptions
) -> Case:
    """Return a torchvision detector as its users run it: a list of images in, resized by its own transform.

    bf16 is autocast; see `compile_peer` for what is compiled.
    """
    model: Any = create_peer(name, options.classes, options.image_size).to(device).eval()

    @torch.no_grad()
    def detect() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return model([image.to(device).float() / 255 for image in images])

    with explained(name, backend, precision, len(images)):
        work = count_work(detect)
    # The proposals of an R-CNN cannot be told from its network; a one-stage detector ends with its head.
    run = staged_run(detect, device, model.backbone, getattr(model, "head", None))
    if backend == "compile":
        compile_peer(model)
    return Case(name, backend, cast(ExportPrecision, precision), run, len(images), work.macs // len(images), work)
