"""Photos in, pictures with boxes and masks and one JSON file out."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from spinet.data.images import IMAGE_SUFFIXES, read_image
from spinet.data.transforms import EvalTransform
from spinet.engine.build import Detector, ModelInfo
from spinet.engine.checkpoint import load_detector
from spinet.engine.compiling import compile_for_inference
from spinet.engine.evaluate import ImageDetections, to_image
from spinet.errors import SpinetError
from spinet.files import refuse_replacing, write_atomically
from spinet.fuse.formats import Precision, check_precision, fuse_in
from spinet.predict.ahead import ahead
from spinet.predict.detections_json import coco_entries, detections_json
from spinet.predict.pictures import draw_detections


@dataclass(frozen=True)
class Prepared:
    """A photo and what the network sees of it.

    Attributes:
        image: uint8 RGB `(3, H, W)`.
        pixels: the network's input: normalised `(3, S, S)`, or for an exported file uint8 RGB `(H, W, 3)`.
        scale: `(2,)`, (x, y): input divided by photo.
    """

    image: Tensor
    pixels: Tensor
    scale: Tensor


class PhotoDetector(Protocol):
    """What finds objects in photos of any size: a network of ours, or an exported file."""

    @property
    def info(self) -> ModelInfo:
        """Its classes and settings."""
        ...

    def prepare(self, image: Tensor) -> Prepared:
        """Fit a uint8 RGB photo `(3, H, W)` into its input."""
        ...

    def find(self, photos: Sequence[Prepared], score_threshold: float = ...) -> list[ImageDetections]:
        """Find objects in a batch of prepared photos."""
        ...


@dataclass(frozen=True)
class Predictor:
    """A trained detector for photos of any size."""

    model: Detector
    info: ModelInfo
    device: torch.device

    @classmethod
    def load(
        cls, path: Path, device: torch.device, precision: Precision = "fp32", compiled: bool = False
    ) -> "Predictor":
        """Read a run folder or weights file, and fuse its network.

        Args:
            path: the run folder or weights file.
            device: where to compute.
            precision: of the network: `"fp32"`, `"bf16"`, or `"auto"`, the fastest after a few measured runs.
            compiled: whether torch.compile compiles it at the first photo, which takes a minute.

        Raises:
            SpinetError: the file is missing, damaged, or not one of ours, or the precision is unknown.
        """
        check_precision(precision)
        model, info = load_detector(path, device)
        model = fuse_in(precision, model, info.image_size, device)
        if compiled:
            compile_for_inference(model, device)
        return cls(model, info, device)

    def __call__(self, image: Tensor, score_threshold: float = 0.3) -> ImageDetections:
        """Find objects in a uint8 RGB photo `(3, H, W)`; boxes and masks come in its own pixels."""
        [found] = self.find([self.prepare(image)], score_threshold)
        return found

    def prepare(self, image: Tensor) -> Prepared:
        """Fit a uint8 RGB photo `(3, H, W)` into the network's input.

        Raises:
            SpinetError: it has no pixel.
        """
        check_photo(image)
        return Prepared(image, *EvalTransform(self.info.image_size)(image, self.device))

    def find(self, photos: Sequence[Prepared], score_threshold: float = 0.3) -> list[ImageDetections]:
        """Find objects in a batch of prepared photos."""
        pixels = torch.stack([photo.pixels for photo in photos])
        found = self.model.predict(pixels, score_threshold=score_threshold)
        return [
            to_image(own, photo.scale, photo.image.shape[-2], photo.image.shape[-1])
            for own, photo in zip(found, photos, strict=True)
        ]


def check_photo(image: Tensor) -> None:
    """Raise unless a photo `(3, H, W)` has pixels."""
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise SpinetError(f"an image of shape {tuple(image.shape)} has no pixels to look at; (3, H, W) is allowed")


@dataclass(frozen=True)
class Prediction:
    """What became of one photo: its entry in the JSON file and its picture, or why it could not be read."""

    path: Path
    entry: dict[str, Any] | None
    picture: Path | None
    error: str = ""


def find_images(paths: list[Path]) -> list[Path]:
    """Return the given files, and for a folder the images in it (not below it), by name.

    Raises:
        SpinetError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise SpinetError(f"the folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise SpinetError(f"there is no photo or folder {path}")
    return found


def predict_files(
    predictor: PhotoDetector,
    paths: list[Path],
    out: Path,
    score_threshold: float = 0.3,
    *,
    batch_size: int = 1,
    coco_results: Path | None = None,
) -> Iterator[Prediction]:
    """Detect objects in photos; write a picture of each, and `predictions.json` at the end.

    A thread reads ahead. A photo that cannot be read is reported in its `Prediction` and left out; the others go on.

    Args:
        predictor: the detector.
        paths: photos, or folders of photos.
        out: folder for pictures and JSON.
        score_threshold: detections below it are left out.
        batch_size: photos that go through the network at once.
        coco_results: file to write COCO's results format to, which `COCO.loadRes` of pycocotools reads. The image id
            is the number that a file is named by, as in COCO (000000000139.jpg), or where not all have such names,
            or two the same, the place of the photo in the list, from 1.

    Raises:
        SpinetError: a path does not exist, the batch size is below 1, a picture would take the place of a photo, or
            the output cannot be written.
    """
    if batch_size < 1:
        raise SpinetError(f"the batch size is {batch_size}; allowed is 1 or more photos")
    files = find_images(paths)
    names: set[str] = set()
    refuse_replacing([out / f"{_free_name(file.stem, names)}.jpg" for file in files], files)
    image_ids = dict(zip(files, _image_ids(files), strict=True))
    entries: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    taken: set[str] = set()
    photos = ahead((_read(predictor, path) for path in files), 2 * batch_size)
    for batch in _batches(photos, batch_size):
        readable = [photo for _, photo in batch if isinstance(photo, Prepared)]
        found = iter(predictor.find(readable, score_threshold) if readable else [])
        for path, photo in batch:
            if isinstance(photo, SpinetError):
                yield Prediction(path, None, None, str(photo))
                continue
            own = next(found)
            entries.append(_entry(path, photo.image, own, predictor.info))
            results += [{"image_id": image_ids[path], **each} for each in coco_entries(own, predictor.info)]
            picture = out / f"{_free_name(path.stem, taken)}.jpg"
            drawn = draw_detections(to_pil_image(photo.image), own, predictor.info.class_names)
            write_atomically(picture, _jpeg(drawn))
            yield Prediction(path, entries[-1], picture)
    write_atomically(out / "predictions.json", json.dumps(entries, indent=1) + "\n")
    if coco_results is not None:
        write_atomically(coco_results, json.dumps(results) + "\n")


def _read(predictor: PhotoDetector, path: Path) -> tuple[Path, Prepared | SpinetError]:
    try:
        return path, predictor.prepare(read_image(path))
    except SpinetError as error:
        # A message of the reader names the file already.
        return path, error if str(path) in str(error) else SpinetError(f"{path}: {error}")


def _batches(
    photos: Iterator[tuple[Path, Prepared | SpinetError]], size: int
) -> Iterator[list[tuple[Path, Prepared | SpinetError]]]:
    """Group photos so that `size` readable ones are in each group; others take no place in it."""
    group: list[tuple[Path, Prepared | SpinetError]] = []
    for photo in photos:
        group.append(photo)
        if sum(isinstance(each, Prepared) for _, each in group) == size:
            yield group
            group = []
    if group:
        yield group


def _image_ids(files: Sequence[Path]) -> list[int]:
    numbers = [int(file.stem) for file in files if file.stem.isascii() and file.stem.isdigit()]
    return numbers if len(set(numbers)) == len(files) else list(range(1, len(files) + 1))


def _entry(path: Path, image: Tensor, found: ImageDetections, info: ModelInfo) -> dict[str, Any]:
    """One photo in the JSON file."""
    size = {"width": image.shape[-1], "height": image.shape[-2]}
    return {"file": str(path), **size, "detections": detections_json(found, info)}


def _free_name(stem: str, taken: set[str]) -> str:
    """Return `stem`, numbered when a photo of another folder has taken it."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
