"""Exported networks in a benchmark: those of files, and those that are exported for it in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from spinet.benchmark.entries import WHOLE, Entry, Subject, photos, prepare_batch
from spinet.benchmark.rounds import count_work
from spinet.data.images import read_image
from spinet.deploy.formats import onnx_bytes, quantise, to_onnx, to_openvino, without_raw
from spinet.deploy.graph import create_graph, letterbox, prepare, to_pixels
from spinet.deploy.manifest import Manifest, Precision, current_versions, require_packages
from spinet.deploy.sessions import (
    OnnxSession,
    OpenVinoSession,
    Session,
    open_session,
    openvino_core,
    openvino_settings,
)
from spinet.errors import SpinetError
from spinet.models.classifier import Classifier
from spinet.predict.predict import find_images
from spinet.timing import Clock, Run

CPU = torch.device("cpu")
# Photos that the ranges of 8-bit values are taken from: enough for their time, too few for their accuracy.
CALIBRATED = 16


class Exports:
    """A network of ours in other runtimes, exported once for all of them.

    Args:
        subject: the network.
        images: photos `(3, H, W)` that it is measured on.
        threads: that compute; 0 leaves it to the runtime.
        calibration: folder of photos for 8-bit integers.
    """

    def __init__(self, subject: Subject, images: Sequence[Tensor], threads: int, calibration: Path | None) -> None:
        self.subject, self.images, self.threads, self.calibration = subject, images, threads, calibration
        fast = prepare(subject.model.to(CPU))
        self.graph = create_graph(fast)
        batch = prepare_batch(subject, images, CPU)
        with torch.no_grad():
            self.work = count_work(lambda: fast(batch))
        self._proto: Any = None

    def entry(self, backend: Literal["onnxruntime", "openvino"], precision: Precision) -> Entry:
        """Return the network in a runtime; its normalisation belongs to "network" there.

        Raises:
            SpinetError: the runtime is not installed, or there are no photos to calibrate with.
        """
        require_packages("onnx" if backend == "onnxruntime" else "openvino", precision)
        info, names = self.subject.info, self.graph.output_names
        shape = (info.image_size, info.image_size)
        manifest = Manifest(info, shape, len(self.images), names, precision, current_versions())
        if self._proto is None:
            self._proto = to_onnx(self.graph, manifest)
        run = self._onnx if backend == "onnxruntime" else self._openvino
        whole, alone = run(manifest)
        prepared = pixels(self.subject, self.images)
        network = None if alone is None else (lambda: alone(prepared))
        timed = session_run(whole, lambda: pixels(self.subject, self.images), network)
        return Entry(self.subject.name, backend, precision, timed, len(self.images), self.subject.macs(), self.work)

    def _onnx(self, manifest: Manifest) -> tuple[Session, Callable[[Tensor], object] | None]:
        for_all = without_raw(self._proto, manifest.outputs)
        whole = OnnxSession(onnx_bytes(for_all), self.subject.name, self.threads)
        if not self.graph.raw_names:
            return whole, None
        return whole, OnnxSession(
            onnx_bytes(without_raw(self._proto, self.graph.raw_names)), self.subject.name, self.threads
        ).run

    def _openvino(self, manifest: Manifest) -> tuple[Session, Callable[[Tensor], object] | None]:
        name = self.subject.name
        model = self._small(to_openvino(onnx_bytes(without_raw(self._proto, manifest.outputs)), manifest), manifest)
        whole = OpenVinoSession(model, name, self.threads)
        if not self.graph.raw_names:
            return whole, None
        raw = to_openvino(onnx_bytes(without_raw(self._proto, self.graph.raw_names)), manifest)
        settings = openvino_settings(manifest.precision, self.threads)
        request = openvino_core().compile_model(self._small(raw, manifest), "CPU", settings).create_infer_request()
        return whole, lambda images: request.infer([images.numpy()], share_inputs=True)

    def _small(self, model: Any, manifest: Manifest) -> Any:
        if manifest.precision != "int8":
            return model
        if self.calibration is None:
            raise SpinetError(
                f"{self.subject.name} in int8 needs photos to find the ranges of values; pass --calibration DIR, or "
                "name a file that `spinet export --int8` wrote"
            )
        files = find_images([self.calibration])[:CALIBRATED]
        return quantise(model, [pixels(self.subject, [read_image(file)])[0] for file in files], manifest)


def file_entry(path: Path, image_size: int, threads: int) -> Entry:
    """Return an exported file, in the precision and batch size that it was exported for.

    Raises:
        SpinetError: the file cannot be used, or takes images of another size.
    """
    session = open_session(path, threads)
    manifest = session.manifest
    (height, width), size, precision = manifest.shape, image_size, manifest.precision
    if height != width:
        raise SpinetError(f"{path} takes images of {height} x {width} pixels; squares alone are measured")
    if height != size:
        raise SpinetError(f"{path} takes images of {height} pixels only; --image-size {height} is allowed")
    torch.manual_seed(0)
    subject = Subject(str(path), manifest.info.create_model().eval(), manifest.info)
    images = photos(manifest.batch_size, size)
    timed = session_run(session, lambda: pixels(subject, images), None)
    backends = {OnnxSession: "onnxruntime", OpenVinoSession: "openvino"}
    return Entry(str(path), backends.get(type(session), "program"), precision, timed, len(images), subject.macs(), None)


def pixels(subject: Subject, images: Sequence[Tensor]) -> Tensor:
    """Resize and pad photos to uint8 `(N, S, S, 3)`; exported networks normalise themselves."""
    if isinstance(subject.model, Classifier):
        return to_pixels(prepare_batch(subject, images, CPU))
    return torch.stack([letterbox(image, (subject.info.image_size, subject.info.image_size))[0] for image in images])


def session_run(session: Session, batch: Callable[[], Tensor], network: Callable[[], object] | None) -> Run:
    """Return the run of a session: pre-processing, and all that the file does; then the network alone by itself."""
    clock = Clock(CPU)

    def run() -> dict[str, float]:
        clock.start()
        images = batch()
        clock.lap("pre")
        session.run(images)
        clock.lap("file")
        stages = clock.total(WHOLE)
        if network is not None:
            clock.start()
            network()
            clock.lap("network")
            stages |= clock.stages
        return stages

    return run
