"""YOLO's label files: one object per line, in normalized coordinates."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from spinet.errors import SpinetError, is_machine_fault, quoted
from spinet.formats.findings import CORRECT, Faults, Finding, left_out
from spinet.formats.values import number

# Coordinates are rounded to hundredths of a pixel, as in COCO's own files. With the usual six digits the error stays
# below half of that in images of up to 6,600 pixels, so rounding restores the original values.
DECIMALS = 2
# Coordinates slightly outside are clipped later, as in the other formats; beyond these they are not normalized.
LIMITS = (-1.0, 2.0)


class LabelFiles:
    """Reads label files one by one; invalid lines, and files that cannot be read, are left out and counted."""

    def __init__(self, classes: int, boxes_only: bool = False) -> None:
        """Start without files; `boxes_only` ignores what follows the box of each line, for keypoint datasets."""
        self.classes, self.boxes_only = classes, boxes_only
        self.files, self.lines = 0, 0
        self.bad_files, self.bad_lines = Faults(), Faults()
        # File and line of each object read.
        self.places: list[tuple[Path, int]] = []

    def read(self, file: Path | None, width: int, height: int) -> list[dict[str, Any]] | None:
        """Return the objects in a file as COCO annotations without ids; no file means no objects.

        A line is `class cx cy width height` or a polygon, `class x1 y1 x2 y2 x3 y3 ...`, which also becomes the
        `segmentation`. None stands for a file that cannot be read: what its image shows is not known.

        Raises:
            SpinetError: the disk or the memory failed.
        """
        if file is None:
            return []
        self.files += 1
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason, advice = "it is not UTF-8 text", "save them as UTF-8"
            if isinstance(error, OSError):
                reason, advice = str(error.strerror), "make them readable"
            text = f"could not read the labels in {file}: {reason}"
            if is_machine_fault(error):
                raise SpinetError(text) from error
            self.bad_files.add(text, f"{advice}: their images are left out too")
            return None
        objects = []
        for position, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            self.lines += 1
            try:
                objects.append(_annotation(*self._numbers(line), width, height))
                self.places.append((file, position))
            except ValueError as error:
                self.bad_lines.add(f"{file}, line {position}: {error}", CORRECT)
        return objects

    def check(self, split: str, image: Path, file: PurePath, findings: Sequence[Finding] = ()) -> list[Finding]:
        """Return warnings about what was left out.

        Args:
            split: for messages.
            image: the first image of the split.
            file: where its labels are expected.
            findings: about label files without an image.

        Raises:
            SpinetError: much was invalid, or no image had a label file.
        """
        if not self.files:
            there = f"; {findings[0].text}" if findings else ""
            raise SpinetError(f"no image has a label file; expected {file} for {image}{there}")
        return [
            *left_out(split, "label files", self.bad_files, self.files),
            *left_out(split, "label lines", self.bad_lines, self.lines),
        ]

    def _numbers(self, line: str) -> tuple[int, list[float]]:
        words = line.split()
        numbers = [_number(word) for word in words]
        if not numbers[0].is_integer() or not 0 <= numbers[0] < self.classes:
            raise ValueError(
                f"class {words[0][:40]} is not one of the {self.classes} in the YAML file, 0 to {self.classes - 1}"
            )
        coords = numbers[1:5] if self.boxes_only else numbers[1:]
        if len(coords) != 4 and (len(coords) < 6 or len(coords) % 2):
            confidence = "; is the last one a confidence?" if len(coords) == 5 else ""
            raise ValueError(
                f"{len(words)} numbers; must be 5 (class, center x, center y, width, height)"
                f" or a class and at least three pairs (a polygon){confidence}"
            )
        for value in coords:
            if not LIMITS[0] <= value <= LIMITS[1]:
                raise ValueError(f"{value:g} is not a normalized coordinate (0-1); is it in pixels?")
        return int(numbers[0]), coords


def _number(word: str) -> float:
    value = number(word)
    if value is None:
        finite = "finite " if word.casefold().lstrip("+-") in ("nan", "inf", "infinity") else ""
        raise ValueError(f"{quoted(word)} is not a {finite}number")
    return value


def _annotation(index: int, coords: list[float], width: int, height: int) -> dict[str, Any]:
    category = {"category_id": index + 1}
    if len(coords) == 4:
        cx, cy, w, h = coords
        corner = _round((cx - w / 2) * width), _round((cy - h / 2) * height)
        return category | {"bbox": [*corner, _round(w * width), _round(h * height)]}
    xs = [_round(x * width) for x in coords[0::2]]
    ys = [_round(y * height) for y in coords[1::2]]
    box = [min(xs), min(ys), _round(max(xs) - min(xs)), _round(max(ys) - min(ys))]
    polygon = [value for point in zip(xs, ys, strict=True) for value in point]
    return category | {"bbox": box, "segmentation": [polygon], "area": _polygon_area(xs, ys)}


def _polygon_area(xs: list[float], ys: list[float]) -> float:
    """Return the area by the shoelace formula."""
    pairs = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2


def _round(value: float) -> float:
    return round(value, DECIMALS)
