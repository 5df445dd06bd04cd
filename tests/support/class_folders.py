"""Writers of tiny classification data sets."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("a.jpg", "b.JPG", "c.png")


def write_image(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), split: str = "train") -> Path:
    """Write three images a class."""
    for number, name in enumerate(classes):
        for file in NAMES:
            write_image(root / split / name / file, seed=10 * number + ord(file[0]))
    return root


def write_json(root: Path, split: str = "train", file: str | None = None, **changes: object) -> Path:
    """Write iNaturalist's form with four images of the categories 0 and 7; keyword arguments replace its keys."""
    files = [f"train_val_images/{group}/{split}{k}.jpg" for k, group in enumerate(("Aves", "Fungi", "Aves", "Aves"))]
    for k, name in enumerate(files):
        write_image(root / name, seed=k)
    content = {
        "info": {},
        "images": [{"id": 5 + k, "file_name": name, "width": 40, "height": 30} for k, name in enumerate(files)],
        "categories": [
            {"id": 7, "name": "Pica pica", "supercategory": "Aves"},
            {"id": 0, "name": "Boletus edulis", "supercategory": "Fungi"},
        ],
        "annotations": [{"id": k, "image_id": 5 + k, "category_id": (7, 0, 7, 7)[k]} for k in range(4)],
    } | changes
    target = root / (file or f"{split}2017.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))
    return root
