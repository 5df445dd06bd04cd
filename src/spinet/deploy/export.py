"""A trained network as a file for other runtimes, compared with the network before it gets its name."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from torch import Tensor

from spinet.data.class_transforms import ClassEvalTransform
from spinet.deploy.check import Agreement, check, sample_images
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
from spinet.deploy.graph import Graph, create_graph, letterbox, to_pixels
from spinet.deploy.manifest import (
    MAX_BATCH,
    ExportFormat,
    ExportPrecision,
    Manifest,
    check_input,
    current_versions,
    require_packages,
)
from spinet.deploy.sessions import (
    SUFFIXES,
    InferenceSession,
    OnnxSession,
    OpenVinoSession,
    ProgramSession,
    exported_file,
)
from spinet.deploy.trust import record_export
from spinet.engine.build import Model, ModelInfo
from spinet.engine.checkpoint import load_model
from spinet.errors import SpinetError, unknown_name
from spinet.fields import check_image_size
from spinet.formats.images import read_image
from spinet.formats.listing import find_images
from spinet.fuse.fuse import fuse

# Images that a file is compared on, and images that calibrate 8-bit value ranges.
COMPARED, CALIBRATED = 4, 300


@dataclass(frozen=True)
class ExportOptions:
    """How a network is exported: the options of `export`, refused if they do not fit together."""

    format: ExportFormat = "onnx"
    image_size: int | tuple[int, int] | None = None
    batch_size: int = 1
    precision: ExportPrecision = "fp32"
    calibration: str | Path | None = None

    def __post_init__(self) -> None:
        for name, kind in (("format", ExportFormat), ("precision", ExportPrecision)):
            if getattr(self, name) not in get_args(kind):
                raise unknown_name(name, str(getattr(self, name)), get_args(kind))
        if not 1 <= self.batch_size <= MAX_BATCH:
            raise SpinetError(f"batch_size is {self.batch_size}; must be 1 to {MAX_BATCH}")
        check_image_size(*(self.shape or ()))
        check_input(self.batch_size, self.shape or (0, 0))
        if self.precision != "fp32" and self.format != "openvino":
            raise SpinetError(f"precision {self.precision} is for the format openvino; {self.format} is fp32 only")
        if self.precision == "int8" and self.calibration is None:
            raise SpinetError("precision int8 needs calibration, a folder of images to find the ranges of values")
        if self.calibration is not None and self.precision == "fp32":
            raise SpinetError("calibration is for precision int8 and bf16; fp32 is compared on synthetic images")

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the input; None for those of the training."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


def export(
    path: str | Path,
    out: str | Path,
    *,
    format: ExportFormat = "onnx",
    image_size: int | tuple[int, int] | None = None,
    batch_size: int = 1,
    precision: ExportPrecision = "fp32",
    calibration: str | Path | None = None,
) -> Agreement:
    """Export a trained model as a file for other runtimes, after comparing the file with the network.

    The file is compared on images (for 8-bit integers on the calibration images), and gets its name only if the
    results agree. A file that was there before stays until then.

    Args:
        path: a run folder or weights file.
        out: the file to write, .onnx, .xml or .pt2; for OpenVINO also a folder.
        format: `"onnx"`, `"openvino"` or `"pt2"` (torch.export).
        image_size: side of the square input, or its (height, width), in pixels; that of the training if None.
        batch_size: images per batch, fixed in the file.
        precision: `"bf16"` and `"int8"` are for OpenVINO.
        calibration: folder of images like those that the file will see: needed for `"int8"`, and to compare `"bf16"`.

    Raises:
        SpinetError: an option does not apply, the run cannot be read, a package is missing (extra `export`), or the
            file cannot be written or computes something else than the network.
    """
    options = ExportOptions(format, image_size, batch_size, precision, calibration)
    run, target = Path(path), _target(Path(out), format)
    if exported_file(run) is not None:
        raise SpinetError(f"{run} is an exported file already; name the run that it was exported from")
    require_packages(format, precision)
    model, info = load_model(run)
    return export_model(model, info, target, options)


def export_model(model: Model, info: ModelInfo, target: Path, options: ExportOptions) -> Agreement:
    """Do what `export` does, for a network in memory; `target` is the file itself."""
    shape = options.shape or (info.image_size, info.image_size)
    if info.kind == "classifier" and shape[0] != shape[1]:
        raise SpinetError(f"a classifier takes square images; image_size {shape[0]} x {shape[1]} is for detectors")
    check_input(options.batch_size, shape)
    info = replace(info, image_size=max(shape))
    calibration = _calibration_images(Path(options.calibration), info, shape) if options.calibration else []
    graph, fast = create_graph(model), create_graph(fuse(model.eval()))
    manifest = Manifest(info, shape, options.batch_size, graph.output_names, options.precision, current_versions())
    images = calibration[:: max(len(calibration) // (4 * COMPARED), 1)] or sample_images(COMPARED, *shape)
    write = {"onnx": _onnx, "openvino": _openvino, "pt2": _program}[options.format]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
            job = _Job(graph, fast, manifest, Path(folder), target, images, calibration)
            agreement, files = write(job)
            for file in files:
                file.chmod(0o644)
                file.replace(target.with_suffix(file.suffix))
    except OSError as error:
        raise SpinetError(f"could not write {target}: {error.strerror}") from error
    return agreement


@dataclass(frozen=True)
class _Job:
    """What the writers of the formats need."""

    graph: Graph
    fast: Graph
    manifest: Manifest
    folder: Path
    target: Path
    images: Sequence[Tensor]
    calibration: Sequence[Tensor]

    def check(self, session: InferenceSession, precision: ExportPrecision = "fp32", real: bool = False) -> Agreement:
        return check(self.graph, session, self.images, precision, str(self.target), real)


def _program(job: _Job) -> tuple[Agreement, list[Path]]:
    file = job.folder / job.target.name
    save_program(capture(job.fast, job.manifest), file, job.manifest)
    content = file.read_bytes()
    agreement = job.check(ProgramSession(content, str(job.target), raw_names=job.graph.raw_names))
    record_export(content)
    return agreement, [file]


def _onnx(job: _Job) -> tuple[Agreement, list[Path]]:
    proto, where = to_onnx(job.fast, job.manifest), str(job.target)
    # Raw outputs are compared in memory; the file has none, and is compared once more.
    agreement = job.check(OnnxSession(onnx_bytes(proto), where))
    file = job.folder / job.target.name
    file.write_bytes(onnx_bytes(without_raw(proto, job.manifest.outputs)))
    job.check(OnnxSession(file, where))
    return agreement, [file]


def _openvino(job: _Job) -> tuple[Agreement, list[Path]]:
    proto, where, precision = to_onnx(job.fast, job.manifest), str(job.target), job.manifest.precision
    with_raw = to_openvino(onnx_bytes(proto), job.manifest)
    agreement = job.check(OpenVinoSession(with_raw, where, precision="fp32"))
    model = to_openvino(onnx_bytes(without_raw(proto, job.manifest.outputs)), job.manifest)
    if precision == "int8":
        files = save_openvino(quantise(model, job.calibration, job.manifest), job.folder, job.target.stem)
        return job.check(OpenVinoSession(files[-1], where), precision, real=True), files
    files = save_openvino(model, job.folder, job.target.stem)
    job.check(OpenVinoSession(files[-1], where, precision="fp32"))
    if precision == "bf16":
        agreement = job.check(OpenVinoSession(with_raw, where), precision, real=bool(job.calibration))
    return agreement, files


def _target(out: Path, format: ExportFormat) -> Path:
    """Return the file to write; for OpenVINO `out` may be a folder."""
    suffix = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2"}[format]
    if format == "openvino" and (out.is_dir() or not out.suffix):
        return out / "model.xml"
    if out.is_dir() or out.suffix != suffix:
        other = SUFFIXES.get(out.suffix)
        hint = f"; the format of {out.suffix} is {other}" if other else ""
        raise SpinetError(f"a file of the format {format} must end in {suffix}, not {out}{hint}")
    return out


def _calibration_images(folder: Path, info: ModelInfo, shape: tuple[int, int]) -> list[Tensor]:
    """Read images as the network sees them, at most 300, evenly from the whole folder."""
    if folder.is_file():
        raise SpinetError(f"the calibration folder {folder} is a file")
    files = find_images([folder])
    count = min(len(files), CALIBRATED)
    return [_input_of(read_image(files[index * len(files) // count]), info, shape) for index in range(count)]


def _input_of(image: Tensor, info: ModelInfo, shape: tuple[int, int]) -> Tensor:
    if info.kind == "classifier":
        return to_pixels(ClassEvalTransform(info.image_size)(image)[None])[0]
    return letterbox(image, shape)[0]
