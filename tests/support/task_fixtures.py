"""Datasets that small classifiers and mask detectors learn in seconds, and configurations to train them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Image folders of three classes that a small network tells apart in seconds."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, colour in COLOURS.items():
            folder = tmp_path / "colours" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + random.normal(0, 30, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "colours"


@pytest.fixture
def classifier_config(colours: Path) -> TrainConfig:
    return TrainConfig(
        model=ModelConfig(head="classifier", arch="tiny", bn_momentum=0.2, label_smoothing=0.1),
        data=DataConfig(root=str(colours), image_size=32, workers=0, cache_images=True),
        optim=OptimConfig(lr=3.0, schedule="cosine", warmup_epochs=0.5, ema_decay=0.5),
        epochs=8,
        batch_size=8,
        eval_epochs=2,
        log_steps=1,
        save_seconds=0,
        device="cpu",
    )


@pytest.fixture
def kites(tmp_path: Path) -> Path:
    """Photos of bright kites on a dark ground, outlined by polygons."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for split, count in (("train", 8), ("val", 4)):
        (tmp_path / "kites" / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            x, y, half = (int(value) for value in random.integers((16, 16, 8), (48, 48, 14)))
            pixels = random.integers(0, 60, (64, 64, 3))
            pixels[np.abs(rows - y) + np.abs(columns - x) <= half] += 180
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "kites" / split / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
            outline = [x - half, y, x, y - half, x + half, y, x, y + half]
            box = [x - half, y - half, 2 * half, 2 * half]
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": box,
                    "segmentation": [outline],
                    "iscrowd": 0,
                    "area": 2 * half**2,
                }
            )
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "kite"}]}
        file = tmp_path / "kites" / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return tmp_path / "kites"


@pytest.fixture
def mask_config(kites: Path) -> TrainConfig:
    return TrainConfig(
        model=ModelConfig(
            head="mask-rcnn", arch="tiny", bn_momentum=0.1, octaves=1, proposals=32, roi_samples=16, mask_samples=8
        ),
        data=DataConfig(root=str(kites), image_size=64, scale_jitter=(0.8, 1.25), workers=0, cache_images=True),
        optim=OptimConfig(lr=1.0, schedule="cosine", warmup_epochs=0.5, ema_decay=0.9),
        epochs=2,
        batch_size=4,
        eval_epochs=1,
        log_steps=1,
        save_seconds=0,
        device="cpu",
    )
