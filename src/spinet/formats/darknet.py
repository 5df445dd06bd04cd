"""Class names and image lists of YOLO datasets without a YAML file: obj.data and obj.names, or only classes.txt."""

import re
from pathlib import Path, PureWindowsPath
from typing import Any

from spinet.errors import SpinetError, quoted
from spinet.formats.parsing import peek, read_lines, reading

# Label Studio's, LabelImg's and CVAT's; Roboflow writes its own into the folder of a split.
NAME_FILES = (
    *("classes.txt", "obj.names", "*.names", "labels/classes.txt", "images/classes.txt", "*/classes.txt"),
    *("predefined_classes.txt", "train/_darknet.labels", "*/_darknet.labels"),
)


def names_or_data_file(root: Path) -> Path | None:
    """Return the .data file of darknet, or a file with one class name per line."""
    for file in sorted(root.glob("*.data")):
        if re.search(rb"^\s*names\s*=", peek(file), re.MULTILINE):
            return file
    found = (file for pattern in NAME_FILES for file in sorted(root.glob(pattern)) if file.is_file())
    return next(found, None)


def read_darknet(file: Path, root: Path) -> dict[str, Any]:
    """Return the settings of such a file as those of a YAML file: names, nc, and the lists of train and valid."""
    if file.suffix.lower() != ".data":
        return {"names": _names(file)}
    pairs = dict(re.findall(r"^(\w+)\s*=\s*(.*)$", "\n".join(read_lines(file)), re.MULTILINE))
    settings: dict[str, Any] = {key: pairs[key] for key in ("train", "valid", "val") if pairs.get(key)}
    if pairs.get("classes", "").isdecimal():
        settings["nc"] = int(pairs["classes"][:9])
    # Written relative to where darknet is started: data/obj.names.
    last = PureWindowsPath(pairs.get("names", "")).name
    places = (root / pairs.get("names", ""), root / last, *sorted(root.glob("*.names")))
    with reading(file, "text"):  # the name may be too long for a file
        names = [path for path in places if path.is_file()]
    if not names:
        raise SpinetError(
            f"{file} has names = {quoted(last)}, but there is no such file; expected one class name per line"
        )
    return settings | {"names": _names(names[0])}


def _names(file: Path) -> list[str]:
    # An empty line between others stays, to be refused: leaving it out would shift the classes.
    with reading(file, "text"):
        return [line.strip() for line in file.read_bytes().decode("utf-8-sig").rstrip().splitlines()]
