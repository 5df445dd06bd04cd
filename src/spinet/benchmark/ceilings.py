"""Hardware peaks, measured in turn with the models: matrix products and memory bandwidth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch.nn import functional

from spinet.deploy.formats import quiet
from spinet.deploy.manifest import ExportPrecision
from spinet.deploy.sessions import openvino_core, openvino_settings
from spinet.extras import import_extra
from spinet.timing import Run, timed

# Side of the square matrices, and length of the three arrays for memory bandwidth: far more than caches hold.
SIDES = {"cpu": 2048, "cuda": 8192}
NUMBERS = {"cpu": 2**24, "cuda": 2**28}
REPEATS = 3
STAGE = "ceiling"
MEMORY = "memory"


@dataclass(frozen=True)
class Ceiling:
    """A hardware limit: `MEMORY`, or precision and library of a matrix product; bytes or multiply-adds per run."""

    name: str
    run: Run
    amount: int


def matrix_ceilings(
    precision: ExportPrecision, device: torch.device, threads: int, side: int | None = None
) -> Iterator[Ceiling]:
    """Yield the product of two square matrices by every library at hand; which is fastest depends on the processor.

    On NVIDIA GPUs fp32 means full fp32, while cuDNN's convolutions round to TF32 unless told otherwise. OpenVINO takes
    part on CPUs if it is installed, with `threads` threads (0: its own choice). int8 accumulates in more bits.
    """
    side = side or SIDES.get(device.type, SIDES["cpu"])
    products: dict[str, Callable[[], object]] = {}
    if precision != "int8":
        products |= _torch_products(side, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], device)
    if device.type == "cpu" and (precision == "int8" or find_spec("openvino")):
        products["OpenVINO"] = _openvino_product(side, precision, threads)
    for library, product in products.items():
        yield Ceiling(f"{precision}, {library}", _repeated(product, device), REPEATS * side**3)


def fastest(precision: str, rates: Mapping[str, float]) -> str:
    """Return the name of the fastest product in a precision.

    >>> fastest("fp32", {"fp32, OpenVINO": 2.0, "fp32, torch.mm": 1.0, "bf16, OpenVINO": 4.0})
    'fp32, OpenVINO'
    """
    return max((name for name in rates if name.startswith(f"{precision},")), key=rates.__getitem__)


def memory_ceiling(device: torch.device, numbers: int | None = None) -> Ceiling:
    """Return `a = b + s * c` over long arrays: two read, one written (McCalpin's STREAM, "triad")."""
    count = numbers or NUMBERS.get(device.type, NUMBERS["cpu"])
    first, second, out = (torch.zeros(count, device=device) for _ in range(3))
    triad = _repeated(lambda: torch.add(first, second, alpha=3.0, out=out), device)
    return Ceiling(MEMORY, triad, REPEATS * 3 * 4 * count)


def _repeated(call: Callable[[], object], device: torch.device) -> Run:
    run = timed(STAGE, lambda: [call() for _ in range(REPEATS)], device)

    @torch.no_grad()
    def warm_run() -> dict[str, float]:
        # The model before it left other data in the caches and the processor at another clock rate.
        call()
        return run()

    return warm_run


def _torch_products(side: int, dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[], object]]:
    first, second = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(first)
    # The same product as a 1x1 convolution: on CPUs it goes to oneDNN, where torch.mm in fp32 goes to the BLAS.
    pixels, weights = first.T[None, :, :, None], second.T[:, :, None, None].contiguous()
    return {
        "torch.mm": lambda: torch.mm(first, second, out=out),
        "torch convolution": lambda: functional.conv2d(pixels, weights),
    }


def _openvino_product(side: int, precision: ExportPrecision, threads: int) -> Callable[[], object]:
    openvino = import_extra("openvino", "export", "measuring OpenVINO's ceiling")
    operators = import_extra("openvino.opset13", "export", "measuring OpenVINO's ceiling")
    random = np.random.default_rng(0)
    rows = operators.parameter([side, side], np.float32)
    weights = operators.constant(random.random((side, side), np.float32))
    model = openvino.Model([operators.matmul(rows, weights, False, True)], [rows])
    values = random.random((side, side), np.float32)
    if precision == "int8":
        nncf = import_extra("nncf", "export", "computing in 8-bit integers")
        with quiet():
            model = nncf.quantize(model, nncf.Dataset([values]), subset_size=1)
    request = openvino_core().compile_model(model, "CPU", openvino_settings(precision, threads)).create_infer_request()
    return lambda: request.infer([values], share_inputs=True)
