"""Formats of annotation tools that are not read, and how to get one that is."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from spinet.formats.listing import is_hidden
from spinet.formats.parsing import peek

# Files of each pattern that are looked into, and how far.
LOOKED, BYTES = 4, 65_536


class ForeignFormat(NamedTuple):
    """A format that is not read: where its files are, what is in them, its name, and what to do."""

    patterns: tuple[str, ...]
    content: bytes
    name: str
    advice: str


JSON = ("*.json", "*/*.json", "*/*/*.json")
FORMATS = (
    ForeignFormat(JSON, rb'"shapes"\s*:(?s:.*)"imagePath"|"imagePath"(?s:.*)"shapes"\s*:', "LabelMe's JSON files",
                  "convert them to COCO with labelme2coco"),
    ForeignFormat(JSON, rb'"_via_|"region_attributes"|"regions"\s*:(?s:.*)"shape_attributes"', "VIA's JSON",
                  "export it as COCO in VIA"),
    ForeignFormat(JSON, rb'"classTitle"', "Supervisely's JSON files", "export the project as COCO or YOLO there"),
    ForeignFormat(JSON, rb'"from_name"\s*:', "Label Studio's own JSON", "export the project as COCO or YOLO there"),
    ForeignFormat(JSON, rb'"coordinates"\s*:\s*\{', "CreateML's JSON", "export it as COCO or YOLO"),
    ForeignFormat(JSON, rb'"dm_format_version"|"items"\s*:(?s:.*)"annotations"', "datumaro's own JSON",
                  "export it as coco, voc or yolo with datumaro"),
    ForeignFormat(("*.xml", "*/*.xml"), rb"<annotations>\s*<version>", "CVAT's XML for images",
                  "export the task as COCO 1.0 there"),
    ForeignFormat(("*.csv", "*/*.csv"), rb"(?i)\bx_?min\b|\bx1\b|\bbbox", "boxes in a CSV table",
                  "export them as COCO, YOLO or Pascal VOC"),
    ForeignFormat(("*.tfrecord*", "*.record", "*/*.tfrecord*"), rb"", "TFRecord files",
                  "export them as COCO, YOLO or Pascal VOC"),
)  # fmt: skip


def foreign_format(root: Path) -> str:
    """Return a sentence about a format in a folder that is not read, or an empty string."""
    for form in FORMATS:
        for file in _files(root, form.patterns):
            if re.search(form.content, peek(file, BYTES)):
                shown = str(file.relative_to(root))[-60:]
                return f"{root} holds {form.name} ({shown}), a format that is not read; {form.advice}"
    return ""


def _files(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        found = (path for path in root.glob(pattern) if not is_hidden(path.name) and path.is_file())
        yield from islice(found, LOOKED)
