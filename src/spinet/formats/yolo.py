"""Datasets in YOLO format: a YAML file with class names, image folders, and label folders next to them.

The layout is that of Ultralytics (ultralytics/data/utils.py: check_det_dataset, img2label_paths) and of Roboflow's
exports.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError, quoted
from spinet.formats.annotations import RawSplit, as_coco
from spinet.formats.darknet import read_darknet
from spinet.formats.findings import some
from spinet.formats.images import readable_sizes
from spinet.formats.parsing import read_yaml
from spinet.formats.values import MAX_CLASSES
from spinet.formats.yolo_files import EXAMPLE, data_file, list_split
from spinet.formats.yolo_labels import LabelFiles
from spinet.formats.yolo_pairs import expected_label, pair_labels


def read_yolo(root: Path, split: str, sizes: Mapping[Path, tuple[int, int]]) -> RawSplit:
    """Read a split of a dataset in YOLO format as a COCO dict.

    `ROOT/data.yaml` has the class names and, relative to its `path` or to ROOT, the image folders: `images/train` or
    `train/images`. Without one, classes.txt or darknet's obj.data has the names. The labels of `images/a.jpg` are in
    `labels/a.txt` or beside it; an image without such a file has no objects. Class k, from 0, gets the category id
    k + 1. A single invalid line, or an image that cannot be read, is left out, and a finding says so.
    """
    base = root.parent if root.is_file() else root
    file = root if root.is_file() else data_file(root)
    settings = _read_settings(file) if file.suffix.lower() in (".yaml", ".yml") else read_darknet(file, base)
    names = _class_names(settings, file)
    paths, findings = list_split(settings, file, base, split)
    pairs = pair_labels(paths, split)
    labels = LabelFiles(classes=len(names), boxes_only="kpt_shape" in settings)
    known, broken = readable_sizes(paths, sizes, split, len(paths))
    images = (
        (Path(os.path.relpath(path, base)).as_posix(), size, objects)
        for path, size in known.items()
        if (objects := labels.read(pairs.labels.get(path), *size)) is not None
    )
    raw = as_coco(images, names)
    invalid = labels.check(split, paths[0], expected_label(paths[0]), pairs.findings)
    return RawSplit(file, base, raw, labels.places, [*findings, *pairs.findings, *broken, *invalid], "YOLO")


def _read_settings(file: Path) -> dict[str, Any]:
    settings = read_yaml(file)
    if settings is None:
        raise SpinetError(f"{file} is empty; expected a YAML file with {EXAMPLE}")
    if not isinstance(settings, dict):
        raise SpinetError(f"{file} holds a {type(settings).__name__}; expected a YAML file with {EXAMPLE}")
    return settings


def _class_names(settings: Mapping[str, Any], file: Path) -> list[str]:
    names, count = settings.get("names"), settings.get("nc")
    many = count if names is None and type(count) is int else len(names) if isinstance(names, dict | list) else 0
    if many > MAX_CLASSES:
        raise SpinetError(f"{file} has {quoted(many)} classes; must be at most {MAX_CLASSES:,}")
    if names is None and type(count) is int and count > 0:
        return [f"class_{index}" for index in range(count)]
    if isinstance(names, dict):
        numbered = {str(number): name for number, name in names.items()}
        if set(numbered) != set(map(str, range(len(names)))):
            found = some(numbered, 10)
            raise SpinetError(f"the names in {file} are numbered {found}; must be 0, 1, 2 ... without a gap")
        names = [numbered[str(index)] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise SpinetError(
            f"{file} has names {quoted(names)}; must be a list of class names, or a table numbered from 0"
        )
    for index, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float) or name == "":
            raise SpinetError(
                f"{file} has the name {quoted(name)} for class {index}; must be a string, in quotes if need be"
            )
    if count is not None and count != len(names):
        raise SpinetError(f"{file} has nc {quoted(count)} but {len(names)} names; nc must be the number of names")
    return [str(name) for name in names]
