"""Some val images with what the model predicts for them, drawn from the record of a run."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torchvision.transforms.v2.functional import to_pil_image

from spinet.analysis.records import ClassRecord, DetectionRecord
from spinet.data.masks import Rle
from spinet.errors import SpinetError
from spinet.formats.images import read_image
from spinet.predict.visualize import draw_detections
from spinet.report.training_run import TrainingRun, image_path

# Number of pictures, their longest side in pixels, and quality as JPEG: half a megabyte in all.
MOST, SIDE, QUALITY = 6, 640, 85


@dataclass(frozen=True)
class Sample:
    """A picture as JPEG, without the metadata of the image, and a sentence about it."""

    name: str
    content: bytes
    caption: str


def draw_samples(run: TrainingRun, thresholds: tuple[float, ...], most: int = MOST) -> list[Sample]:
    """Draw val images that are evenly spaced over the split, so neither the best nor the worst.

    Args:
        run: the run; without its images there are no samples.
        thresholds: detectors: the lowest score shown of each label.
        most: number of pictures; images that cannot be read are left out.
    """
    samples: list[Sample] = []
    number = len(run.record.images)
    for index in dict.fromkeys(np.linspace(0, number - 1, min(most, number)).round().astype(int).tolist()):
        if run.images is None:
            break
        try:
            image: Image.Image = to_pil_image(read_image(image_path(run.images, run.record.images[index])))
        except SpinetError:
            continue
        record = run.record
        if isinstance(record, DetectionRecord):
            drawn, caption = _detections(record, index, image, thresholds)
        else:
            drawn, caption = image, _class(record, index)
        samples.append(Sample(f"samples/{len(samples) + 1}.jpg", _jpeg(drawn), caption))
    return samples


def _detections(
    record: DetectionRecord, index: int, image: Image.Image, thresholds: tuple[float, ...]
) -> tuple[Image.Image, str]:
    found = record.found[np.flatnonzero(record.found.owners == index)]
    found = found[found.scores >= np.array(thresholds)[found.labels]]
    boxes = found.boxes.copy()
    boxes[:, 2:] += boxes[:, :2]
    height, width = record.sizes[index].tolist()
    rles = [Rle(size=[height, width], counts=mask.decode("ascii")) for mask in found.masks or ()]
    names = [record.class_names[label] for label in found.labels]
    drawn = draw_detections(image, boxes, found.scores, found.labels, names, rles)
    objects = int(((record.truth.owners == index) & ~record.truth.crowd).sum())
    return drawn, f"{len(found)} detected, {objects} annotated"


def _class(record: ClassRecord, index: int) -> str:
    first = int(record.predicted[index, 0])
    predicted = record.class_names[first] if first >= 0 else "a class that the dataset does not have"
    return f"predicted {predicted} ({record.scores[index, 0]:.2f}), is {record.class_names[record.labels[index]]}"


def _jpeg(image: Image.Image) -> bytes:
    small, buffer = image.convert("RGB"), io.BytesIO()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
