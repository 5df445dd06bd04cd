"""A writer of tiny COCO data sets."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _write(root: Path, split: str = "train", folder: str | None = None, **changes: object) -> Path:
    """Write three 40 x 30 images with three objects; keyword arguments replace keys of the JSON."""
    folder = folder or split
    content = {
        "images": [{"id": 10 + k, "file_name": f"{k}.png", "width": 40, "height": 30} for k in range(3)],
        "annotations": [
            {"id": 1, "image_id": 12, "category_id": 7, "bbox": [5, 6, 10, 8]},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [0, 0, 40, 30]},
            {"id": 3, "image_id": 12, "category_id": 3, "bbox": [20.5, 10.25, 4, 4], "iscrowd": 0},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    } | changes
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("0.png", "1.png", "2.png"):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(root / folder / name)
    kept = {key: value for key, value in content.items() if value is not None}
    (root / "annotations" / f"instances_{folder}.json").write_text(json.dumps(kept))
    return root


@pytest.fixture(scope="session")
def write_coco():
    return _write
