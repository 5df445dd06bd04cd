"""Writes the division of an export as lists beside it, in its own format; no image is copied or moved."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.data.dataset import ImageDataset
from spinet.data.division import divide, division_finding
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.formats.annotations import read_annotation_file
from spinet.formats.coco_files import IMAGE_FOLDERS
from spinet.formats.findings import Finding
from spinet.formats.layouts import class_folders, formats_in, recognise
from spinet.formats.parsing import read_yaml
from spinet.formats.splits import WHOLE, Division
from spinet.formats.values import integer
from spinet.formats.voc_files import IMAGE_FOLDERS as VOC_FOLDERS


class WrittenSplit(NamedTuple):
    """What `split_dataset` did.

    Attributes:
        root: what to train on: the folder, or a YAML file.
        counts: images of "train" and "val".
        files: what was written.
        findings: how the images were divided, and what was left out or is odd.
    """

    root: Path
    counts: dict[str, int]
    files: list[Path]
    findings: list[Finding]


def split_dataset(root: Path, division: Division) -> WrittenSplit:
    """Divide a dataset without a val split, and write the result so that `root` has both splits.

    COCO: annotations/instances_{train,val}.json. YOLO: lists of images, and a YAML file that names them. Pascal VOC:
    ImageSets/Main/{train,val}.txt. Class folders: {train,val}.json. It is the division that `data.val_share` and
    `data.val_seed` choose.

    Raises:
        SpinetError: the dataset is divided already, or a file that would be written exists.
    """
    has_classes = root.is_dir() and not formats_in(root) and class_folders(root)
    kind = "classes" if has_classes else recognise(root)
    whole: ImageDataset = ClassDataset(root, WHOLE) if kind == "classes" else CocoDataset(root, WHOLE)
    divided = divide(whole, division)
    val = set(divided.val)
    parts = {
        "train": [index for index in range(len(whole)) if index not in val],
        "val": divided.val,
    }
    write = {"COCO": _coco, "YOLO": _yolo, "Pascal VOC": _voc, "classes": _classes}[kind]
    contents = write(whole, root if root.is_dir() else root.parent, parts)
    existing = next((path for path in contents if path.exists()), None)
    if existing:
        raise SpinetError(
            f"{existing} exists and is not overwritten; move it away, or train with data.val_share instead"
        )
    for path, text in contents.items():
        write_atomically(path, text.encode(errors="surrogateescape"))
    settings = next((path for path in contents if path.name == "split.yaml"), None)
    _check(settings or root, whole, parts, list(contents))
    counts = {split: len(indices) for split, indices in parts.items()}
    findings = [division_finding(whole, divided), *whole.findings]
    return WrittenSplit(settings or root, counts, list(contents), findings)


def _check(root: Path, whole: ImageDataset, parts: Mapping[str, list[int]], files: list[Path]) -> None:
    """Remove the files and raise a SpinetError if they are not read as they were meant."""
    open_one = ClassDataset if isinstance(whole, ClassDataset) else CocoDataset
    try:
        read = {split: {path.resolve() for path in _paths(open_one(root, split))} for split in parts}
    except SpinetError as error:
        read, why = {}, f": {error}"
    else:
        why = ""
    if read == {split: {whole.samples[index].path.resolve() for index in indices} for split, indices in parts.items()}:
        return
    for file in files:
        file.unlink()
    raise SpinetError(
        f"{root} has folders that say what is train and val, so lists cannot divide it; train with data.val_share"
        f" instead{why}"
    )


def _paths(dataset: ImageDataset) -> list[Path]:
    return [sample.path for sample in dataset.samples]


def _coco(whole: ImageDataset, root: Path, parts: Mapping[str, list[int]]) -> dict[Path, str]:
    raw = read_annotation_file(whole.annotation_file)
    folder = next((root / name for name in IMAGE_FOLDERS if _all_inside(whole, root / name)), root)
    result = {}
    for split, indices in parts.items():
        names = {index: _relative(whole.samples[index].path, folder) for index in indices}
        # Samples are numbered as in the file, of which those that cannot be read are left out.
        entries = {index: raw["images"][whole.samples[index].number - 1] for index in indices}
        images = [entries[index] | {"file_name": name} for index, name in names.items()]
        ids = {integer(image.get("id")) for image in images}
        kept = [entry for entry in raw["annotations"] if integer(entry.get("image_id")) in ids]
        content = raw | {"images": images, "annotations": kept}
        result[root / "annotations" / f"instances_{split}.json"] = json.dumps(content) + "\n"
    return result


def _all_inside(whole: ImageDataset, folder: Path) -> bool:
    return all(sample.path.is_relative_to(folder) for sample in whole.samples)


def _yolo(whole: ImageDataset, root: Path, parts: Mapping[str, list[int]]) -> dict[Path, str]:
    import yaml  # type: ignore[import-untyped]

    result = {}
    for split, indices in parts.items():
        lines = (f"./{_relative(whole.samples[index].path, root)}\n" for index in indices)
        result[root / f"split_{split}.txt"] = "".join(lines)
    file = Path(whole.annotation_file)
    has_settings = file.suffix.lower() in (".yaml", ".yml")
    settings = read_yaml(file) if has_settings else {"names": list(whole.class_names)}
    kept = {key: value for key, value in settings.items() if key in ("names", "nc", "kpt_shape")}
    content = {"train": "split_train.txt", "val": "split_val.txt"} | kept
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    return result | {root / ("split.yaml" if has_settings else "data.yaml"): text}


def _voc(whole: ImageDataset, root: Path, parts: Mapping[str, list[int]]) -> dict[Path, str]:
    base = next((root / name for name in VOC_FOLDERS if (root / name).is_dir()), root)
    return {
        root / "ImageSets" / "Main" / f"{split}.txt": "".join(
            f"{Path(_relative(whole.samples[index].path, base)).with_suffix('').as_posix()}\n" for index in indices
        )
        for split, indices in parts.items()
    }


def _classes(whole: ImageDataset, root: Path, parts: Mapping[str, list[int]]) -> dict[Path, str]:
    ids = whole.category_ids
    categories = [{"id": number, "name": name} for number, name in zip(ids, whole.class_names, strict=True)]
    result = {}
    for split, indices in parts.items():
        samples = [whole.samples[index] for index in indices]
        images = [{"id": sample.image_id, "file_name": _relative(sample.path, root)} for sample in samples]
        labels = [
            {"id": number, "image_id": sample.image_id, "category_id": ids[sample.label]}
            for number, sample in enumerate(samples, start=1)
        ]
        content = {"images": images, "annotations": labels, "categories": categories}
        result[root / f"{split}.json"] = json.dumps(content) + "\n"
    return result


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
