"""Runs the files of each format: uint8 images in, named outputs out."""

import contextlib
import io
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from spinet.deploy.manifest import INPUT, KEY, ExportFormat, ExportPrecision, Manifest
from spinet.deploy.trust import read_program
from spinet.engine.checkpoint import holds_weights
from spinet.errors import SpinetError
from spinet.extras import import_extra

CPU = torch.device("cpu")
SUFFIXES: dict[str, ExportFormat] = {".onnx": "onnx", ".xml": "openvino", ".pt2": "pt2"}


class InferenceSession(Protocol):
    """A file that is ready to run: built from a path or the model itself, and the name of the file in errors.

    With 0 `threads`, the runtime chooses the number of CPU threads.

    Attributes:
        manifest: its description.
        where: the name of the file in errors.
    """

    manifest: Manifest
    where: str

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Map uint8 RGB `(N, H, W, 3)` to all outputs by name; N, H and W are those of the manifest."""
        ...


class OnnxSession:
    """A file, or its bytes, in onnxruntime, on the CPU."""

    def __init__(self, model: Path | bytes, where: str, threads: int = 0) -> None:
        runtime = import_extra("onnxruntime", "export", "running an ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            source = model if isinstance(model, bytes) else str(model)
            self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base class
            raise SpinetError(f"onnxruntime could not read {where}: {_first_line(error)}") from None
        self.where = where
        self.manifest = Manifest.from_json(self._session.get_modelmeta().custom_metadata_map.get(KEY), where)
        self._names = [output.name for output in self._session.get_outputs()]

    def check(self) -> None:
        """Raise a SpinetError if the file is not as its manifest says."""
        shapes = {found.name: found.shape for found in self._session.get_inputs()}
        self.manifest.check(shapes, self._names, self.where)

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """See `InferenceSession`."""
        values = self._session.run(None, {INPUT: images.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(self._names, values, strict=True)}


class OpenVinoSession:
    """A file, or an `openvino.Model`, in OpenVINO, on the CPU, for the lowest latency.

    `precision` is that of the arithmetic, the manifest's if None; quantized layers stay quantized.
    """

    def __init__(
        self, model: Any, where: str, threads: int = 0, precision: Literal["fp32", "bf16"] | None = None
    ) -> None:
        core = openvino_core()
        try:
            network = core.read_model(model) if isinstance(model, Path) else model
        except RuntimeError as error:
            raise SpinetError(f"OpenVINO could not read {where}: {_first_line(error)}") from None
        text = network.get_rt_info([KEY]).astype(str) if network.has_rt_info([KEY]) else None
        self.where, self.manifest = where, Manifest.from_json(text, where)
        settings = openvino_settings(precision or self.manifest.precision, threads)
        self._inputs = {found.any_name: [_length(side) for side in found.partial_shape] for found in network.inputs}
        self._names = [output.any_name for output in network.outputs]
        self._request = core.compile_model(network, "CPU", settings).create_infer_request()

    def check(self) -> None:
        """Raise a SpinetError if the file is not as its manifest says."""
        self.manifest.check(self._inputs, self._names, self.where)

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """See `InferenceSession`."""
        values = self._request.infer({INPUT: images.numpy()})
        # Copies, because the runtime reuses its buffers for the next images.
        return {name: torch.from_numpy(value.copy()) for name, value in zip(self._names, values.values(), strict=True)}


@cache
def openvino_core() -> Any:
    """Return OpenVINO's `Core`, a single one that lives as long as the process.

    Every Core installs its own stack for signal handlers and restores the previous one when it ends. If an older Core
    ends first, the newer one restores a stack that no longer exists, and the next handled signal, such as the end of a
    data loader's process, kills this process silently (OpenVINO 2026.4, intel_cpu plugin).

    Raises:
        SpinetError: OpenVINO is not installed.
    """
    return import_extra("openvino", "export", "computing with OpenVINO").Core()


def openvino_settings(precision: ExportPrecision, threads: int) -> dict[str, Any]:
    """Return OpenVINO's settings for the lowest latency; 0 threads leave the number to the runtime."""
    # Without a hint, some processors choose bf16.
    hint = "bf16" if precision == "bf16" else "f32"
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    return settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {})


