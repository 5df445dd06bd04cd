"""What takes part in a benchmark: each network, as each backend runs it, from a photo to detections."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from spinet.arch.baseline import Baseline
from spinet.arch.catalog import load_network
from spinet.arch.head_cost import model_cost
from spinet.benchmark.rounds import Work, count_work
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.transforms import EvalTransform
from spinet.deploy.manifest import Precision
from spinet.engine.build import Model
from spinet.engine.checkpoint import ModelInfo, load_classifier, load_model, read_info
from spinet.engine.compiling import compile_for_inference
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.fuse.formats import EXACT, HALF
from spinet.fuse.fuse import fuse
from spinet.models.classifier import Classifier
from spinet.models.rcnn import RCNN
from spinet.timing import Clock, Run

Backend = Literal["eager", "compile", "onnxruntime", "openvino"]
WHOLE = "pipeline"
# What goes in is a photo whose sides are so many times the network's, so that there is something to resize.
PHOTO = 1.25


@dataclass(frozen=True)
class Entry:
    """One line of a benchmark.

    Attributes:
        name: of the network.
        backend: what runs it.
        precision: of its arithmetic.
        run: does it once and tells the seconds of its stages, those of all of them under `whole`, and where it can be
            told those of the network alone under "network".
        images: of one run.
        macs: multiply-adds of one image by the architecture, None if unknown.
        work: what one run computes of the network, None if unknown.
        whole: name of the stage that all belongs to.
        core: stage that `work` belongs to.
    """

    name: str
    backend: str
    precision: Precision
    run: Run
    images: int
    macs: int | None = None
    work: Work | None = None
    whole: str = WHOLE
    core: str = "network"


@dataclass(frozen=True)
class Subject:
    """A network of ours that is measured: an architecture with untrained weights, or a trained one."""

    name: str
    model: Model
    info: ModelInfo

    @classmethod
    def load(cls, name: str, head: str, classes: int, image_size: int) -> "Subject":
        """Build the network of an architecture's or baseline's name, or read that of a run folder or weights file.

        Args:
            name: of the network.
            head: of an architecture; a run has its own.
            classes: likewise.
            image_size: of the images that it is measured on.

        Raises:
            SpinetError: the name is unknown, or what it names cannot be read.
        """
        path = Path(name)
        if path.is_dir() or path.suffix == ".safetensors":
            model, info = load_classifier(path) if read_info(path).task == "classifier" else load_model(path)
            return cls(name, model, replace(info, image_size=image_size))
        labels = tuple(str(label) for label in range(classes))
        settings = ModelConfig(arch=name, head=cast(Any, head))
        info = ModelInfo(load_network(name), settings, labels, tuple(range(classes)), image_size)
        torch.manual_seed(0)
        return cls(name, info.create_model().eval(), info)

    def macs(self) -> int | None:
        """Multiply-adds of one image as the architecture is written; None for baselines, which are not written so."""
        if isinstance(self.info.architecture, Baseline):
            return None
        model = self.info.model
        anchors = model.octaves * len(model.aspect_ratios)
        classes, size = len(self.info.class_names), self.info.image_size
        return model_cost(self.info.architecture, size, model.head, classes, anchors).multiply_adds


def photos(count: int, image_size: int) -> list[Tensor]:
    """Make square uint8 RGB photos `(3, H, W)`, larger than the network's images."""
    from spinet.deploy.check import photo_like

    side = round(PHOTO * image_size)
    return [photo.permute(2, 0, 1).contiguous() for photo in photo_like(count, side, side)]


def prepare_batch(subject: Subject, images: Sequence[Tensor], device: torch.device) -> Tensor:
    """Resize, pad and normalise photos to a batch `(N, 3, S, S)`, as `Predictor` does."""
    size = subject.info.image_size
    if isinstance(subject.model, Classifier):
        classified = ClassEvalTransform(size)
        return torch.stack([classified(image.to(device)) for image in images])
    fitted = EvalTransform(size)
    return torch.stack([fitted(image.to(device))[0] for image in images])


def torch_entry(
    subject: Subject,
    backend: Literal["eager", "compile"],
    precision: Literal["fp32", "bf16"],
    images: Sequence[Tensor],
    device: torch.device,
) -> Entry:
    """Return a network of ours as PyTorch runs it, fused, pixel by pixel in memory."""
    kind = {"fp32": EXACT, "bf16": HALF}[precision]
    model = fuse(subject.model.to(device), dtype=kind.dtype, channels_last=kind.channels_last)
    batch = prepare_batch(subject, images, device)
    with torch.no_grad(), explained(subject.name, backend, precision, len(images)):
        work = count_work(lambda: model(batch))
    clock = Clock(device)
    if isinstance(model, RCNN):
        # Its regions are chosen between the parts of the network, and cannot be told from it.
        watch(clock, model.backbone, None)
    else:
        watch(clock, model, model)
    if backend == "compile":
        compile_for_inference(model, device)

    @torch.no_grad()
    def run() -> dict[str, float]:
        clock.start()
        model.predict(prepare_batch(subject, images, device))
        clock.lap("network" if isinstance(model, RCNN) else "post")
        return clock.total(WHOLE)

    return Entry(subject.name, backend, precision, run, len(images), subject.macs(), work)


def watch(clock: Clock, first: nn.Module, last: nn.Module | None) -> None:
    """Make a clock tell the time before a module from the time until the end of another."""
    first.register_forward_pre_hook(lambda *_: clock.lap("pre"))
    if last is not None:
        last.register_forward_hook(lambda *_: clock.lap("network"))


@contextlib.contextmanager
def explained(name: str, backend: str, precision: str, images: int) -> Iterator[None]:
    """Make a sentence of what goes wrong when a network runs for the first time, where the cause is known."""
    label = f"{name}, {backend} {precision}"
    try:
        yield
    except SpinetError:
        raise
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise SpinetError(f"{label}: {images} images do not fit into the GPU's memory") from None
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            raise SpinetError(
                f"{label}: a batch norm got a single value, which it cannot train on; take a larger --image-size or "
                "--batch-size"
            ) from None
        if backend != "compile":
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SpinetError(f"{label}: torch.compile cannot compile it here: {reason:.200}") from None
