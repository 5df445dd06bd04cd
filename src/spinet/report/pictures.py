"""The images with most errors, ground truth beside prediction, as pictures inside the page."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont
from torchvision.transforms.v2.functional import to_pil_image

from spinet.analysis.confusion import ImageErrors
from spinet.analysis.records import ClassRecord, DetectionRecord, Objects
from spinet.data.masks import decode_columns
from spinet.errors import SpinetError
from spinet.formats.images import read_image
from spinet.report.training_run import image_path

WORST = 24
# Of a picture in the page, pixels and JPEG quality: 48 of them stay below 3 MB.
SIDE, QUALITY = 400, 76
RIGHT, FALSE, MISSED = (46, 125, 214), (214, 54, 46), (240, 130, 20)
# More labels than these hide the image; errors are labelled first.
LABELS = 12


@dataclass(frozen=True)
class Picture:
    """One or two pictures with a caption; `sources` are data URIs with the text of each."""

    sources: tuple[tuple[str, str], ...]
    name: str
    caption: str


def worst_images(errors: Iterable[ImageErrors], most: int = WORST) -> list[ImageErrors]:
    """Return the images with most missed objects and false detections, the worst first; none without errors."""
    wrong = [image for image in errors if image.total]
    return sorted(wrong, key=lambda image: (-image.total, image.image))[:most]


def worst_pictures(record: DetectionRecord, errors: Sequence[ImageErrors], root: Path) -> list[Picture]:
    """Draw images, ground truth beside prediction; those that cannot be read are left out."""
    pictures = []
    for wrong in errors:
        name = record.images[wrong.image]
        try:
            image, scale = _small(image_path(root, name), SIDE)
        except SpinetError:
            continue
        truth = _drawn(image, scale, record, record.truth, wrong.found.tolist(), wrong.missed.tolist(), MISSED)
        found = _drawn(image, scale, record, record.found, wrong.right.tolist(), wrong.false.tolist(), FALSE)
        caption = f"{len(wrong.missed)} missed, {len(wrong.false)} false, {len(wrong.right)} right"
        sources = (data_uri(truth), f"{name}: ground truth"), (data_uri(found), f"{name}: prediction")
        pictures.append(Picture(sources, name, caption))
    return pictures


def compared_pictures(
    sides: Sequence[tuple[DetectionRecord | ClassRecord, Sequence[ImageErrors], str]], images: Sequence[int], root: Path
) -> list[Picture]:
    """Draw what two models predict for the same images, right and false; those that cannot be read are left out."""
    pictures = []
    for index in images:
        name = sides[0][0].images[index]
        try:
            image, scale = _small(image_path(root, name), SIDE)
        except SpinetError:
            continue
        drawn, said = [], []
        for record, errors, model in sides:
            if isinstance(record, DetectionRecord):
                wrong = errors[index]
                rows = wrong.right.tolist(), wrong.false.tolist()
                drawn.append((data_uri(_drawn(image, scale, record, record.found, *rows, FALSE)), f"{name}: {model}"))
                said.append(f"{model}: {len(wrong.missed)} missed, {len(wrong.false)} false")
            else:
                said.append(f"{model}: {_predicted(record, index)}")
        plain = ((data_uri(image), name),)
        pictures.append(Picture(tuple(drawn) or plain, name, "; ".join(said)))
    return pictures


def _predicted(record: ClassRecord, index: int) -> str:
    first = int(record.predicted[index, 0])
    found = record.class_names[first] if first >= 0 else "a class that the dataset does not have"
    return f"{found} {record.scores[index, 0]:.2f}"


def mistake_pictures(record: ClassRecord, images: Sequence[int], root: Path) -> list[Picture]:
    """Show images of a classifier with true and predicted class; those that cannot be read are left out."""
    pictures = []
    for index in images:
        name = record.images[index]
        try:
            image, _ = _small(image_path(root, name), 260)
        except SpinetError:
            continue
        caption = f"{record.class_names[record.labels[index]]}, predicted {_predicted(record, index)}"
        pictures.append(Picture(((data_uri(image), name),), name, caption))
    return pictures


def _small(path: Path, side: int) -> tuple[Image.Image, float]:
    """Read an image, and shrink it so that its long side is at most `side`; return its scale too."""
    image: Image.Image = to_pil_image(read_image(path))
    scale = min(1.0, side / max(image.size))
    # Small images are enlarged, or their boxes would be a few pixels.
    if max(image.size) < side / 2:
        scale = side / 2 / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    return image.resize(size, Image.Resampling.LANCZOS), scale  # type: ignore[arg-type]


def _drawn(
    image: Image.Image,
    scale: float,
    record: DetectionRecord,
    objects: Objects,
    plain: list[int],
    wrong: list[int],
    colour: tuple[int, int, int],
) -> Image.Image:
    """Return a copy with objects, the wrong ones on top and labelled."""
    drawn = image.copy()
    for row in [*plain, *wrong]:
        shade = colour if row in wrong else RIGHT
        if objects.masks is not None and objects.masks[row]:
            _outline(drawn, objects.masks[row], record.sizes[objects.owners[row]].tolist(), shade)
        else:
            x, y, width, height = (objects.boxes[row] * scale).tolist()
            ImageDraw.Draw(drawn).rectangle((x, y, x + width, y + height), outline=shade, width=2)
    labelled = [*wrong, *plain] if len(wrong) + len(plain) <= LABELS else wrong[:LABELS]
    for row in reversed(labelled):
        name = record.class_names[objects.labels[row]] if len(record.class_names) > 1 else ""
        score = "" if objects is record.truth else f"{objects.scores[row]:.2f}"
        shade, text = colour if row in wrong else RIGHT, f"{name} {score}".strip()
        if not text:
            continue
        _label(drawn, (objects.boxes[row, :2] * scale).tolist(), text, shade)
    return drawn


def _outline(image: Image.Image, mask: bytes, size: list[int], colour: tuple[int, int, int]) -> None:
    """Draw the edge of a mask: what it gains by growing by two pixels."""
    height, width = size
    whole = Image.fromarray(decode_columns(mask, height, width, 0, width).T * 255)
    small = whole.resize(image.size, Image.Resampling.BILINEAR).point(lambda value: 255 * (value > 127))
    box = small.getbbox()
    if box is None:
        return
    part = small.crop((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2))
    edge = ImageChops.subtract(part.filter(ImageFilter.MaxFilter(5)), part)
    image.paste(colour, (box[0] - 2, box[1] - 2), edge)


def _label(image: Image.Image, corner: list[float], text: str, colour: tuple[int, int, int]) -> None:
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = max(0.0, min(corner[0], image.width - width))
    y = corner[1] - height if corner[1] >= height else min(corner[1], image.height - height)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text((x + 2 - left, y + 2 - top), text, fill="white", font=font)


def data_uri(image: Image.Image) -> str:
    """Return an image as a JPEG inside an address."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
