"""A graph as a file of each format; nothing here looks at whether it computes the same."""

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
    """Keep back what exporters print and warn of while they work: none of it is for the user."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def capture(graph: Graph, manifest: Manifest) -> torch.export.ExportedProgram:
    """Return the graph as PyTorch's own program, of fixed batch and image size."""
    example = torch.zeros(manifest.batch_size, *manifest.shape, 3, dtype=torch.uint8)
    with torch.no_grad(), quiet():
        # What the network remembers of image sizes would be remembered as parts of the graph.
        graph(example)
        return torch.export.export(graph, (example,), strict=False)


def to_onnx(graph: Graph, manifest: Manifest) -> Any:
    """Return the graph as an `onnx.ModelProto` with the manifest, and its raw outputs behind those of the manifest."""
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
        raise SpinetError(f"this network has a part that ONNX cannot express: {reason:.200}") from error
    assert exported is not None
    proto = exported.model_proto
    onnx.helper.set_model_props(proto, {KEY: manifest.to_json()})
    return proto


def without_raw(proto: Any, names: Sequence[str]) -> Any:
    """Return a copy of an ONNX model that gives the outputs `names` alone."""
    trimmed = type(proto)()
    trimmed.CopyFrom(proto)
    kept = [output for output in proto.graph.output if output.name in names]
    del trimmed.graph.output[:]
    trimmed.graph.output.extend(kept)
    return trimmed


def onnx_bytes(proto: Any) -> bytes:
    """Check an ONNX model with ONNX's own checker and return it as one file.

    Raises:
        SpinetError: it is larger than a file of this format may be.
    """
    onnx = import_extra("onnx", "export", "exporting to ONNX")
    try:
        content: bytes = proto.SerializeToString()
    except (ValueError, RuntimeError):
        raise SpinetError(
            "the network is too large for one ONNX file, which holds 2 GiB; --format pt2 takes it"
        ) from None
    onnx.checker.check_model(content, full_check=True)
    return content


def to_openvino(content: bytes, manifest: Manifest) -> Any:
    """Return an ONNX model as an `openvino.Model` with the manifest."""
    openvino = import_extra("openvino", "export", "exporting to OpenVINO")
    model = openvino.convert_model(io.BytesIO(content))
    model.set_rt_info(manifest.to_json(), [KEY])
    return model


def quantise(model: Any, pictures: Sequence[Tensor], manifest: Manifest) -> Any:
    """Return an OpenVINO model in 8-bit integers, where NNCF finds that it may be.

    Args:
        model: `openvino.Model`, in float.
        pictures: uint8 RGB `(H, W, 3)`, from which the ranges of values are taken.
        manifest: of the new model.
    """
    nncf = import_extra("nncf", "export", "exporting in 8-bit integers")
    size = manifest.batch_size
    batches = [
        torch.stack([pictures[(start + index) % len(pictures)] for index in range(size)]).numpy()
        for start in range(0, len(pictures), size)
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
    """Write PyTorch's own program with the manifest."""
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file, extra_files={KEY: manifest.to_json()})
        file.flush()
        os.fsync(file.fileno())
