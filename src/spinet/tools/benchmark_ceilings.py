"""How fast this machine multiplies matrices and moves memory, measured in turn with what is compared with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from spinet.tools.benchmark_rounds import Clock, Run
from spinet.tools.export_formats import quiet
from spinet.tools.export_manifest import Precision, import_export
from spinet.tools.exported_sessions import openvino_settings

# Side of the square matrices, and numbers in each of the three arrays that memory is read from and written to: far more
# than caches hold.
SIDES = {"cpu": 2048, "cuda": 8192}
NUMBERS = {"cpu": 2**24, "cuda": 2**28}
STAGE = "ceiling"
MEMORY = "memory"


@dataclass(frozen=True)
class Ceiling:
    """Something that a machine can do at most so fast.

    Attributes:
        name: `MEMORY`, or by `ceiling_name` a matrix product.
        run: does it once.
        amount: multiply-adds, or bytes, of one run.
    """

    name: str
    run: Run
    amount: int


def ceiling_name(backend: str, precision: Precision) -> str:
    """Return the name of the matrix product that a backend's convolutions are compared with.

    OpenVINO has its own; onnxruntime is compared with PyTorch's (oneDNN's on CPUs).

    >>> ceiling_name("onnxruntime", "fp32"), ceiling_name("openvino", "bf16")
    ('torch fp32', 'openvino bf16')
    """
    return f"{'openvino' if backend == 'openvino' else 'torch'} {precision}"


def matrix_ceiling(name: str, device: torch.device, threads: int, side: int | None = None) -> Ceiling:
    """Return the product of two square matrices.

    On NVIDIA GPUs it is of full fp32, while cuDNN's convolutions round to TF32 unless told otherwise.

    Args:
        name: what `ceiling_name` gave.
        device: where PyTorch's is.
        threads: of OpenVINO's; 0 leaves it to the runtime.
        side: of the matrices.
    """
    side = side or SIDES.get(device.type, SIDES["cpu"])
    backend, precision = name.split()
    if backend == "openvino":
        product = _openvino_product(side, cast(Precision, precision), threads)
    else:
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        first, second = (torch.rand(side, side, device=device).to(kind) for _ in range(2))
        out = torch.empty_like(first)

        def product() -> object:
            return torch.mm(first, second, out=out)

    return Ceiling(name, _timed(product, device), side**3)


def memory_ceiling(device: torch.device, numbers: int | None = None) -> Ceiling:
    """Return `a = b + s * c` over long arrays: two read, one written (McCalpin's STREAM, "triad")."""
    count = numbers or NUMBERS.get(device.type, NUMBERS["cpu"])
    first, second, out = (torch.zeros(count, device=device) for _ in range(3))
    return Ceiling(MEMORY, _timed(lambda: torch.add(first, second, alpha=3.0, out=out), device), 3 * 4 * count)


def _timed(call: Callable[[], object], device: torch.device) -> Run:
    clock = Clock(device)

    @torch.no_grad()
    def run() -> dict[str, float]:
        clock.start()
        call()
        clock.lap(STAGE)
        return clock.stages

    return run


def _openvino_product(side: int, precision: Precision, threads: int) -> Callable[[], object]:
    openvino = import_export("openvino", "measuring OpenVINO's ceiling")
    operators = import_export("openvino.opset13", "measuring OpenVINO's ceiling")
    random = np.random.default_rng(0)
    rows = operators.parameter([side, side], np.float32)
    weights = operators.constant(random.random((side, side), np.float32))
    model = openvino.Model([operators.matmul(rows, weights, False, True)], [rows])
    values = random.random((side, side), np.float32)
    if precision == "int8":
        nncf = import_export("nncf", "computing in 8-bit integers")
        with quiet():
            model = nncf.quantize(model, nncf.Dataset([values]), subset_size=1)
    request = openvino.Core().compile_model(model, "CPU", openvino_settings(precision, threads)).create_infer_request()
    return lambda: request.infer([values], share_inputs=True)
