"""How long annotations as many as COCO's train split has take to open.

usage: python benchmarks/open_coco.py

All images share one empty file: images are looked for, not opened.
"""

import json
import tempfile
import time
from pathlib import Path

from spinet.data.coco import CocoDataset

IMAGES, OBJECTS = 118_287, 860_001


def write(root: Path) -> None:
    """Write a train split whose objects come in mixed order."""
    content = {
        "images": [{"id": k, "file_name": "0.png", "width": 640, "height": 480} for k in range(IMAGES)],
        "annotations": [
            {"id": k, "image_id": (k * 7919) % IMAGES, "category_id": 1, "bbox": [1.5, 2.5, 30.25, 40]}
            for k in range(OBJECTS)
        ],
        "categories": [{"id": 1, "name": "object"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    (root / "train").mkdir()
    (root / "train" / "0.png").touch()


def main() -> None:
    """Print the time."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        start = time.perf_counter()
        dataset = CocoDataset(Path(folder), "train")
        seconds = time.perf_counter() - start
    found = sum(len(sample.labels) for sample in dataset.samples)
    print(f"{len(dataset):,} images with {found:,} objects opened in {seconds:.1f} s")


if __name__ == "__main__":
    main()
