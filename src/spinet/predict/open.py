"""Opening whatever predicts: a run folder, a weights file or an exported file."""

from pathlib import Path
from typing import Any, cast

import torch

from spinet.deploy.exported import ExportedClassifier, ExportedDetector
from spinet.deploy.sessions import exported_file, open_session
from spinet.engine.checkpoint import load_model
from spinet.engine.compiling import compile_for_inference
from spinet.engine.distributed import pick_device
from spinet.engine.machine import choose_threads, use_threads
from spinet.errors import SpinetError
from spinet.fuse.formats import Precision, check_precision, fuse_in
from spinet.hub.fetch import local_path
from spinet.predict.predictor import Predictor
from spinet.threads import available_cores


def load(
    path: str | Path,
    device: str | torch.device = "auto",
    *,
    precision: Precision | None = None,
    threads: int = 0,
    fused: bool = True,
    compile: bool = False,
    trust: bool = False,
) -> Predictor:
    """Load a trained model: `spinet.load("runs/mine").predict("cat.jpg").plot().show()`.

    Args:
        path: a run folder, a weights file, a .zip of `pack`, an address of weights (`hub.fetch.local_path`), or an
            exported file (.onnx, OpenVINO .xml or its folder, .pt2).
        device: `"auto"`, `"cpu"`, `"cuda"` ...; ONNX and OpenVINO files run on the CPU.
        precision: runs and weights files: `"fp32"` if None, `"bf16"`, or `"auto"`, the fastest after a few measured
            runs. OpenVINO files: `"fp32"` or `"bf16"`; what the file was exported for if None or `"auto"`.
        threads: CPU threads; 0 leaves the number to the runtime, within the cores that this process may use. For runs,
            weights files and .pt2 files it applies to PyTorch in this whole process.
        fused: runs and weights files: fold batch norms and the like into the layers, which is faster and changes
            results by rounding only. Exported files are fused already.
        compile: runs and weights files: compile the network with torch.compile at the first image.
        trust: .pt2 files: open one that was not exported on this machine by this user. Opening it runs code inside it.

    Raises:
        SpinetError: the file is missing, corrupt or not a model of Spinet, its runtime is not installed, or an option
            does not apply to it.
    """
    path = local_path(path)
    check_precision(precision or "fp32")
    file = exported_file(path)
    if file is not None:
        if compile:
            raise SpinetError(f"compile is for runs and weights files; {path} was compiled when it was exported")
        device = pick_device("cpu" if str(device) == "auto" and file.suffix != ".pt2" else str(device))
        number = threads_for(path, threads)
        session = open_session(path, number, None if precision == "auto" else precision, device, trust)
        info = session.manifest.info
        return Predictor(ExportedClassifier(session) if info.kind == "classifier" else ExportedDetector(session), info)
    if trust:
        raise SpinetError(f"trust is for .pt2 files, which {path} is not")
    use_threads(threads)
    if not fused and precision:
        raise SpinetError(f"precision is for exported files, which {path} is not, or for runs with fused")
    device = pick_device(str(device))
    model, info = load_model(path, device)
    if fused:
        model = fuse_in(precision or "fp32", cast(Any, model), info.image_size, device)
    if compile:
        compile_for_inference(model, device)
    return Predictor(model, info, device)


def threads_for(path: Path, asked: int = 0) -> int:
    """Return the number of CPU threads that `load` gives a model: what was asked for, else as many as there are cores.

    0 leaves the number to ONNX Runtime or OpenVINO, which know no quotas, but count the cores of a whole machine well.

    Raises:
        SpinetError: the number is out of range.
    """
    number, file, cores = choose_threads(asked), exported_file(path), available_cores()
    if file is None or file.suffix == ".pt2":
        return number
    return asked or (cores.number if cores.limit else 0)
