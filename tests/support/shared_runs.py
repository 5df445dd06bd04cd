"""Run folders without a training: weights, settings and a record of invented predictions, in a fraction of a second."""

import json
from pathlib import Path

import numpy as np
from small_models import tiny_weights

from spinet.analysis.records import ClassRecord
from spinet.data.coco import CocoDataset
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import read_weights, save_weights
from spinet.engine.config import DataConfig, ModelConfig, TrainConfig
from spinet.engine.record import detection_record

STEP = 40


def detector_run(folder: Path, root: Path, **model: object) -> Path:
    """A run on a COCO-format dataset that has found two thirds of the val objects, and nothing else."""
    val = CocoDataset(root, "val", masks=False)
    truth = val.ground_truth()
    found = [
        {"image_id": e["image_id"], "category_id": e["category_id"], "bbox": e["bbox"], "score": 0.5 + 0.4 / (1 + n)}
        for n, e in enumerate(truth["annotations"])
        if n % 3
    ]
    _write(folder, root, ModelConfig(arch="tiny", **model), val.class_names, val.category_ids)
    detection_record(val, truth, found, STEP).save(folder / "val.npz")
    return folder


def classifier_run(folder: Path, names: tuple[str, ...] = ("ant", "cat"), images: int = 30) -> Path:
    """A run whose dataset is gone, and that was right for two images of three."""
    _write(folder, folder / "gone", ModelConfig(head="classifier", arch="tiny"), names, tuple(range(1, len(names) + 1)))
    labels = np.arange(images) % len(names)
    first = np.where(np.arange(images) % 3 > 0, labels, (labels + 1) % len(names))
    predicted = np.stack([first, (first + 1) % len(names)], axis=1)
    scores = np.tile([0.8, 0.2], (images, 1))
    paths = tuple(f"val/{names[label]}/{n}.jpg" for n, label in enumerate(labels))
    ClassRecord(paths, names, STEP, labels, predicted, scores).save(folder / "val.npz")
    return folder


def _write(folder: Path, root: Path, model: ModelConfig, names: tuple[str, ...], ids: tuple[int, ...]) -> None:
    config = TrainConfig(model=model, data=DataConfig(root=str(root), image_size=64), epochs=40.0, batch_size=8)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json())
    tensors, info = read_weights(tiny_weights(folder / "made.safetensors", model.head, names))
    info = ModelInfo(info.architecture, model, names, ids, 64)
    save_weights(folder / "best.safetensors", tensors, info, {"step": STEP, "AP": 0.5})
    (folder / "made.safetensors").unlink()
    lines = [{"step": step, "epoch": float(step), "loss": 1.0} for step in (20, STEP)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
