"""Where tools put the annotation files and the images of a dataset in COCO format."""

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spinet.errors import SpinetError
from spinet.formats.annotations import ROBOFLOW_FILE, RawSplit, read_annotation_file
from spinet.formats.file_names import find_files
from spinet.formats.findings import Finding
from spinet.formats.listing import is_folder, is_hidden
from spinet.formats.splits import SPLIT_NAMES, WHOLE, already_divided, no_split, split_of_name

# The official download has files of these for the same images.
OTHER_TASKS = frozenset({"captions", "keypoints", "panoptic", "stuff"})
# Folders in folders that may hold annotation files.
FILE_FOLDERS = frozenset({"annotations", "annotation", "labels", "images"})
# Folders of images that belong to no split: CVAT's and datumaro's, FiftyOne's, and those of converters from VOC.
IMAGE_FOLDERS = ("images", "images/default", "data", "jpegimages")
KEYS = ("images", "annotations", "categories", "bbox")
TEST = "test"
# More JSON files than this in a folder are one for each image, as LabelMe writes them.
FEW = 24


def read_coco(root: Path, split: str) -> RawSplit:
    """Read a split of a folder in COCO format; "all" is what is not divided.

    The usual layout is `ROOT/{train,val}` with `ROOT/annotations/instances_{train,val}.json`, but names decide and not
    places: of the annotation file (`instances_train2017.json`, `val.json`) or of its folder (Roboflow's
    `valid/_annotations.coco.json`, FiftyOne's `train/labels.json`). The images are where the names in the file lead
    to: see `find_files`.

    Raises:
        SpinetError: a file is missing, unreadable, not JSON, or does not have COCO's lists.
    """
    files = coco_files(root)
    found = _whole(files, root) if split == WHOLE else files.get(split, [])
    if not found:
        raise no_split(root, split, f"annotations/instances_{split}.json or {split}/{ROBOFLOW_FILE}")
    file = _best(found, root, split)
    raw = read_annotation_file(file)
    for image in raw["images"]:
        if type(image.get("file_name")) is int:
            image["file_name"] = str(image["file_name"])
    # Other values are refused with the entry's id when entries are checked.
    named = [image for image in raw["images"] if isinstance(image.get("file_name"), str) and image["file_name"]]
    part = _split_of(file, root)
    folders = _image_folders(root, file, part)
    folder, names, findings = find_files([image["file_name"] for image in named], folders, root, part, file)
    for image, name in zip(named, names, strict=True):
        image["file_name"] = name
    if part == TEST:
        text = f"{file.relative_to(root)} has the name of a test set, but is the only annotation file: it is taken as"
        findings.append(Finding("hint", "test set", f"{text} the whole dataset"))
    return RawSplit(file, folder, raw, findings=findings)


def coco_files(root: Path) -> dict[str, list[Path]]:
    """Return the annotation files of each split, "train" and "val"; "all" are those that belong to no split.

    Files of a test set are left out, unless there is nothing else: then one of them is an export that is not divided.
    """
    found: dict[str, list[Path]] = {}
    for file in _json_files(root):
        found.setdefault(_split_of(file, root), []).append(file)
    tests = found.pop(TEST, [])
    return found or ({WHOLE: tests} if tests else {})


def _whole(files: dict[str, list[Path]], root: Path) -> list[Path]:
    if "train" in files and "val" in files:
        raise already_divided(root, files["val"][0].relative_to(root))
    return files.get(WHOLE) or files.get("train") or files.get("val", [])


def _json_files(root: Path) -> Iterator[Path]:
    for folder, content in _scan(root).items():
        # The usual names are read whatever is in them, to say what is wrong with it.
        usual = [name for name in content.json if name.startswith("instances_") or name == ROBOFLOW_FILE]
        for name in content.json:
            if name in usual or (len(content.json) <= FEW and _is_coco(folder / name)):
                yield folder / name


class _Content(NamedTuple):
    folders: list[str]
    json: list[str]


