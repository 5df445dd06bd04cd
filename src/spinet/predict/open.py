"""Opening whatever predicts: a run folder, a weights file or an exported file."""

from pathlib import Path
from typing import Any, cast

import torch

from spinet.deploy.exported import open_exported
from spinet.deploy.sessions import exported_file
from spinet.engine.checkpoint import load_model
from spinet.engine.compiling import compile_for_inference
from spinet.engine.distributed import pick_device
from spinet.errors import SpinetError
from spinet.fuse.formats import Precision, check_precision, fuse_in
from spinet.predict.predictor import Predictor


def open_model(
    path: str | Path,
    *,
    device: str | torch.device = "auto",
    precision: Precision | None = None,
    threads: int = 0,
    fused: bool = True,
    compile: bool = False,
) -> Predictor:
    """Open a trained model for prediction.

    Args:
        path: a run folder, a weights file, or an exported file (.onnx, OpenVINO .xml or its folder, .pt2).
        device: `"auto"`, `"cpu"`, `"cuda"` ...; ONNX and OpenVINO files run on the CPU.
        precision: runs and weights files: `"fp32"` if None, `"bf16"`, or `"auto"`, the fastest after a few measured
            runs. OpenVINO files: `"fp32"` or `"bf16"`; what the file was exported for if None or `"auto"`.
        threads: exported files: CPU threads; 0 leaves the number to the runtime.
        fused: runs and weights files: fold batch norms and the like into the layers, which is faster and changes
            results by rounding only.
        compile: runs and weights files: compile the network with torch.compile at the first image.

    Raises:
        SpinetError: the file is missing, corrupt or no model of ours, its runtime is not installed, or an option does
            not apply to it.
    """
    path = Path(path)
    check_precision(precision or "fp32")
    file = exported_file(path)
    if file is not None:
        if compile:
            raise SpinetError(f"compile is for runs and weights files; {path} was compiled when it was exported")
        place = pick_device("cpu" if str(device) == "auto" and file.suffix != ".pt2" else str(device))
        exported = open_exported(path, threads, None if precision == "auto" else precision, place)
        return Predictor(exported, exported.info)
    if threads:
        raise SpinetError(f"threads is for exported files, which {path} is not")
    if not fused and precision:
        raise SpinetError(f"precision is for exported files, which {path} is not, or for runs with fused")
    place = pick_device(str(device))
    model, info = load_model(path, place)
    if fused:
        model = fuse_in(precision or "fp32", cast(Any, model), info.image_size, place)
    if compile:
        compile_for_inference(model, place)
    return Predictor(model, info, place)
