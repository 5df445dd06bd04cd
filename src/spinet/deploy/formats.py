"""A graph as a file of each format; `check.py` compares the results."""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spinet.deploy.graph import Graph
from spinet.deploy.manifest import KEY, Manifest
from spinet.errors import SpinetError
from spinet.extras import import_extra

OPSET = 20


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what exporters print and warn about: none of it is for the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def capture(graph: Graph, manifest: Manifest) -> torch.export.ExportedProgram:
    """Return the graph as an exported program of PyTorch, of fixed batch and image size."""
    example = torch.zeros(manifest.batch_size, *manifest.shape, 3, dtype=torch.uint8)
    with torch.no_grad(), quiet():
        # A first run fills the caches by image size (anchors), which would be traced into the graph otherwise.
        graph(example)
        return torch.export.export(graph, (example,), strict=False)


def to_onnx(graph: Graph, manifest: Manifest) -> Any:
    """Return the graph as an `onnx.ModelProto` with the manifest; its raw outputs follow those of the manifest."""
    onnx = import_extra("onnx", "export", "exporting to ONNX")
    program = capture(graph, manifest)
    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=[*graph.output_names, *graph.raw_names],
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise SpinetError(f"this network has an operation that ONNX does not support: {reason:.200}") from error
    assert exported is not None
    proto = exported.model_proto
    # The lowest that the operator set needs, so that older runtimes take the file too.
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import), ignore_unknown=True)
    onnx.helper.set_model_props(proto, {KEY: manifest.to_json()})
    return proto


def without_raw(proto: Any, names: Sequence[str]) -> Any:
    """Return a copy of an ONNX model with only the outputs `names`."""
    trimmed = type(proto)()
    trimmed.CopyFrom(proto)
    kept = [output for output in proto.graph.output if output.name in names]
    del trimmed.graph.output[:]
    trimmed.graph.output.extend(kept)
    return trimmed


def onnx_bytes(proto: Any) -> bytes:
    """Check an ONNX model with ONNX's checker and return its bytes.

    Raises:
        SpinetError: it is larger than 2 GiB, the limit of the format.
    """
    onnx = import_extra("onnx", "export", "exporting to ONNX")
    try:
        content: bytes = proto.SerializeToString()
    except (ValueError, RuntimeError):
        raise SpinetError(
            "the network is too large for an ONNX file, which holds at most 2 GiB; the format pt2 has no limit"
        ) from None
    onnx.checker.check_model(content, full_check=True)
    return content


def to_openvino(content: bytes, manifest: Manifest) -> Any:
    """Return an ONNX model as an `openvino.Model` with the manifest."""
    openvino = import_extra("openvino", "export", "exporting to OpenVINO")
    model = openvino.convert_model(io.BytesIO(content))
    model.set_rt_info(manifest.to_json(), [KEY])
    return model


def quantise(model: Any, images: Sequence[Tensor], manifest: Manifest) -> Any:
    """Return an `openvino.Model` in 8-bit integers where NNCF supports them, and with another manifest.

    `images`, uint8 RGB `(H, W, 3)`, calibrate the value ranges.
    """
    nncf = import_extra("nncf", "export", "exporting in 8-bit integers")
    size = manifest.batch_size
    batches = [
        torch.stack([images[(start + index) % len(images)] for index in range(size)]).numpy()
        for start in range(0, len(images), size)
    ]
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        small = nncf.quantize(
            model,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            fast_bias_correction=True,
        )
    small.set_rt_info(manifest.to_json(), [KEY])
    return small


def save_openvino(model: Any, folder: Path, name: str) -> list[Path]:
    """Write an OpenVINO model as two files, `name`.xml and .bin, in full precision; return their paths."""
    openvino = import_extra("openvino", "export", "exporting to OpenVINO")
    openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    return [folder / f"{name}.bin", folder / f"{name}.xml"]


def save_program(program: torch.export.ExportedProgram, path: Path, manifest: Manifest) -> None:
    """Write an exported program of PyTorch with the manifest."""
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file, extra_files={KEY: manifest.to_json()})
        file.flush()
        os.fsync(file.fileno())
