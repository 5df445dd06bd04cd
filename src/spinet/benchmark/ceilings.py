"""How fast this machine multiplies matrices and moves memory, measured in turn with what is compared with it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch.nn import functional

from spinet.deploy.formats import quiet
from spinet.deploy.manifest import Precision
from spinet.deploy.sessions import openvino_core, openvino_settings
from spinet.extras import import_extra
from spinet.timing import Run, timed

# Side of the square matrices, and numbers in each of the three arrays that memory is read from and written to: far more
# than caches hold.
SIDES = {"cpu": 2048, "cuda": 8192}
NUMBERS = {"cpu": 2**24, "cuda": 2**28}
REPEATS = 3
STAGE = "ceiling"
MEMORY = "memory"


@dataclass(frozen=True)
class Ceiling:
    """Something that a machine can do at most so fast.

    Attributes:
        name: `MEMORY`, or of a matrix product its precision and the library that computes it.
        run: does it once.
        amount: multiply-adds, or bytes, of one run.
    """

    name: str
    run: Run
    amount: int


def matrix_ceilings(
    precision: Precision, device: torch.device, threads: int, side: int | None = None
) -> Iterator[Ceiling]:
    """Make the product of two square matrices, by every library that is here: a machine's rate is that of the fastest.

    Which one that is depends on the processor. On NVIDIA GPUs fp32 is full fp32, while cuDNN's convolutions round to
    TF32 unless told otherwise.

    Args:
        precision: of the arithmetic; the sums of int8 are kept in more.
        device: on CPUs OpenVINO takes part if it is installed.
        threads: of OpenVINO's; 0 leaves it to the runtime.
        side: of the matrices.

    Raises:
        SpinetError: int8, and OpenVINO or NNCF is not installed.
    """
    side = side or SIDES.get(device.type, SIDES["cpu"])
    products: dict[str, Callable[[], object]] = {}
    if precision != "int8":
        products |= _torch_products(side, {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], device)
    if device.type == "cpu" and (precision == "int8" or find_spec("openvino")):
        products["OpenVINO"] = _openvino_product(side, precision, threads)
    for library, product in products.items():
        yield Ceiling(f"{precision}, {library}", _timed(product, device), REPEATS * side**3)


def fastest(precision: str, rates: Mapping[str, float]) -> str:
    """Return the name of the fastest product of a precision.

    >>> fastest("fp32", {"fp32, OpenVINO": 2.0, "fp32, torch.mm": 1.0, "bf16, OpenVINO": 4.0})
    'fp32, OpenVINO'
    """
    return max((name for name in rates if name.startswith(f"{precision},")), key=rates.__getitem__)


def memory_ceiling(device: torch.device, numbers: int | None = None) -> Ceiling:
    """Return `a = b + s * c` over long arrays: two read, one written (McCalpin's STREAM, "triad")."""
    count = numbers or NUMBERS.get(device.type, NUMBERS["cpu"])
    first, second, out = (torch.zeros(count, device=device) for _ in range(3))
    triad = _timed(lambda: torch.add(first, second, alpha=3.0, out=out), device)
    return Ceiling(MEMORY, triad, REPEATS * 3 * 4 * count)


def _timed(call: Callable[[], object], device: torch.device) -> Run:
    run = timed(STAGE, lambda: [call() for _ in range(REPEATS)], device)

    @torch.no_grad()
    def warm_run() -> dict[str, float]:
        # What ran before has left other numbers in the caches, and the processor at another clock.
        call()
        return run()

    return warm_run


def _torch_products(side: int, kind: torch.dtype, device: torch.device) -> dict[str, Callable[[], object]]:
    first, second = (torch.rand(side, side, device=device).to(kind) for _ in range(2))
    out = torch.empty_like(first)
    # The same product as a 1x1 convolution: on CPUs it goes to oneDNN, where torch.mm in fp32 goes to the BLAS.
    pixels, weights = first.T[None, :, :, None], second.T[:, :, None, None].contiguous()

    def mm() -> object:
        return torch.mm(first, second, out=out)

    def convolution() -> object:
        return functional.conv2d(pixels, weights)

    return {"torch.mm": mm, "torch convolution": convolution}


def _openvino_product(side: int, precision: Precision, threads: int) -> Callable[[], object]:
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
