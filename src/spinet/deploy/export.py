"""A trained network as a file for other runtimes, which is compared with the network before it gets its name."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.images import read_image
from spinet.deploy.check import Agreement, check, photo_like
from spinet.deploy.formats import (
    capture,
    onnx_bytes,
    quantise,
    save_openvino,
    save_program,
    to_onnx,
    to_openvino,
    without_raw,
)
from spinet.deploy.graph import Graph, create_graph, letterbox, prepare, to_pixels
from spinet.deploy.manifest import ExportFormat, Manifest, Precision, current_versions, require_packages
from spinet.deploy.sessions import OnnxSession, OpenVinoSession, ProgramSession, exported_file
from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import load_model
from spinet.errors import SpinetError, check_positive
from spinet.predict.predict import find_images

# Pictures that a file is compared on, and photos that the ranges of 8-bit values are taken from.
COMPARED, CALIBRATED = 4, 300


@dataclass(frozen=True)
class ExportOptions:
    """How a network is exported.

    Attributes:
        format: of the file.
        image_size: side of the square input in pixels, or its height and width; the one of the training if None.
        batch_size: images that the file takes at once.
        precision: `"bf16"` and `"int8"` are OpenVINO's.
        calibration: folder of photos like those that the file will see: for `"int8"`, and to compare `"bf16"` on.

    Raises:
        SpinetError: the options do not fit together.
    """

    format: ExportFormat = "onnx"
    image_size: int | tuple[int, int] | None = None
    batch_size: int = 1
    precision: Precision = "fp32"
    calibration: Path | None = None

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size)
        for size in self.shape or ():
            check_positive(image_size=size)
        if self.precision != "fp32" and self.format != "openvino":
            raise SpinetError(f"{self.precision} is for --format openvino; {self.format} files compute in fp32")
        if self.precision == "int8" and self.calibration is None:
            raise SpinetError("8-bit integers need photos to find the ranges of values; pass --calibration DIR")
        if self.calibration is not None and self.precision == "fp32":
            raise SpinetError(
                "--calibration is for --int8 and --precision bf16; fp32 needs no photos to be compared on"
            )

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the input; None for those of the training."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


def export(run: Path, out: Path, options: ExportOptions) -> Agreement:
    """Write the network of a run folder or weights file as a file of another format.

    The file is compared with the network on pictures (for 8-bit integers on the photos of the calibration); one that
    computes something else gets no name. A file that was there before stays until the new one is complete.

    Args:
        run: run folder or weights file.
        out: file to write, ending in .onnx, .xml or .pt2 as the format asks; for OpenVINO also a folder.
        options: format and precision.

    Raises:
        SpinetError: the run cannot be read, the file cannot be written or computes something else, a calibration folder
            holds no image, or a package is missing (`pip install 'spinet[export]'`).
    """
    target = _target(out, options.format)
    if exported_file(run) is not None:
        raise SpinetError(f"{run} is an exported file already; name the run that it came from")
    require_packages(options.format, options.precision)
    model, info = load_model(run)
    return export_model(model, info, target, options)


def export_model(model: Model, info: ModelInfo, target: Path, options: ExportOptions) -> Agreement:
    """Do what `export` does, for a network in memory; `target` is the file itself."""
    shape = options.shape or (info.image_size, info.image_size)
    if info.kind == "classifier" and shape[0] != shape[1]:
        raise SpinetError(f"a classifier looks at a square; --image-size {shape[0]} {shape[1]} is for detectors")
    info = replace(info, image_size=max(shape))
    photos = _calibration_photos(options.calibration, info, shape) if options.calibration else []
    graph, fast = create_graph(model), create_graph(prepare(model))
    manifest = Manifest(info, shape, options.batch_size, graph.output_names, options.precision, current_versions())
    pictures = photos[:: max(len(photos) // (4 * COMPARED), 1)] if photos else photo_like(COMPARED, *shape)
    where = str(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            if options.format == "pt2":
                program = capture(fast, manifest)
                agreement, files = _program(program, graph, manifest, Path(folder), target, pictures)
            else:
                proto = to_onnx(fast, manifest)
                write = _onnx if options.format == "onnx" else _openvino
                agreement, files = write(proto, graph, manifest, Path(folder), target, pictures, photos)
            for file in files:
                file.chmod(0o644)
                file.replace(target.with_suffix(file.suffix))
    except OSError as error:
        raise SpinetError(f"could not write {where}: {error.strerror}") from error
    return agreement


def _program(
    program: Any, graph: Graph, manifest: Manifest, folder: Path, target: Path, pictures: Sequence[Tensor]
) -> tuple[Agreement, list[Path]]:
    file = folder / target.name
    save_program(program, file, manifest)
    session = ProgramSession(file, str(target), raw_names=graph.raw_names)
    return check(graph, session, pictures, "fp32", str(target)), [file]


def _onnx(
    proto: Any,
    graph: Graph,
    manifest: Manifest,
    folder: Path,
    target: Path,
    pictures: Sequence[Tensor],
    _photos: Sequence[Tensor],
) -> tuple[Agreement, list[Path]]:
    agreement = check(graph, OnnxSession(onnx_bytes(proto), str(target)), pictures, "fp32", str(target))
    file = folder / target.name
    file.write_bytes(onnx_bytes(without_raw(proto, manifest.outputs)))
    check(graph, OnnxSession(file, str(target)), pictures, "fp32", str(target))
    return agreement, [file]


def _openvino(
    proto: Any,
    graph: Graph,
    manifest: Manifest,
    folder: Path,
    target: Path,
    pictures: Sequence[Tensor],
    photos: Sequence[Tensor],
) -> tuple[Agreement, list[Path]]:
    where, precision = str(target), manifest.precision
    whole = to_openvino(onnx_bytes(proto), manifest)
    agreement = check(graph, OpenVinoSession(whole, where, precision="fp32"), pictures, "fp32", where)
    model = to_openvino(onnx_bytes(without_raw(proto, manifest.outputs)), manifest)
    if precision == "int8":
        files = save_openvino(quantise(model, photos, manifest), folder, target.stem)
        return check(graph, OpenVinoSession(files[-1], where), pictures, precision, where, photos=True), files
    files = save_openvino(model, folder, target.stem)
    check(graph, OpenVinoSession(files[-1], where, precision="fp32"), pictures, "fp32", where)
    if precision == "bf16":
        agreement = check(graph, OpenVinoSession(whole, where), pictures, precision, where, photos=bool(photos))
    return agreement, files


def _target(out: Path, wanted: ExportFormat) -> Path:
    """Return the file to write: of the format's suffix, in OpenVINO's case also in a folder."""
    suffix = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}[wanted]
    if wanted == "openvino" and (out.is_dir() or not out.suffix):
        return out / "model.xml"
    if out.is_dir() or out.suffix != suffix:
        raise SpinetError(f"--format {wanted} writes a file that ends in {suffix}, not {out}")
    return out


def _calibration_photos(folder: Path, info: ModelInfo, shape: tuple[int, int]) -> list[Tensor]:
    """Read photos as the network sees them, at most 300, evenly from the whole folder."""
    if folder.is_file():
        raise SpinetError(f"the calibration folder {folder} is a file")
    files = find_images([folder])
    chosen = [files[place * len(files) // min(len(files), CALIBRATED)] for place in range(min(len(files), CALIBRATED))]
    return [_seen(read_image(file), info, shape) for file in chosen]


def _seen(image: Tensor, info: ModelInfo, shape: tuple[int, int]) -> Tensor:
    if info.kind == "classifier":
        return to_pixels(ClassEvalTransform(info.image_size)(image)[None])[0]
    return letterbox(image, shape)[0]