def _scan(root: Path) -> dict[Path, _Content]:
    """Return the content of a folder, of those in it, and of those in these that may hold annotation files."""
    found = {root: _content(root)}
    for name in found[root].folders:
        first = found[root / name] = _content(root / name)
        inside = name.casefold().startswith("annotation")
        for other in first.folders:
            if inside or _holds_files(other):
                found[root / name / other] = _content(root / name / other)
    return found


def _holds_files(name: str) -> bool:
    plain = name.casefold().rstrip("0123456789")
    return plain in FILE_FOLDERS or any(plain in names for names in SPLIT_NAMES.values())


def _content(folder: Path) -> _Content:
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.name.lower().endswith(".json"):
                    files.append(entry.name)
                elif is_folder(entry):
                    folders.append(entry.name)
    # A folder that must not be read has no annotation file for us.
    except OSError:
        pass
    return _Content(sorted(folders), sorted(files))


def _is_coco(file: Path) -> bool:
    """Whether a JSON file seems to hold boxes in COCO format; the keys are looked for without parsing the file."""
    try:
        with file.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as text:
            # JSON files may be in UTF-16 too.
            encoding = "utf-16-be" if text[:1] in b"\0\xfe" else "utf-16-le" if b"\0" in text[:4] else "utf-8"
            found = {key: text.find(f'"{key}"'.encode(encoding)) >= 0 for key in KEYS}
            empty = re.search(rb'"annotations"\s*:\s*(\[\s*\]|\{\s*\})', text)
            return all(found.values()) or bool(empty and all(found[key] for key in KEYS if key != "bbox"))
    except (OSError, ValueError):
        return False


def _split_of(file: Path, root: Path) -> str:
    """Return the split of an annotation file: by its own name, or that of the nearest folder, or "test"."""
    found = map(split_of_name, (file.stem, *reversed(file.relative_to(root).parts[:-1])))
    return next((split for split in found if split), WHOLE)


def _best(files: list[Path], root: Path, split: str) -> Path:
    """Return the file with the most usual name."""
    names = "|".join(SPLIT_NAMES.get(split, ("default",)))

    def rank(file: Path) -> tuple[bool, bool, bool, bool]:
        stem = file.stem.casefold()
        others = bool(set(re.findall("[a-z]+", stem)) & OTHER_TASKS)
        plain = re.fullmatch(rf"(instances_)?({names})(\d{{4}})?", stem)
        return others, not stem.startswith("instances"), not plain, bool(re.search(r"\d{4}$", stem))

    ordered = sorted(files, key=rank)
    same = [str(file.relative_to(root)) for file in ordered if rank(file) == rank(ordered[0])]
    if len(same) > 1:
        what = f"of {split} images" if split != WHOLE else "of all images; move the others elsewhere or merge them"
        raise SpinetError(f"{root} has {' and '.join(same[:3])}; expected one annotation file {what}")
    return ordered[0]


def _image_folders(root: Path, file: Path, split: str) -> list[Path]:
    """Return the folders where the images of an annotation file may be, the likeliest first."""
    known = _folders(root)
    own = file.parent.parent if file.parent.name.casefold() in ("annotations", "labels") else file.parent
    inside = [] if own == root else [own, own / "data", own / "images"]
    years = re.findall(r"[a-z]+_?\d{4}$", file.stem.casefold())
    usual_names = (TEST,) if split == TEST else SPLIT_NAMES.get(split, ())
    names = [*(re.sub(".*_", "", year) for year in years), *usual_names]
    patterns = ("{}", "images/{}", "{}/images", "{}/data", "data/{}")
    usual = [known.get(pattern.format(name)) for name in names for pattern in patterns]
    usual += [known.get(name) for name in IMAGE_FOLDERS]
    return list(dict.fromkeys(folder for folder in (*inside, *usual, file.parent, root) if folder and folder.is_dir()))


def _folders(root: Path) -> dict[str, Path]:
    """Return the folders in a folder and in those, by their names in lower case relative to it."""
    found: dict[str, Path] = {}
    for place, content in _scan(root).items():
        for name in content.folders:
            found.setdefault((place / name).relative_to(root).as_posix().casefold(), place / name)
    return found
