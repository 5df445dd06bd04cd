"""Which label file belongs to which image of a YOLO dataset, and label files that belong to none."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import NamedTuple
from urllib.parse import unquote

from spinet.formats.findings import Finding, is_systematic, of, some, such_as
from spinet.formats.listing import image_suffixes, is_hidden, list_images, suffix_of
from spinet.formats.yolo_files import label_folders

# Files beside labels that tools write: class names, lists, notes.
_OTHERS = "classes labels names notes obj obj_names predefined_classes readme requirements test train val valid"
OTHER_TEXTS = frozenset(_OTHERS.split())


class LabelPairs(NamedTuple):
    """The label file of each image, which is missing for images without objects, and findings about the names."""

    labels: dict[Path, Path]
    findings: list[Finding]


def pair_labels(images: Sequence[Path], split: str) -> LabelPairs:
    """Find the label files of images: of the same name in one of `label_folders`.

    An image without one gets the file that differs only in percent-encoding, in the form of Unicode, in the case of
    its suffix, or by the suffix of the image in its name (a.jpg.txt), if there is exactly one.
    """
    labels, folders = _of_same_name(images)
    lost = list(_without_image(labels, folders))
    adopted = _adopted([image for image in images if image not in labels], lost, folders)
    labels |= adopted
    taken = set(adopted.values())
    lost = [file for file in lost if file not in taken]
    findings = [
        *_adopted_findings(split, adopted),
        *_lost_findings(split, lost, [image for image in images if image not in labels], len(labels)),
        *_shared_findings(split, labels),
    ]
    return LabelPairs(labels, findings)


def _of_same_name(images: Sequence[Path]) -> tuple[dict[Path, Path], dict[Path, Path]]:
    """Return the label file of each image that has one, and the folder of the labels for each folder of images."""
    contents: dict[Path, set[str]] = {}
    labels: dict[Path, Path] = {}
    candidates: dict[Path, list[Path]] = {}
    for image in images:
        if image.parent not in candidates:
            candidates[image.parent] = label_folders(image.parent)
            contents |= {folder: _names(folder) for folder in candidates[image.parent] if folder not in contents}
        name = f"{image.stem}.txt"
        folder = next((folder for folder in candidates[image.parent] if name in contents[folder]), None)
        if folder is not None:
            labels[image] = folder / name
    used = Counter((image.parent, file.parent) for image, file in labels.items())
    return labels, {
        place: max(found, key=lambda folder: (used[place, folder], len(contents[folder])))
        for place, found in candidates.items()
    }


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return set()


def _without_image(labels: Mapping[Path, Path], folders: Mapping[Path, Path]) -> Iterator[Path]:
    """Yield label files below the folders of labels for which there is no image, also none of another split."""
    used, seen = set(labels.values()), set[Path]()
    for place, folder in sorted(folders.items()):
        for current, below, names in os.walk(folder):
            below[:] = [name for name in below if not is_hidden(name)]
            if Path(current) in seen:
                continue
            seen.add(Path(current))
            files = [Path(current, name) for name in sorted(names) if _is_label(name)]
            files = [file for file in files if file not in used]
            if files:
                there = place / Path(current).relative_to(folder)
                stems = {path.stem for path in list_images(there, below=False).images} if there.is_dir() else set()
                yield from (file for file in files if file.stem not in stems or file.suffix != ".txt")


def _is_label(name: str) -> bool:
    return suffix_of(name) == ".txt" and not is_hidden(name) and name.casefold().partition(".")[0] not in OTHER_TEXTS


def _adopted(missing: Sequence[Path], lost: Sequence[Path], folders: Mapping[Path, Path]) -> dict[Path, Path]:
    """Return the label files that belong to an image without one by all but the spelling."""
    if not missing or not lost:
        return {}
    files, images = defaultdict[tuple[Path, str], list[Path]](list), defaultdict[tuple[Path, str], list[Path]](list)
    suffixes = image_suffixes()
    for file in lost:
        stem = file.stem[: -len(suffix_of(file.stem))] if suffix_of(file.stem) in suffixes else file.stem
        files[file.parent, _plain(stem)].append(file)
    for image in missing:
        images[folders[image.parent], _plain(image.stem)].append(image)
    return {
        images[key][0]: found[0] for key, found in files.items() if len(found) == 1 and len(images.get(key, [])) == 1
    }


def _plain(stem: str) -> str:
    return unicodedata.normalize("NFC", unquote(stem))


def _loose(stem: str) -> str:
    plain = unicodedata.normalize("NFKC", unquote(stem)).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def _adopted_findings(split: str, adopted: Mapping[Path, Path]) -> Iterator[Finding]:
    if adopted:
        image, file = next(iter(adopted.items()))
        text = f"{split}: {len(adopted):,} label files are spelled otherwise than their images and are read, such as"
        yield Finding("warning", "label names", f"{text} {some([file.name])} for {some([image.name])}; rename them")


def _lost_findings(split: str, lost: Sequence[Path], missing: Sequence[Path], labelled: int) -> Iterator[Finding]:
    if not lost:
        return
    total = labelled + len(lost)
    near = _nearest(lost, missing)
    example = f"such as {some([near[0].name])} (for {some([near[1].name])}?)" if near else such_as(lost[0])
    advice = "rename them like their images, or delete them" if missing else "delete them, or bring their images back"
    text = f"{split}: {of(len(lost), total)} label files have no image of their name, {example}; their objects are lost"
    yield Finding("error" if is_systematic(len(lost), total) else "warning", "label names", f"{text}: {advice}")


def _nearest(lost: Sequence[Path], missing: Sequence[Path]) -> tuple[Path, Path] | None:
    """Return a label file and an image without one whose names are similar."""
    by_name = {_loose(image.stem): image for image in missing}
    for file in lost:
        if _loose(file.stem) in by_name:
            return file, by_name[_loose(file.stem)]
    close = get_close_matches(_loose(lost[0].stem), list(by_name)[:1000], n=1)
    return (lost[0], by_name[close[0]]) if close else None


def _shared_findings(split: str, labels: Mapping[Path, Path]) -> Iterator[Finding]:
    counts = Counter(labels.values())
    shared = [image for image, file in labels.items() if counts[file] > 1]
    if shared:
        first = [image.name for image in shared if labels[image] == labels[shared[0]]]
        text = f"{split}: {of(len(shared), len(labels))} images share a label file with another, such as {some(first)}"
        yield Finding("warning", "shared labels", f"{text}; give images of one folder different names")


def expected_label(image: Path) -> PurePath:
    """Return where the label file of an image is usually."""
    return label_folders(image.parent)[0] / f"{image.stem}.txt"
