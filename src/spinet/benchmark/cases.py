"""What takes part in a benchmark: models as PyTorch runs them, from decoded images to detections."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from spinet.arch.baseline import Baseline
from spinet.arch.catalog import load_network
from spinet.arch.head_cost import model_cost
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.work import Work, count_work
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.transforms import EvalTransform
from spinet.deploy.check import sample_images
from spinet.deploy.manifest import ExportPrecision
from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import load_model
from spinet.engine.compiling import compile_for_inference
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError, first_line, is_out_of_device_memory
from spinet.fuse.formats import EXACT, HALF
from spinet.fuse.fuse import fuse
from spinet.hub.fetch import local_path
from spinet.models.classifier import Classifier
from spinet.models.rcnn import RCNN
from spinet.timing import Clock, Run

WHOLE = "pipeline"
# Sides of the input images by those of the network input, so that there is something to resize.
OVERSIZE = 1.25


@dataclass(frozen=True)
class Case:
    """One model on one backend, ready to run.

    `run` returns the seconds of each stage, their sum under `whole` and, where it can be told apart, the network alone
    under `core`. `work` is what `core` computes; `macs` are the multiply-adds of one image by the architecture.
    """

    name: str
    backend: str
    precision: ExportPrecision
    run: Run
    images: int
    macs: int | None = None
    work: Work | None = None
    whole: str = WHOLE
    core: str = "network"


@dataclass(frozen=True)
class Subject:
    """A Spinet model to measure: an architecture with untrained weights, or a trained model."""

    name: str
    model: Model
    info: ModelInfo

    @classmethod
    def load(cls, name: str, options: BenchmarkOptions) -> "Subject":
        """Build an architecture or baseline by name, or load a run folder or weights file with its own head."""
        path = local_path(name)
        if path.is_dir() or path.suffix in (".safetensors", ".zip"):
            model, info = load_model(path)
            return cls(name, model, replace(info, image_size=options.image_size))
        settings = ModelConfig(arch=name, head=options.head)
        labels = tuple(map(str, range(options.classes)))
        info = ModelInfo(load_network(name), settings, labels, tuple(range(options.classes)), options.image_size)
        torch.manual_seed(0)
        return cls(name, info.create_model().eval(), info)

    def macs(self) -> int | None:
        """Return the multiply-adds of one image by the architecture; None for baselines, which have no genotype."""
        if isinstance(self.info.architecture, Baseline):
            return None
        model = self.info.model
        anchors = model.octaves * len(model.aspect_ratios)
        size = self.info.image_size
        return model_cost(self.info.architecture, size, model.head, len(self.info.class_names), anchors).multiply_adds

    def batch(self, images: Sequence[Tensor], device: torch.device) -> Tensor:
        """Resize, pad and normalize images to a batch `(N, 3, S, S)`, as prediction does."""
        if isinstance(self.model, Classifier):
            classify = ClassEvalTransform(self.info.image_size)
            return torch.stack([classify(image.to(device)) for image in images])
        detect = EvalTransform(self.info.image_size)
        return torch.stack([detect(image.to(device))[0] for image in images])


def synthetic_images(count: int, image_size: int) -> list[Tensor]:
    """Generate square uint8 RGB images `(3, H, W)`, larger than the network input."""
    side = round(OVERSIZE * image_size)
    return [image.permute(2, 0, 1).contiguous() for image in sample_images(count, side, side)]


def torch_case(subject: Subject, backend: str, precision: str, images: Sequence[Tensor], device: torch.device) -> Case:
    """Return a Spinet model in PyTorch, fused and channels-last."""
    layout = {"fp32": EXACT, "bf16": HALF}[precision]
    model = fuse(subject.model.to(device), dtype=layout.dtype, channels_last=layout.channels_last)
    batch = subject.batch(images, device)
    with torch.no_grad(), explained(subject.name, backend, precision, len(images)):
        work = count_work(lambda: model(batch))
    # An R-CNN selects proposals between the parts of its network, so post-processing cannot be told apart.
    first, last = (model.backbone, None) if isinstance(model, RCNN) else (model, model)
    run = staged_run(lambda: model.predict(subject.batch(images, device)), device, first, last)
    if backend == "compile":
        compile_for_inference(model, device)
    return Case(subject.name, backend, cast(ExportPrecision, precision), run, len(images), subject.macs(), work)


def staged_run(call: Callable[[], object], device: torch.device, first: nn.Module, last: nn.Module | None) -> Run:
    """Return a run of a call: stage "pre" ends when `first` starts, "network" when `last` returns, or at the end."""
    clock = Clock(device)
    first.register_forward_pre_hook(lambda *_: clock.lap("pre"))
    if last is not None:
        last.register_forward_hook(lambda *_: clock.lap("network"))

    @torch.no_grad()
    def run() -> dict[str, float]:
        clock.start()
        call()
        clock.lap("network" if last is None else "post")
        return clock.total(WHOLE)

    return run


@contextlib.contextmanager
def explained(name: str, backend: str, precision: str, images: int) -> Iterator[None]:
    """Turn errors of a first run into a sentence where the cause is known."""
    label = f"{name}, {backend} {precision}"
    try:
        yield
    except SpinetError:
        raise
    except Exception as error:
        if is_out_of_device_memory(error):
            raise SpinetError(f"{label}: {images} images do not fit into GPU memory") from None
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            raise SpinetError(
                f"{label}: batch norm needs more than one value per channel; use a larger image_size or batch_size"
            ) from None
        if backend != "compile":
            raise
        raise SpinetError(f"{label}: torch.compile failed: {first_line(error)}") from None
