"""Datasets in Pascal VOC format: one XML file per image."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from spinet.errors import OutOfMemory, SpinetError, is_machine_fault, quoted
from spinet.formats.annotations import FARTHEST, RawSplit, as_coco
from spinet.formats.findings import CORRECT, Faults, Finding, left_out
from spinet.formats.images import MAX_PIXELS, readable_sizes
from spinet.formats.parsing import read_xml
from spinet.formats.splits import SPLIT_NAMES, WHOLE
from spinet.formats.values import flag, number
from spinet.formats.voc_files import has_split, voc_files


class _Object(NamedTuple):
    name: str
    xywh: list[float]
    difficult: bool


class _Unread(NamedTuple):
    """Why an XML file cannot be read, and what to do about such files."""

    reason: str
    advice: str


class _Annotation(NamedTuple):
    """What an XML file says, and which of its objects are invalid."""

    size: tuple[int, int] | None
    objects: list[_Object]
    faults: Faults


def read_voc(root: Path, split: str, sizes: Mapping[Path, tuple[int, int]]) -> RawSplit:
    """Read a split of a dataset in Pascal VOC format as a COCO dict.

    The layout is `Annotations/*.xml`, `JPEGImages/` and `ImageSets/Main/{train,val}.txt` (or trainval.txt and
    test.txt), or Roboflow's with XML files next to the images in `train/` and `valid/`; see `voc_files`. Classes are
    the names in both splits, sorted, with category ids from 1.

    Pixels are numbered from 1 and boxes include both ends (VOC2012 development kit), so a box begins at xmin - 1.
    Objects marked `difficult` become crowd regions, ignored in training and by the metric, as in VOC's own evaluation.
    A single invalid object or file is left out, and a finding says so.
    """
    others = [name for name in SPLIT_NAMES if name != split and split != WHOLE and has_split(root, name)]
    files = {name: voc_files(root, name) for name in (split, *others)}
    listed, pairs, findings = files[split]
    read = {path: _read_or_not(path) for found in files.values() for path, _ in found.pairs}
    annotated = {path: entry for path, entry in read.items() if isinstance(entry, _Annotation)}
    findings = [*findings, *_invalid(split, [read[path] for path, _ in pairs])]
    pairs = [(path, image) for path, image in pairs if path in annotated]
    names = sorted({item.name for entry in annotated.values() for item in entry.objects})
    if not names:
        raise SpinetError(f"the {len(annotated):,} XML files of {root} have no objects; expected at least one")
    ids = {name: number for number, name in enumerate(names, start=1)}
    without = [image for path, image in pairs if annotated[path].size is None]
    headers, broken = readable_sizes(without, sizes, split, len(pairs))
    images = (
        (
            image.relative_to(root).as_posix(),
            annotated[path].size or headers[image],
            [
                {"category_id": ids[item.name], "bbox": item.xywh, "iscrowd": int(item.difficult)}
                for item in annotated[path].objects
            ],
        )
        for path, image in pairs
        if annotated[path].size or image in headers
    )
    return RawSplit(listed, root, as_coco(images, names), findings=[*findings, *broken], format="Pascal VOC")


def _invalid(split: str, entries: Sequence[_Annotation | _Unread]) -> Iterator[Finding]:
    """Warn of XML files that cannot be read, whose images are left out, and of objects."""
    files, objects, total = Faults(), Faults(), 0
    for entry in entries:
        if isinstance(entry, _Unread):
            files.add(entry.reason, f"{entry.advice}: their images are left out too")
        else:
            objects.add(entry.faults.first, CORRECT, entry.faults.count)
            total += len(entry.objects) + entry.faults.count
    yield from left_out(split, "XML files", files, len(entries))
    yield from left_out(split, "objects", objects, total)


def _read_or_not(file: Path) -> _Annotation | _Unread:
    """Return what an XML file says, or why it cannot be read.

    Raises:
        SpinetError: it is missing, or the disk or the memory failed.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise SpinetError(f"the annotation file {file} is missing; images without objects need one too") from None
    except OSError as error:
        text = f"could not read {file}: {error.strerror}"
        if is_machine_fault(error):
            raise SpinetError(text) from error
        return _Unread(text, "make them readable")
    try:
        return _parsed(file, content)
    except OutOfMemory:
        raise
    except SpinetError as error:
        return _Unread(str(error), "correct them")


def _parsed(file: Path, content: bytes) -> _Annotation:
    tree = read_xml(file, content)
    objects, faults = list[_Object](), Faults()
    for place, node in enumerate(tree.findall("object"), 1):
        try:
            objects.append(_object(node, f"object number {place} in {file}"))
        except SpinetError as error:
            faults.add(str(error), CORRECT)
    return _Annotation(_size(tree, file), objects, faults)


def _size(tree: ElementTree.Element, file: Path) -> tuple[int, int] | None:
    texts = [tree.findtext(f"size/{side}") for side in ("width", "height")]
    sides = [0.0 if text is None or not text.strip() else number(text) for text in texts]
    shown = " x ".join(str(text)[:40] for text in texts)
    if None in sides:
        raise SpinetError(f"{file} has the size {shown}; must be two integers")
    width, height = (int(side or 0) for side in sides)
    if width * height > MAX_PIXELS:
        raise SpinetError(f"{file} has the size {shown}; must be at most {MAX_PIXELS:,} pixels")
    return (width, height) if width > 0 and height > 0 else None


def _object(node: ElementTree.Element, name: str) -> _Object:
    label = (node.findtext("name") or "").strip()
    if not label:
        raise SpinetError(f"{name} has no name; expected the name of its class")
    texts = [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    box = [value for value in map(number, texts) if value is not None and abs(value) <= FARTHEST]
    if len(box) < 4:
        shown = ", ".join(str(text)[:40] for text in texts)
        raise SpinetError(f"{name} has the box {shown}; must be numbers: xmin, ymin, xmax, ymax")
    difficult = flag(node.findtext("difficult"))
    if difficult is None:
        raise SpinetError(f"{name} has difficult {quoted(node.findtext('difficult'))}; must be 0 or 1")
    return _Object(label, _xywh(*box), difficult)


def _xywh(left: float, top: float, right: float, bottom: float) -> list[float]:
    # Some official boxes have fractions; rounded to hundredths as in COCO's files.
    return [round(value, 2) for value in (left - 1, top - 1, right - left + 1, bottom - top + 1)]
