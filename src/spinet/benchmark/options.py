"""Settings of a benchmark, readable without PyTorch so that `spinet benchmark --help` answers at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from spinet.arch.head_cost import ModelHead
from spinet.errors import SpinetError, unknown_name
from spinet.fields import check_image_size

# Precisions that each backend supports.
SUPPORTED = {
    "eager": ("fp32", "bf16"),
    "compile": ("fp32", "bf16"),
    "onnxruntime": ("fp32",),
    "openvino": ("fp32", "bf16", "int8"),
}
PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class BenchmarkOptions:
    """How models are measured.

    Attributes:
        image_size: Side of the square network input, pixels.
        batch_size: Images per batch; exported files have a batch size of their own.
        backends: One or more that run each model.
        precisions: One or more; onnxruntime runs fp32 only, int8 needs openvino.
        head: Head on architectures and baselines.
        classes: Classes of architectures and baselines; torchvision's detectors count the background as one.
        threads: CPU threads in all runtimes; 0 takes PyTorch's number.
        rounds: Measured runs of each model.
        warm_up: Runs of each model before that.
        calibration: Folder of images to calibrate int8 with.
        against: Model that the other times are divided by; the first one by default.
        trust: Open .pt2 files that were not exported on this machine by this user, which runs code inside them.
        ceiling_side: Side of the matrices multiplied to find the hardware peak; depends on the device by default.
        ceiling_numbers: Length of the arrays copied to find the memory bandwidth; likewise.

    Raises:
        SpinetError: a number is too small, or a name is unknown, or no backend supports a precision.
    """

    image_size: int = 640
    batch_size: int = 1
    backends: Annotated[
        tuple[Literal["eager", "compile", "onnxruntime", "openvino"], ...], tyro.conf.arg(name="backend")
    ] = ("eager",)
    precisions: Annotated[tuple[Literal["fp32", "bf16", "int8"], ...], tyro.conf.arg(name="precision")] = ("fp32",)
    head: ModelHead = "retinanet"
    classes: int = 91
    threads: int = 0
    rounds: int = 20
    warm_up: int = 2
    calibration: Path | None = None
    against: str = ""
    trust: bool = False
    ceiling_side: tyro.conf.Suppress[int | None] = None
    ceiling_numbers: tyro.conf.Suppress[int | None] = None

    def __post_init__(self) -> None:
        check_image_size(self.image_size)
        least = dict.fromkeys(("batch_size", "classes", "rounds"), 1) | {"threads": 0, "warm_up": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise SpinetError(f"{name} is {getattr(self, name)}; it must be at least {minimum}")
        known = {"backend": SUPPORTED, "precision": PRECISIONS, "head": get_args(ModelHead)}
        for kind, names in {"backend": self.backends, "precision": self.precisions, "head": (self.head,)}.items():
            for name in names:
                if name not in known[kind]:
                    raise unknown_name(kind, name, known[kind])
        for precision in self.precisions:
            able = [backend for backend, precisions in SUPPORTED.items() if precision in precisions]
            if not set(able) & set(self.backends):
                raise SpinetError(f"{', '.join(self.backends)} cannot run {precision}; use {', '.join(able)}")

    def runs(self) -> list[tuple[str, str]]:
        """Return the pairs of a backend and a precision that it supports."""
        return [(backend, name) for backend in self.backends for name in self.precisions if name in SUPPORTED[backend]]