class ProgramSession:
    """A program of `torch.export`, as bytes, on any device of PyTorch, whatever it was exported on.

    Opening it runs code inside it: the bytes come from `read_program`, or were just exported. `raw_names` are the
    outputs that follow those of the manifest. `threads` apply to the whole process.
    """

    def __init__(
        self,
        content: bytes,
        where: str,
        threads: int = 0,
        raw_names: Sequence[str] = (),
        device: torch.device = CPU,
    ) -> None:
        import torchvision  # noqa: F401  (registers its operators)

        if threads:
            torch.set_num_threads(threads)
        extra = {KEY: ""}
        log = logging.getLogger("torch.export")
        silent, log.disabled = log.disabled, True  # it logs the traceback of an error before it raises another one
        try:
            program = torch.export.load(io.BytesIO(content), extra_files=extra)
        except Exception as error:  # any error raised by a corrupt archive
            raise SpinetError(f"PyTorch could not read {where}: {_first_line(error)}") from None
        finally:
            log.disabled = silent
        self.where, self.manifest = where, Manifest.from_json(extra[KEY], where)
        self._names = (*self.manifest.outputs, *raw_names)
        self._device = device
        # `.to` of a program would leave the tensors that it creates on the CPU.
        self._program = (program if device.type == "cpu" else move_to_device_pass(program, str(device))).module()

    @torch.no_grad()
    def run(self, images: Tensor) -> dict[str, Tensor]:
        """See `InferenceSession`."""
        values = (value.cpu() for value in self._program(images.to(self._device)))
        return dict(zip(self._names, values, strict=False))


def exported_file(path: Path) -> Path | None:
    """Return the exported file that a path stands for: itself, or the .xml in an OpenVINO folder; None otherwise.

    A run folder stands for its weights, even if it contains exported files.
    """
    if path.suffix in SUFFIXES and not path.is_dir():
        return path
    if holds_weights(path):
        return None
    with contextlib.suppress(OSError, ValueError):
        (inside,) = path.glob("*.xml")
        return inside
    return None


def open_session(
    path: Path,
    threads: int = 0,
    precision: Literal["fp32", "bf16"] | None = None,
    device: torch.device = CPU,
    trust: bool = False,
) -> InferenceSession:
    """Open an exported file of any format; `trust` opens a .pt2 file that was not exported here (`deploy.trust`).

    Raises:
        SpinetError: it is missing, corrupt, not written by Spinet or of another version, its runtime is not installed,
            or does not support `precision`, `threads`, `device` or `trust`; or a .pt2 file is not trusted.
    """
    file = exported_file(path)
    if file is None:
        raise SpinetError(f"{path} is not an exported file; expected {', '.join(SUFFIXES)} or a folder with one .xml")
    if not file.is_file():
        raise SpinetError(f"there is no exported file {path}")
    if threads < 0:
        raise SpinetError(f"threads is {threads}; it must be at least 1, or 0 to leave the number to the runtime")
    kind = SUFFIXES[file.suffix]
    if kind != "pt2" and device.type != "cpu":
        raise SpinetError(f"{path} runs on the CPU only; the device {device} is for .pt2 files")
    if kind != "pt2" and trust:
        raise SpinetError(f"trust is for .pt2 files, which {path} is not")
    if kind == "openvino":
        if not file.with_suffix(".bin").is_file():
            raise SpinetError(f"{file} has no weights: {file.with_suffix('.bin').name} must be beside it")
        return _checked(OpenVinoSession(file, str(path), threads, precision))
    if precision == "bf16":
        raise SpinetError(f"{path} computes in fp32; bf16 is for OpenVINO files")
    if kind == "onnx":
        return _checked(OnnxSession(file, str(path), threads))
    return ProgramSession(read_program(file, trust), str(path), threads, device=device)


def _checked(session: OnnxSession | OpenVinoSession) -> InferenceSession:
    session.check()
    return session


def _length(side: Any) -> int | None:
    return side.get_length() if side.is_static else None


def _first_line(error: Exception) -> str:
    """Return the first informative line; OpenVINO starts with places in its own code."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith(("Exception from ", "Check '"))]
    return (lines or [type(error).__name__])[0][:200]
