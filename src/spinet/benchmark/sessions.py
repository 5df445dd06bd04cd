"""Exported models in a benchmark: those of files, and those exported in memory for it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spinet.benchmark.cases import WHOLE, Case, Subject, synthetic_images
from spinet.benchmark.options import BenchmarkOptions
from spinet.benchmark.work import count_work
from spinet.deploy.formats import onnx_bytes, quantise, to_onnx, to_openvino, without_raw
from spinet.deploy.graph import create_graph, letterbox, to_pixels
from spinet.deploy.manifest import ExportPrecision, Manifest, current_versions, require_packages
from spinet.deploy.sessions import (
    CPU,
    InferenceSession,
    OnnxSession,
    OpenVinoSession,
    open_session,
    openvino_core,
    openvino_settings,
)
from spinet.errors import SpinetError
from spinet.formats.images import read_image
from spinet.formats.listing import find_images
from spinet.fuse.fuse import fuse
from spinet.models.classifier import Classifier
from spinet.timing import Clock, Run

# Images to calibrate int8 with: enough to measure its speed, too few for its accuracy.
CALIBRATED = 16


class Exports:
    """A Spinet model in other runtimes, exported once for all of them; `calibration` is a folder of images for int8."""

    def __init__(self, subject: Subject, images: Sequence[Tensor], threads: int, calibration: Path | None) -> None:
        self.subject, self.images, self.threads, self.calibration = subject, images, threads, calibration
        fused = fuse(subject.model.to(CPU).eval())
        self.graph = create_graph(fused)
        batch = subject.batch(images, CPU)
        with torch.no_grad():
            self.work = count_work(lambda: fused(batch))
        self._proto: Any = None

    def case(self, backend: Literal["onnxruntime", "openvino"], precision: ExportPrecision) -> Case:
        """Return the model in a runtime; its stage "network" includes normalization."""
        require_packages("onnx" if backend == "onnxruntime" else "openvino", precision)
        info, names = self.subject.info, self.graph.output_names
        shape = (info.image_size, info.image_size)
        manifest = Manifest(info, shape, len(self.images), names, precision, current_versions())
        if self._proto is None:
            self._proto = to_onnx(self.graph, manifest)
        whole, network = (self._onnx if backend == "onnxruntime" else self._openvino)(manifest)
        run = session_run(whole, self.subject, self.images, network)
        return Case(self.subject.name, backend, precision, run, len(self.images), self.subject.macs(), self.work)

    def _onnx(self, manifest: Manifest) -> tuple[InferenceSession, Callable[[Tensor], object] | None]:
        def session(outputs: tuple[str, ...]) -> OnnxSession:
            return OnnxSession(onnx_bytes(without_raw(self._proto, outputs)), self.subject.name, self.threads)

        return session(manifest.outputs), session(self.graph.raw_names).run if self.graph.raw_names else None

    def _openvino(self, manifest: Manifest) -> tuple[InferenceSession, Callable[[Tensor], object] | None]:
        whole = OpenVinoSession(self._openvino_model(manifest.outputs, manifest), self.subject.name, self.threads)
        if not self.graph.raw_names:
            return whole, None
        raw = self._openvino_model(self.graph.raw_names, manifest)
        settings = openvino_settings(manifest.precision, self.threads)
        request = openvino_core().compile_model(raw, "CPU", settings).create_infer_request()
        return whole, lambda images: request.infer([images.numpy()], share_inputs=True)

    def _openvino_model(self, outputs: tuple[str, ...], manifest: Manifest) -> Any:
        model = to_openvino(onnx_bytes(without_raw(self._proto, outputs)), manifest)
        if manifest.precision != "int8":
            return model
        if self.calibration is None:
            raise SpinetError(
                f"{self.subject.name} in int8 needs images to calibrate with: set calibration to their folder, or "
                "name a file exported in int8"
            )
        files = find_images([self.calibration])[:CALIBRATED]
        return quantise(model, [pixels(self.subject, [read_image(file)])[0] for file in files], manifest)


def file_case(path: Path, options: BenchmarkOptions) -> Case:
    """Return an exported file, in the precision and batch size that it was exported with."""
    image_size, trust = options.image_size, options.trust and path.suffix == ".pt2"
    session = open_session(path, options.threads, trust=trust)
    manifest = session.manifest
    height, width = manifest.shape
    if height != width:
        raise SpinetError(f"{path} takes images of {height} x {width} pixels; only square inputs can be measured")
    if height != image_size:
        raise SpinetError(f"{path} takes images of {height} pixels; image_size is {image_size} and must be {height}")
    with torch.device("meta"):  # the file computes; without values, whatever it says of itself takes no memory
        subject = Subject(str(path), manifest.info.create_model().eval(), manifest.info)
    images = synthetic_images(manifest.batch_size, image_size)
    run = session_run(session, subject, images, None)
    backends = {OnnxSession: "onnxruntime", OpenVinoSession: "openvino"}
    return Case(str(path), backends.get(type(session), "program"), manifest.precision, run, len(images), subject.macs())


def pixels(subject: Subject, images: Sequence[Tensor]) -> Tensor:
    """Resize and pad images to uint8 `(N, S, S, 3)`; exported models normalize them."""
    if isinstance(subject.model, Classifier):
        return to_pixels(subject.batch(images, CPU))
    return torch.stack([letterbox(image, (subject.info.image_size, subject.info.image_size))[0] for image in images])


def session_run(
    session: InferenceSession, subject: Subject, images: Sequence[Tensor], network: Callable[[Tensor], object] | None
) -> Run:
    """Return a run: pre-processing and all that the file does; then, outside the total, the network alone."""
    clock = Clock(CPU)

    def run() -> dict[str, float]:
        clock.start()
        batch = pixels(subject, images)
        clock.lap("pre")
        session.run(batch)
        clock.lap("file")
        stages = clock.total(WHOLE)
        if network is not None:
            clock.start()
            network(batch)
            clock.lap("network")
            stages |= clock.stages
        return stages

    return run
