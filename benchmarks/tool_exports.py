"""Exports a small dataset with real annotation packages, of pinned versions, and reads what they wrote.

`python benchmarks/tool_exports.py` makes a temporary environment with the packages (minutes), or takes `--python` of
one that has them. For each format of each tool: all images and objects must be read, boxes must agree up to a pixel,
and AP must be 1 with the truth as detections. Prints a table of Markdown; exits with 1 if a format is not read.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from spinet.data.coco import CocoDataset
from spinet.data.division import open_split
from spinet.engine.coco_metrics import coco_metrics
from spinet.errors import SpinetError
from spinet.formats.splits import AlreadyDividedError, Division
from tool_writers import WRITERS

# In two environments, because the packages of the second need older libraries than those of the first.
FIRST = {
    "datumaro": "1.13.12",
    "supervision": "0.31.2",
    "pylabel": "0.1.55",
    "label-studio-sdk": "2.1.2",
    "labelme2coco": "0.2.6",
    "globox": "2.9.0",
    "fiftyone": "1.22.1",
    "sahi": "0.12.8",
    "imantics": "0.1.12",
}
SECOND = {
    "numpy": "1.26.4",
    "bboxconverter": "0.1.9",
    "pascal-voc-writer": "0.1.4",
    "labelImg": "1.8.6",
}
VERSIONS = FIRST | SECOND
NAMES, WIDTH, HEIGHT, IMAGES = ("cat", "dog"), 96, 80, 10


def main() -> None:
    """Write, read, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", nargs=2, help="of environments with FIRST and SECOND; by default they are made")
    parser.add_argument("--only", default="", help="formats whose name contains this")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        pinned = (FIRST, SECOND)
        pythons = options.python or [_environment(Path(folder) / f"env{k}", part) for k, part in enumerate(pinned)]
        rows = [
            _row(pythons[name.split()[0] in SECOND], Path(folder), name) for name in WRITERS if options.only in name
        ]
    print("| tool | format | read as | images | objects | AP |\n|---|---|---|---|---|---|")
    print("\n".join(row for row, _ in rows))
    sys.exit(not all(good for _, good in rows))


def _environment(folder: Path, versions: dict[str, str]) -> str:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    pinned = [f"{name}=={version}" for name, version in versions.items()]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned], check=True)
    return python


def _row(python: str, folder: Path, name: str) -> tuple[str, bool]:
    tool, _, form = name.partition(" ")
    place = Path(tempfile.mkdtemp(dir=folder))
    truth = _write_source(place / "source")
    script = Path(__file__).with_name("tool_writers.py")
    command = [python, script, name, place / "source", place / "export"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    head = f"| {tool} {VERSIONS[tool]} | {form} |"
    if done.returncode:
        return f"{head} the tool failed: {done.stderr.strip().splitlines()[-1][:100]} | | | |", False
    try:
        datasets, how = _open(place / "export")
    except SpinetError as error:
        return f"{head} refused: {str(error).replace(str(place), '')} | | | |", False
    images = sum(len(dataset) for dataset in datasets)
    objects = sum(len(sample.labels) for dataset in datasets for sample in dataset.samples)
    score = float(np.mean([_score(dataset) for dataset in datasets]))
    good = _same(datasets, truth) and images == IMAGES and score == 1
    return f"{head} {how} | {images} of {IMAGES} | {objects} of {sum(map(len, truth.values()))} | {score:.3f} |", good


def _write_source(root: Path) -> dict[str, list[tuple[str, list[int]]]]:
    """Write images and truth.json; return (class, box as corners) of each image."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth: dict[str, list[tuple[str, list[int]]]] = {}
    raw = {"info": {}, "licenses": [], "images": [], "annotations": [], "categories": []}
    raw["categories"] = [{"id": 1 + k, "name": name, "supercategory": ""} for k, name in enumerate(NAMES)]
    for number in range(IMAGES):
        name = f"image{number:02}.jpg"
        pixels = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        raw["images"].append({"id": number + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        truth[name] = []
        for label in range(2):
            x, y, (w, h) = 8 + 44 * label, 8 + number, rng.integers(16, 30, 2).tolist()
            pixels[y : y + h, x : x + w] = 200 * label
            outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            box = {"bbox": [x, y, w, h], "area": w * h, "segmentation": outline, "iscrowd": 0}
            ids = {"id": len(raw["annotations"]) + 1, "image_id": number + 1, "category_id": label + 1}
            raw["annotations"].append(ids | box)
            truth[name].append((NAMES[label], [x, y, x + w, y + h]))
        Image.fromarray(pixels).save(root / "images" / name)
    (root / "truth.json").write_text(json.dumps(raw))
    return truth


def _open(root: Path) -> tuple[list[CocoDataset], str]:
    """Open both splits; what is not divided is divided."""
    opener: Callable[[str], CocoDataset] = lambda part: CocoDataset(root, part)  # noqa: E731
    try:
        return [open_split(opener, split, Division(0.2)) for split in ("train", "val")], "one export, divided"
    except AlreadyDividedError:
        return [CocoDataset(root, split) for split in ("train", "val")], "train and val"


def _same(datasets: list[CocoDataset], truth: dict[str, list[tuple[str, list[int]]]]) -> bool:
    found = {
        sample.path.name: sorted(
            (dataset.class_names[label], box)
            for label, box in zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)
        )
        for dataset in datasets
        for sample in dataset.samples
    }
    return found.keys() == truth.keys() and all(
        [name for name, _ in found[image]] == [name for name, _ in sorted(truth[image])]
        and np.abs(np.subtract([box for _, box in found[image]], [box for _, box in sorted(truth[image])])).max() <= 1
        for image in truth
    )


def _score(dataset: CocoDataset) -> float:
    truth = dataset.ground_truth()
    keys = ("image_id", "category_id", "bbox")
    results = [{key: entry[key] for key in keys} | {"score": 1.0} for entry in truth["annotations"]]
    return coco_metrics(truth, results)["AP"]


if __name__ == "__main__":
    main()
