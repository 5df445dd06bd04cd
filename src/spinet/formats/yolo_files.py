"""Where the files of datasets in YOLO format are: class names, images, labels."""

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from spinet.errors import SpinetError, is_unicode, quoted
from spinet.formats.darknet import names_or_data_file
from spinet.formats.file_names import find_files
from spinet.formats.findings import Finding
from spinet.formats.listing import Listing, is_hidden, list_images, skipped_findings
from spinet.formats.parsing import peek, read_lines
from spinet.formats.splits import SPLIT_NAMES, WHOLE, already_divided, no_split

DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
EXAMPLE = "'names: [cat, dog]', 'train: images/train' and 'val: images/val'"
USUAL_FOLDERS = ("images/{}", "{}/images", "{}", "obj_{}_data")
# Image folders of datasets that are not divided.
WHOLE_FOLDERS = ("images", "obj_train_data", "data", ".")


class YoloImages(NamedTuple):
    """The images of a split, sorted and unique, and findings about their files."""

    paths: list[Path]
    findings: list[Finding]


def data_file(root: Path) -> Path:
    """Return the file with the class names: a YAML file, or else darknet's or that of an annotation tool."""
    for name in DATA_FILES:
        if (root / name).is_file():
            return root / name
    others = yaml_files(root)
    if len(others) > 1:
        found = ", ".join(file.name for file in others)
        raise SpinetError(
            f"{root} has the YAML files {found}; pass one of them as the dataset, or rename it to data.yaml"
        )
    file = others[0] if others else names_or_data_file(root)
    if file is None:
        raise SpinetError(
            f"{root} has labels but no class names; expected a data.yaml with {EXAMPLE}, or a classes.txt with one name"
            " per line"
        )
    return file


def yaml_files(root: Path) -> list[Path]:
    """Return the YAML files with class names; those of other tools are ignored."""
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return [file for file in files if re.search(rb"^(names|nc)\s*:", peek(file), re.MULTILINE)]


def yolo_sign(root: Path) -> Path | None:
    """Return a file that only datasets in YOLO format have."""
    named = [root / name for name in DATA_FILES if (root / name).is_file()]
    splits = [name for names in SPLIT_NAMES.values() for name in names]
    patterns = ("labels/*.txt", "labels/*/*.txt", *(f"{name}/labels/*.txt" for name in splits))
    labels = (path for pattern in patterns for path in root.glob(pattern) if not is_hidden(path.name))
    return next(iter([*named, *yaml_files(root)]), None) or next(labels, None)


def yolo_trace(root: Path) -> Path | None:
    """Return a file that datasets in YOLO format have, but others may have as well."""
    names = names_or_data_file(root)
    # A list of class names alone may be that of a classification dataset.
    return next(iter(_labels_beside(root)), None) or (names if names and names.suffix.lower() == ".data" else None)


def _labels_beside(root: Path) -> list[Path]:
    found = []
    for pattern in ("*.txt", "*/*.txt", "images/*/*.txt"):
        for _, file in zip(range(8), root.glob(pattern), strict=False):
            if re.match(rb"\d+( -?\d*\.?\d+(e-?\d+)?){4,}\s", peek(file, 4096)):
                found.append(file)
    return found


def list_split(settings: Mapping[str, Any], file: Path, root: Path, split: str) -> YoloImages:
    """Return the images of a split: those that the settings name, or those in the usual folder."""
    entries, key = _entries(settings, file, root, split)
    found, findings = Listing(), list[Finding]()
    for entry in entries:
        more, notes = _images_of(_resolve(entry, settings, file, root, key), root, split)
        found, findings = found + more, findings + notes
    if not found.images:
        why = found.skipped_text()
        raise SpinetError(f"{file} has no {split} images in {', '.join(entries)[:80]}" + (f": {why}" if why else ""))
    findings += skipped_findings(split, found)
    if split == "val" and _sources(settings, file, root, "train") == _sources(settings, file, root, "val"):
        text = f"val: {file.name} names the same images for train and val; metrics are those of training images"
        advice = "divide them with data.val_share or `spinet split`"
        findings.append(Finding("warning", "val is train", f"{text}; {advice}"))
    return YoloImages(sorted(set(found.images)), findings)


def _entries(settings: Mapping[str, Any], file: Path, root: Path, split: str) -> tuple[list[str], str]:
    """Return the folders or lists of a split, and the setting that names them."""
    if split == WHOLE:
        return _whole(settings, file, root)
    key = next((name for name in SPLIT_NAMES[split] if settings.get(name)), None)
    entries = settings[key] if key else _usual_folder(root, split)
    if not entries:
        raise no_split(root, split, f"a line such as '{split}: images/{split}' in data.yaml, or that folder")
    if isinstance(entries, str):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, str) and entry for entry in entries):
        shown = repr(entries)[:40]
        raise SpinetError(f"{file} has {key} {shown}; must be a folder of images, or a list of folders")
    return entries, str(key or split)


