"""The predictions for many images as files of other tools: COCO JSON, YOLO labels, CSV."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from spinet.data.masks import area_of
from spinet.engine.build import ModelInfo
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.predict.results import ClassResult, DetectionResult, Result

Format = Literal["coco", "yolo", "csv"]
FORMATS: tuple[Format, ...] = ("coco", "yolo", "csv")
# With six digits the error stays below a hundredth of a pixel in images of up to 10,000 pixels.
DIGITS = 6


@dataclass(frozen=True)
class FileResult:
    """What was predicted for one file; `without_pixels` keeps many of them small.

    Attributes:
        name: of the file, or its path.
        stem: of the files that are written for it; no other file has it.
        result: the prediction.
    """

    name: str
    stem: str
    result: Result

    def without_pixels(self) -> "FileResult":
        """Return the same with one byte that stands for all pixels of the image."""
        if isinstance(self.result, ClassResult):
            return self
        nothing = torch.zeros(1, dtype=torch.uint8).expand(3, *self.result.image_size)
        return replace(self, result=replace(self.result, image=nothing))


def save_results(files: Sequence[FileResult], info: ModelInfo, folder: Path, formats: Sequence[Format]) -> list[Path]:
    """Write the predictions in each format and return the paths, in the order of `formats`.

    `coco` is `detections-coco.json`, a dataset with scores beside the boxes and masks; `yolo` is `detections-yolo.zip`,
    with a text file per image and `classes.txt`, boxes only; `csv` is `detections.csv`.

    Raises:
        SpinetError: the format is not for classifiers, or a file cannot be written.
    """
    check_formats(formats, info)
    written = []
    for format in dict.fromkeys(formats):
        write_atomically(folder / FILES[format], _WRITERS[format](files, info))
        written.append(folder / FILES[format])
    return written


def check_formats(formats: Sequence[Format], info: ModelInfo) -> None:
    """Raise a SpinetError for a format that a model has nothing for."""
    if info.kind == "classifier" and (wrong := [format for format in formats if format != "csv"]):
        raise SpinetError(f"the format {wrong[0]} is for detectors, and this model is a classifier; choose csv")


def _coco(files: Sequence[FileResult], info: ModelInfo) -> str:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, file in enumerate(files, 1):
        assert isinstance(file.result, DetectionResult)
        height, width = file.result.image_size
        images.append({"id": number, "file_name": file.name, "width": width, "height": height})
        for found in file.result.to_coco(number):
            mask = found.get("segmentation")
            area = area_of(mask, height, width) if mask else found["bbox"][2] * found["bbox"][3]
            annotations.append({"id": len(annotations) + 1, **found, "area": area, "iscrowd": 0})
    classes = zip(info.category_ids, info.class_names, strict=True)
    categories = [{"id": id_, "name": name} for id_, name in classes]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations}) + "\n"


def _yolo(files: Sequence[FileResult], info: ModelInfo) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("classes.txt", "".join(f"{' '.join(name.split())}\n" for name in info.class_names))
        for file in files:
            assert isinstance(file.result, DetectionResult)
            archive.writestr(f"labels/{file.stem}.txt", _yolo_lines(file.result))
    return buffer.getvalue()


def _yolo_lines(result: DetectionResult) -> str:
    height, width = result.image_size
    lines = []
    for label, (left, top, right, bottom) in zip(result.labels.tolist(), result.boxes.tolist(), strict=True):
        box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
        lines.append(f"{label} {' '.join(f'{value:.{DIGITS}f}' for value in box)}\n")
    return "".join(lines)


def _csv(files: Sequence[FileResult], info: ModelInfo) -> str:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    boxes = info.kind != "classifier"
    table.writerow(["file", "class", "score", *(("x", "y", "width", "height") if boxes else ())])
    for file in files:
        for row in _rows(file.result):
            table.writerow([file.name, *row])
    return buffer.getvalue()


def _rows(result: Result) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for index, (name, score) in enumerate(zip(result.class_names, result.scores.tolist(), strict=True)):
        row: list[Any] = [name, f"{score:.4f}"]
        if isinstance(result, DetectionResult):
            left, top, right, bottom = result.boxes[index].tolist()
            row += [f"{value:.2f}" for value in (left, top, right - left, bottom - top)]
        rows.append(row)
    return rows


# What each format writes into the folder.
FILES: dict[Format, str] = {
    "coco": "detections-coco.json",
    "yolo": "detections-yolo.zip",
    "csv": "detections.csv",
}
_WRITERS: dict[Format, Callable[[Sequence[FileResult], ModelInfo], str | bytes]] = {
    "coco": _coco,
    "yolo": _yolo,
    "csv": _csv,
}
