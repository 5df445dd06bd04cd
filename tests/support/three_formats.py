"""Writes one data set in three formats."""

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image


def write_coco(root: Path, splits: dict[str, dict[str, Any]], images: dict[str, Path]) -> Path:
    """Write COCO dicts and their images; `images` has the folder of each split."""
    (root / "annotations").mkdir(parents=True)
    for split, raw in splits.items():
        shutil.copytree(images[split], root / split)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(raw))
    return root


def write_yolo(root: Path, splits: dict[str, dict[str, Any]], images: dict[str, Path]) -> Path:
    """As Ultralytics has it: shares of width and height with six digits."""
    for split, raw in splits.items():
        shutil.copytree(images[split], root / "images" / split)
        (root / "labels" / split).mkdir(parents=True)
        for image in raw["images"]:
            lines = []
            for entry in objects_of(raw, image):
                x, y, w, h = entry["bbox"]
                width, height = image["width"], image["height"]
                shares = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                lines.append(f"{entry['category_id'] - 1} " + " ".join(f"{share:.6f}" for share in shares))
            if lines:
                label = Path(image["file_name"]).with_suffix(".txt")
                (root / "labels" / split / label).write_text("\n".join(lines) + "\n")
        names = [category["name"] for category in raw["categories"]]
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: {json.dumps(names)}\n")
    return root


def write_voc(root: Path, splits: dict[str, dict[str, Any]], images: dict[str, Path]) -> Path:
    """The official layout; whole pixels, numbered from 1."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, raw in splits.items():
        names = {category["id"]: category["name"] for category in raw["categories"]}
        stems = []
        for image in raw["images"]:
            stems.append(f"{split}_{Path(image['file_name']).stem}")
            target = (root / "JPEGImages" / stems[-1]).with_suffix(Path(image["file_name"]).suffix)
            shutil.copy(images[split] / image["file_name"], target)
            xml = "".join(voc_object(names[entry["category_id"]], entry["bbox"]) for entry in objects_of(raw, image))
            size = f"<size><width>{image['width']}</width><height>{image['height']}</height><depth>3</depth></size>"
            (root / "Annotations" / f"{stems[-1]}.xml").write_text(f"<annotation>{size}\n{xml}</annotation>\n")
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


def voc_object(name: str, xywh: list[float], extra: str = "") -> str:
    x, y, w, h = xywh
    corners = (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + w), ("ymax", y + h))
    box = "".join(f"<{key}>{value:g}</{key}>" for key, value in corners)
    return f"<object><name>{name}</name>{extra}<bndbox>{box}</bndbox></object>\n"


def objects_of(raw: dict[str, Any], image: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in raw["annotations"] if entry["image_id"] == image["id"]]


def small_splits(tmp: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """Two splits of three images of 40 x 30 pixels, the second without objects, and the folders of images."""
    folders = {}
    for number, split in enumerate(("train", "val")):
        folders[split] = tmp / "images" / split
        folders[split].mkdir(parents=True, exist_ok=True)
        for name in range(3):
            Image.new("RGB", (40, 30), (80 * number, 40 * name, 200)).save(folders[split] / f"{name}.png")
    raw = {
        "images": [{"id": 1 + k, "file_name": f"{k}.png", "width": 40, "height": 30} for k in range(3)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 30]},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [5, 6, 11, 7]},
            {"id": 3, "image_id": 3, "category_id": 1, "bbox": [39, 29, 1, 1]},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    return {"train": raw, "val": raw}, folders


WRITERS = {"COCO": write_coco, "YOLO": write_yolo, "Pascal VOC": write_voc}
