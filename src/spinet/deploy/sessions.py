"""Running the files of each format: grey levels in, the outputs by their names."""

import contextlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from spinet.deploy.manifest import KEY, ExportFormat, Manifest, Precision
from spinet.engine.checkpoint import holds_weights
from spinet.errors import SpinetError
from spinet.extras import import_extra

CPU = torch.device("cpu")
SUFFIXES: dict[str, ExportFormat] = {".onnx": "onnx", ".xml": "openvino", ".pt2": "pt2"}


class Session(Protocol):
    """A file that is ready to run.

    Attributes:
        manifest: what the file says about itself.
    """

    manifest: Manifest

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Map uint8 RGB `(N, H, W, 3)` to all outputs by name; N, H and W are those of the manifest."""
        ...


class OnnxSession:
    """A file in onnxruntime, on the CPU.

    Args:
        model: a path or the bytes of the file.
        where: names the file in errors.
        threads: how many compute; 0 leaves it to the runtime.
    """

    def __init__(self, model: Path | bytes, where: str, threads: int = 0) -> None:
        runtime = import_extra("onnxruntime", "export", "running an ONNX file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            source = model if isinstance(model, bytes) else str(model)
            self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise SpinetError(f"onnxruntime could not read {where}: {_first_line(error)}") from None
        self.manifest = Manifest.from_json(self._session.get_modelmeta().custom_metadata_map.get(KEY), where)
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """See `Session`."""
        values = self._session.run(None, {"images": images.numpy()})
        return {name: torch.from_numpy(value) for name, value in zip(self._names, values, strict=True)}


class OpenVinoSession:
    """A file in OpenVINO, on the CPU, for the lowest latency.

    Args:
        model: a path, or an `openvino.Model`.
        where: names the file in errors.
        threads: how many compute; 0 leaves it to the runtime.
        precision: of the arithmetic; the manifest's if None. What is quantised stays so.
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
        self.manifest = Manifest.from_json(text, where)
        settings = openvino_settings(precision or self.manifest.precision, threads)
        self._names = [output.any_name for output in network.outputs]
        self._request = core.compile_model(network, "CPU", settings).create_infer_request()

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """See `Session`."""
        values = self._request.infer({"images": images.numpy()})
        # Copies: the runtime overwrites its own with the next images.
        return {name: torch.from_numpy(value.copy()) for name, value in zip(self._names, values.values(), strict=True)}


@cache
def openvino_core() -> Any:
    """Return OpenVINO's `Core`, one for the whole process, which stays.

    Every Core gives its thread another stack for signal handlers, and takes it away in the end. When an older one ends
    first, what it has restored is a stack that is gone, and the next signal with a handler, such as the end of a data
    loader's process, kills this process without a word (OpenVINO 2026.4, intel_cpu plugin).

    Raises:
        SpinetError: OpenVINO is not installed.
    """
    return import_extra("openvino", "export", "computing with OpenVINO").Core()


def openvino_settings(precision: Precision, threads: int) -> dict[str, Any]:
    """Return OpenVINO's settings for the lowest latency; 0 threads leave it to the runtime."""
    # Some processors would take bf16 unasked.
    hint = "bf16" if precision == "bf16" else "f32"
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    return settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {})


class ProgramSession:
    """A program of `torch.export`, on any device of PyTorch's.

    Args:
        path: the file.
        where: names it in errors.
        threads: how many compute, in this whole process; 0 leaves it as it is.
        raw_names: of outputs behind those of the manifest, where they are wanted too.
        device: where it runs, whatever it was exported on.
    """

    def __init__(
        self,
        path: Path,
        where: str,
        threads: int = 0,
        raw_names: Sequence[str] = (),
        device: torch.device = CPU,
    ) -> None:
        import torchvision  # noqa: F401  (its operators are in the program)

        if threads:
            torch.set_num_threads(threads)
        extra = {KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except Exception as error:  # whatever a damaged archive makes of it
            raise SpinetError(f"PyTorch could not read {where}: {_first_line(error)}") from None
        self.manifest = Manifest.from_json(extra[KEY], where)
        self._names = (*self.manifest.outputs, *raw_names)
        self._device = device
        self._program = (program if device.type == "cpu" else move_program(program, device)).module()

    @torch.no_grad()
    def run(self, images: Tensor) -> dict[str, Tensor]:
        """See `Session`."""
        values = (value.cpu() for value in self._program(images.to(self._device)))
        return dict(zip(self._names, values, strict=False))


def move_program(program: torch.export.ExportedProgram, device: torch.device) -> torch.export.ExportedProgram:
    """Return a program with its weights, and all that it makes anew, on a device."""
    moved: torch.export.ExportedProgram = move_to_device_pass(program, str(device))
    return moved


def exported_file(path: Path) -> Path | None:
    """Return the exported file that a path means, itself or the .xml file in an OpenVINO folder; None if it is none.

    A run folder means its weights, whatever was exported into it.
    """
    if path.suffix in SUFFIXES and not path.is_dir():
        return path
    if holds_weights(path):
        return None
    with contextlib.suppress(OSError):
        inside = sorted(path.glob("*.xml")) if path.is_dir() else []
        if len(inside) == 1:
            return inside[0]
    return None


def open_session(
    path: Path,
    threads: int = 0,
    precision: Literal["fp32", "bf16"] | None = None,
    device: torch.device = CPU,
) -> Session:
    """Open an exported file of any format.

    Raises:
        SpinetError: it is missing, damaged, not ours or of another version, its runtime is not installed, or it does
            not compute in `precision` or on `device`.
    """
    file = exported_file(path)
    if file is None:
        raise SpinetError(f"{path} is no exported file; allowed are {', '.join(SUFFIXES)} and folders with one .xml")
    if not file.is_file():
        raise SpinetError(f"there is no exported file {path}")
    if threads < 0:
        raise SpinetError(f"threads is {threads}; allowed is 1 or more, or 0 to leave it to the runtime")
    kind = SUFFIXES[file.suffix]
    if kind != "pt2" and device.type != "cpu":
        raise SpinetError(f"{path} runs on the CPU here; {device} is for files of --format pt2")
    if kind == "openvino":
        if not file.with_suffix(".bin").is_file():
            raise SpinetError(f"{file} lacks its other half, {file.with_suffix('.bin').name}, beside it")
        return OpenVinoSession(file, str(path), threads, precision)
    if precision == "bf16":
        raise SpinetError(f"{path} computes in fp32; bf16 is for files of --format openvino")
    if kind == "onnx":
        return OnnxSession(file, str(path), threads)
    return ProgramSession(file, str(path), threads, device=device)


def _first_line(error: Exception) -> str:
    """Return the first line that says something; OpenVINO says first where in its code it failed."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith(("Exception from ", "Check '"))]
    return (lines or [type(error).__name__])[0][:200]
