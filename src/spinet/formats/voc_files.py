"""Where the files of datasets in Pascal VOC format are: lists, XML files, images."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from spinet.errors import SpinetError
from spinet.formats.findings import Finding, such_as
from spinet.formats.listing import image_suffixes, is_hidden, list_images, skipped_findings, suffix_of
from spinet.formats.parsing import peek, read_lines
from spinet.formats.splits import SPLIT_NAMES, WHOLE, already_divided, no_split

# The official datasets have all four lists: val belongs to train, and test to trainval.
LISTS = (("train", "val"), ("train", "valid"), ("train", "validation"), ("trainval", "test"), ("train", "test"))
XML_FOLDERS = ("Annotations", "annotations", "labels", "xml")
IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "data")


class VocFiles(NamedTuple):
    """What lists a split, its (XML file, image) pairs, sorted, and findings about its files."""

    listed: Path
    pairs: list[tuple[Path, Path]]
    findings: list[Finding]


class _Names:
    """Files by their path in a folder without suffix, or by their own name if that is unique."""

    def __init__(self, paths: Iterable[Path], base: Path) -> None:
        self.whole: dict[str, Path] = {}
        # Files of which another differs only in the suffix.
        self.twice: dict[str, Path] = {}
        self.last: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            name = path.relative_to(base).with_suffix("").as_posix()
            if name in self.whole:
                self.twice[name] = path
            self.whole[name] = path
            self.last[path.stem].append(name)

    def find(self, name: str) -> Path | None:
        """Return the file; of a name in a folder, no file from a different folder."""
        alone = self.last.get(name.rpartition("/")[2], [])
        if name in self.whole or len(alone) != 1:
            return self.whole.get(name)
        one, other = f"/{name}", f"/{alone[0]}"
        return self.whole[alone[0]] if one.endswith(other) or other.endswith(one) else None


def voc_sign(root: Path) -> Path | None:
    """Return a file or folder that only datasets in Pascal VOC format have."""
    splits = [name for names in SPLIT_NAMES.values() for name in names]
    folders = [f"{name}{inside}" for name in splits for inside in ("", *(f"/{folder}" for folder in XML_FOLDERS))]
    patterns = (
        "Annotations/*.xml",
        "Annotations/*/*.xml",
        "ImageSets/Main",
        *(f"{folder}/*.xml" for folder in folders),
    )
    return next((path for pattern in patterns for path in root.glob(pattern) if not is_hidden(path.name)), None)


def voc_trace(root: Path) -> Path | None:
    """Return an XML file for one image, wherever it is."""
    for pattern in ("*.xml", "*/*.xml", "images/*/*.xml"):
        for _, file in zip(range(8), root.glob(pattern), strict=False):
            if re.search(rb"<annotation[\s>]", peek(file, 4096)):
                return file
    return None


def has_split(root: Path, split: str) -> bool:
    """Whether a list or a folder of a split is there."""
    return _folder_of(root, split) is not None or _list_of(root, split) is not None


def voc_files(root: Path, split: str) -> VocFiles:
    """Find the files of a split; "all" are those of a dataset that is not divided.

    Raises:
        SpinetError: there is no such split, or an XML file or an image is missing.
    """
    if split == WHOLE:
        present = [name for name in SPLIT_NAMES if has_split(root, name)]
        if len(present) == 2:
            raise already_divided(root, _list_of(root, "val") or _folder_of(root, "val"))
        return voc_files(root, present[0]) if present else _all_files(root, WHOLE)
    folder, file = _folder_of(root, split), _list_of(root, split)
    if folder:
        return _beside(folder, split)
    if file is None:
        raise no_split(root, split, f"ImageSets/Main/{split}.txt, or a folder {split}/ with XML files")
    return _listed(file, root, split)


def _folder_of(root: Path, split: str) -> Path | None:
    """Return the folder with both images and XML files, if that is the layout."""
    folders = (root / name for name in SPLIT_NAMES[split])
    return next(
        (folder for folder in folders if any(_xml_files(folder / name, False) for name in ("", *XML_FOLDERS))), None
    )


def _list_of(root: Path, split: str) -> Path | None:
    lists = root / "ImageSets" / "Main"
    for names in LISTS:
        chosen = dict(zip(("train", "val"), names, strict=True))
        if all((lists / f"{name}.txt").is_file() for name in names):
            return lists / f"{chosen[split]}.txt"
    alone = [lists / f"{name}.txt" for name in SPLIT_NAMES[split]]
    return next((file for file in alone if file.is_file()), None)


def _beside(folder: Path, split: str) -> VocFiles:
    found = _all_files(folder, split)
    used = {image for _, image in found.pairs}
    lonely = next((image for image in list_images(_folders(folder)[1]).images if image not in used), None)
    if lonely:
        raise SpinetError(f"the image {lonely} has no XML file; images without objects need one too")
    return found._replace(listed=folder)


def _listed(file: Path, root: Path, split: str) -> VocFiles:
    xml_folder, images_folder = _folders(root)
    listing = list_images(images_folder)
    xml = _Names(_xml_files(xml_folder), xml_folder)
    images = _Names(listing.images, images_folder)
    names = {_name(line, xml) for line in read_lines(file)}
    pairs = []
    for name in sorted(name for name in names if name and not is_hidden(name.rpartition("/")[2])):
        found = xml.find(name) or xml_folder / f"{name}.xml"
        pairs.append((found, _image_of(found, name, images, images_folder, file)))
    return VocFiles(file, pairs, [*skipped_findings(split, listing), *_shared_findings(split, images, pairs)])


def _shared_findings(split: str, images: _Names, pairs: Iterable[tuple[Path, Path]]) -> Iterator[Finding]:
    used = {image for _, image in pairs}
    shared = [path for path in images.twice.values() if path in used]
    if shared:
        text = f"{split}: {len(shared):,} images share an XML file with one of another suffix, {such_as(shared[0])}"
        yield Finding("warning", "shared labels", f"{text}, and only one of them is read; give them different names")


def _all_files(root: Path, split: str) -> VocFiles:
    xml_folder, images_folder = _folders(root)
    listing = list_images(images_folder)
    xml = _Names(_xml_files(xml_folder), xml_folder)
    images = _Names(listing.images, images_folder)
    pairs = [(file, _image_of(file, name, images, images_folder)) for name, file in sorted(xml.whole.items())]
    used = {image for _, image in pairs}
    without = [path for path in listing.images if path not in used]
    findings = skipped_findings(split, listing)
    if without:
        text = f"{len(without):,} images have no XML file and are left out, {such_as(without[0])}"
        findings.append(
            Finding("warning", "unused files", f"{text}; annotate them, or write an XML file without objects")
        )
    return VocFiles(xml_folder, pairs, findings)


def _folders(root: Path) -> tuple[Path, Path]:
    """Return the folders of the XML files and of the images; both are the dataset where it has no such folders."""
    xml = next((root / name for name in XML_FOLDERS if _xml_files(root / name)), root)
    images = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), root)
    return xml, images


def _xml_files(folder: Path, below: bool = True) -> list[Path]:
    look = folder.rglob if below else folder.glob
    paths = dict.fromkeys([*look("*.xml"), *look("*.XML")])
    return [path for path in paths if not any(map(is_hidden, path.relative_to(folder).parts))]


def _name(line: str, xml: _Names) -> str:
    """Return the image that a line of a list names.

    Some have the suffix or the folder of the image, lists of a class have -1, 0 or 1 behind the name, and CVAT writes
    names with spaces in quotes.
    """
    name = line.strip().strip("\"'")
    words = name.split()
    if name not in xml.whole and len(words) > 1 and words[-1] in ("-1", "0", "1"):
        name = name[: name.rindex(words[-1])].strip().strip("\"'")
    name = name.replace("\\", "/").removeprefix("./")
    if name not in xml.whole and suffix_of(name) in {".xml", *image_suffixes()}:
        name = name[: name.rindex(".")]
    for folder in ("JPEGImages/", "Annotations/"):
        name = name.rpartition(folder)[2] if name not in xml.whole else name
    return name


def _image_of(xml: Path, name: str, images: _Names, folder: Path, listed: Path | None = None) -> Path:
    inside = name[: name.rfind("/") + 1]
    image = images.find(name) or images.find(inside + _file_name(xml))
    if image is None:
        raise SpinetError(f"{listed or xml} lists the image {name[-60:]}, but {folder} has no {name[-60:]}.jpg")
    return image


def _file_name(xml: Path) -> str:
    """Return the name of the image in an XML file, without suffix."""
    try:
        found = re.search(r"<filename>\s*(.*?)\s*</filename>", xml.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):  # a name that is too long, or with a null character
        return ""
    return PureWindowsPath(found[1]).stem if found else ""
