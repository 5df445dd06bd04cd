"""YOLO's label files: a line an object, coordinates as shares of the image's width and height."""

import math
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError

# Coordinates come out in hundredths of a pixel, as COCO's own files have them. With the usual six digits of a share
# the error stays below half of that in images up to 6,600 pixels, so rounding gives back what was written.
DECIMALS = 2
# What is a little outside is clipped later, as in the other formats; what is far outside is no share of an image.
LIMITS = (-1.0, 2.0)


class LabelFiles:
    """Reads label files one by one, and remembers the faults, so that one sentence can count them all."""

    def __init__(self, classes: int, boxes_only: bool = False) -> None:
        """Start without a fault.

        Args:
            classes: how many there are.
            boxes_only: take the box of each line and leave what follows, as in data sets of key points.
        """
        self.classes, self.boxes_only = classes, boxes_only
        self.found, self.faults, self.first_fault = 0, 0, ""
        # File and line of each object read.
        self.places: list[tuple[Path, int]] = []

    def read(self, file: Path, width: int, height: int) -> list[dict[str, Any]]:
        """Return the objects in a file as COCO annotations without ids; no file means no objects.

        A line is `class cx cy width height`, or `class x1 y1 x2 y2 x3 y3 ...`, a polygon, which gives its box and
        stays as `segmentation`.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SpinetError(f"could not read the labels in {file}: {reason}") from error
        self.found += 1
        objects = []
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    objects.append(_annotation(*self._numbers(line), width, height))
                    self.places.append((file, number))
            except ValueError as error:
                self.faults += 1
                self.first_fault = self.first_fault or f"{file}, line {number}: {error}"
        return objects

    def check(self, image: Path, file: Path) -> None:
        """Raise if a line was faulty, or if no image had a label file; `image` and `file` are the example to name.

        Raises:
            SpinetError: see above.
        """
        if self.faults:
            more = f" (faulty lines in all: {self.faults:,})" if self.faults > 1 else ""
            raise SpinetError(f"{self.first_fault}{more}")
        if not self.found:
            raise SpinetError(f"no image has a label file; expected for {image} is {file}")

    def _numbers(self, line: str) -> tuple[int, list[float]]:
        words = line.split()
        numbers = [_number(word) for word in words]
        if not numbers[0].is_integer() or not 0 <= numbers[0] < self.classes:
            raise ValueError(
                f"class {words[0]} is not one of the {self.classes} in the YAML file, 0 to {self.classes - 1}"
            )
        shares = numbers[1:5] if self.boxes_only else numbers[1:]
        if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
            raise ValueError(
                f"{len(words)} numbers; allowed are 5 (class, centre x, centre y, width, height)"
                " or a class and three or more pairs (a polygon)"
            )
        for share in shares:
            if not LIMITS[0] <= share <= LIMITS[1]:
                raise ValueError(f"{share:g} is no share of the image's width or height (0 to 1); is it in pixels?")
        return int(numbers[0]), shares


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{word[:40]!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{word!r} is not a finite number")
    return value


def _annotation(index: int, shares: list[float], width: int, height: int) -> dict[str, Any]:
    category = {"category_id": index + 1}
    if len(shares) == 4:
        cx, cy, w, h = shares
        corner = _round((cx - w / 2) * width), _round((cy - h / 2) * height)
        return category | {"bbox": [*corner, _round(w * width), _round(h * height)]}
    xs = [_round(x * width) for x in shares[0::2]]
    ys = [_round(y * height) for y in shares[1::2]]
    box = [min(xs), min(ys), _round(max(xs) - min(xs)), _round(max(ys) - min(ys))]
    polygon = [value for point in zip(xs, ys, strict=True) for value in point]
    return category | {"bbox": box, "segmentation": [polygon], "area": _polygon_area(xs, ys)}


def _polygon_area(xs: list[float], ys: list[float]) -> float:
    """The shoelace formula."""
    pairs = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    return abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2


def _round(value: float) -> float:
    return round(value, DECIMALS)
