"""Photos in, pictures with boxes and masks and one JSON file out."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from spinet.data.images import IMAGE_SUFFIXES, read_image
from spinet.data.transforms import EvalTransform
from spinet.engine.build import Detector
from spinet.engine.checkpoint import ModelInfo, load_model
from spinet.engine.evaluate import PhotoDetections, in_photo
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.tools.pictures import draw_detections


@dataclass(frozen=True)
class Predictor:
    """A trained detector for single photos of any size."""

    model: Detector
    info: ModelInfo
    device: torch.device

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "Predictor":
        """Read a run folder or weights file.

        Raises:
            SpinetError: it is missing, damaged, or not one of ours.
        """
        model, info = load_model(path, device)
        return cls(model, info, device)

    def __call__(self, image: Tensor, score_threshold: float = 0.3) -> PhotoDetections:
        """Find objects in a uint8 RGB photo `(3, H, W)`; boxes and masks come in its own pixels."""
        prepared, scale = EvalTransform(self.info.image_size)(image)
        [found] = self.model.predict(prepared[None].to(self.device), score_threshold=score_threshold)
        return in_photo(found, scale, image.shape[-2], image.shape[-1])


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
    predictor: Predictor, paths: list[Path], out: Path, score_threshold: float = 0.3
) -> Iterator[Prediction]:
    """Detect objects in photos, one by one; write a picture of each, and `predictions.json` at the end.

    A photo that cannot be read is reported in its `Prediction` and left out; the others go on.

    Args:
        predictor: the detector.
        paths: photos, or folders of photos.
        out: folder for pictures and JSON.
        score_threshold: detections below it are left out.

    Raises:
        SpinetError: a path does not exist, or the output cannot be written.
    """
    entries = []
    taken: set[str] = set()
    for path in find_images(paths):
        try:
            image = read_image(path)
        except SpinetError as error:
            yield Prediction(path, None, None, str(error))
            continue
        found = predictor(image, score_threshold)
        entries.append(_entry(path, image, found, predictor.info))
        picture = out / f"{_free_name(path.stem, taken)}.jpg"
        drawn = draw_detections(to_pil_image(image), found, predictor.info.class_names)
        write_atomically(picture, _jpeg(drawn))
        yield Prediction(path, entries[-1], picture)
    write_atomically(out / "predictions.json", json.dumps(entries, indent=1) + "\n")


def _entry(path: Path, image: Tensor, found: PhotoDetections, info: ModelInfo) -> dict[str, Any]:
    """One photo in the JSON file; boxes are COCO's (x, y, width, height), masks its compressed RLE."""
    boxes = found["boxes"].clone()
    boxes[:, 2:] -= boxes[:, :2]
    detections: list[dict[str, Any]] = [
        {
            "category_id": info.category_ids[label],
            "class": info.class_names[label],
            "score": round(score, 4),
            "bbox": [round(value, 2) for value in box],
        }
        for box, score, label in zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
    ]
    for detection, mask in zip(detections, found.get("masks", ()), strict=False):
        detection["segmentation"] = mask
    return {"file": str(path), "width": image.shape[-1], "height": image.shape[-2], "detections": detections}


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