def _whole(settings: Mapping[str, Any], file: Path, root: Path) -> tuple[list[str], str]:
    """Return the only folders or lists of a dataset that is not divided."""
    train, val = (_sources(settings, file, root, split) for split in ("train", "val"))
    # pylabel names the folder of all images for both.
    if train and val and train != val:
        raise already_divided(root, val[0].name)
    if train or val:
        return _entries(settings, file, root, "train" if train else "val")
    return [next(name for name in WHOLE_FOLDERS if (root / name).is_dir())], WHOLE


def _sources(settings: Mapping[str, Any], file: Path, root: Path, split: str) -> list[Path]:
    """Return the folders and lists of a split; none if one is missing: Roboflow and CVAT name more than they write."""
    try:
        entries, key = _entries(settings, file, root, split)
        return sorted(_resolve(entry, settings, file, root, key) for entry in entries)
    except SpinetError:
        return []


def _end(path: str) -> str:
    return path if len(path) <= 80 else f"...{path[-77:]}"


def _usual_folder(root: Path, split: str) -> str | None:
    names = [pattern.format(name) for name in SPLIT_NAMES[split] for pattern in USUAL_FOLDERS]
    return next((name for name in names if (root / name).is_dir()), None)


def _resolve(entry: str, settings: Mapping[str, Any], file: Path, root: Path, key: str) -> Path:
    """Return the folder or list of images that an entry means."""
    path = settings.get("path") or ""
    for name, value, form in (("path", path, "the path of a folder"), (key, entry, "a folder of images or a list")):
        if not isinstance(value, str) or not is_unicode(value):
            raise SpinetError(f"{file} has {name} {quoted(value)}; must be {form}")
    base = root / path
    # Roboflow's entries have one ../ too many, and `path` was often written on another machine.
    candidates = [base / entry, root / entry]
    first = [root / entry.removeprefix("../")] if entry.startswith("../") else []
    for candidate in (*first, *candidates, *_elsewhere(entry, root, key)):
        if _exists(candidate):
            return Path(os.path.normpath(candidate))
    if key in SPLIT_NAMES["val"]:
        raise no_split(root, "val", f"{quoted(entry)}, which {file.name} names")
    where = " and no ".join(_end(str(path)) for path in dict.fromkeys(candidates))
    raise SpinetError(f"{file} has {key}: {entry[:40]}, but there is no {where}; expected a folder of images or a list")


def _elsewhere(entry: str, root: Path, key: str) -> list[Path]:
    r"""Return where the folder of a path from another machine may be: by its last names, or the usual folder."""
    windows = PureWindowsPath(entry)
    parts = [part for part in windows.parts if part not in (windows.anchor, "/", ".", "..")]
    split = next((split for split, names in SPLIT_NAMES.items() if key in names), WHOLE)
    tails = [parts[start:] for start in range(len(parts))]
    # One name alone, such as images, may be the folder of all splits.
    sure = [tail for tail in tails if len(tail) > 1 or tail[0] in SPLIT_NAMES.get(split, ()) or "." in tail[0]]
    foreign = PurePosixPath(entry).is_absolute() or "\\" in entry or bool(windows.drive) or entry.startswith("..")
    usual = _usual_folder(root, split) if foreign and split != WHOLE else None
    return [*(root.joinpath(*tail) for tail in sure), *([root / usual] if usual else [])]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or with a null character
        return False


def _images_of(source: Path, root: Path, split: str) -> tuple[Listing, list[Finding]]:
    if source.is_dir():
        if source.resolve() in root.resolve().parents:
            raise SpinetError(f"{root} has its {split} images in a folder above it, {source}; move them into it")
        return list_images(source), []
    names = [name for name in read_lines(source) if not is_hidden(PureWindowsPath(name).name)]
    found = find_files(names, [source.parent, root], root, split, source)
    return Listing([Path(os.path.normpath(found.folder / name)) for name in found.names]), found.findings


def label_folders(images: Path) -> list[Path]:
    """Return where the labels of a folder of images may be, the likeliest first.

    The last folder called images becomes labels, or an earlier one of that name; or the labels are beside the images.
    """
    parts = images.parts
    places = [position for position in range(len(parts) - 1, -1, -1) if parts[position].casefold() == "images"]
    return [*(Path(*parts[:at], _like(parts[at]), *parts[at + 1 :]) for at in places), images]


def _like(name: str) -> str:
    return {"Images": "Labels", "IMAGES": "LABELS"}.get(name, "labels")
