"""Exported files in the place of runs, for `spinet evaluate` and `spinet predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinet.errors import SpinetError

if TYPE_CHECKING:
    from spinet.deploy.exported import ExportedClassifier, ExportedDetector
    from spinet.fuse.formats import Precision


def load_exported(
    path: Path, threads: int, precision: "Precision | None", device: str
) -> "ExportedDetector | ExportedClassifier | None":
    """Open an exported file; None where `path` is a run folder or weights file.

    Raises:
        SpinetError: the file cannot be used, or threads are asked for a run.
    """
    from spinet.deploy.exported import open_exported
    from spinet.deploy.sessions import exported_file
    from spinet.engine.distributed import pick_device

    file = exported_file(path)
    if file is None:
        if threads:
            raise SpinetError(f"--threads is for exported files, and {path} is none")
        return None
    place = pick_device("cpu" if device == "auto" and file.suffix != ".pt2" else device)
    return open_exported(path, threads, None if precision == "auto" else precision, place)


def measure_exported(
    model: "ExportedDetector | ExportedClassifier",
    path: Path,
    root: str,
    split: str,
    batch_size: int,
    workers: int,
) -> dict[str, float]:
    """Measure an exported file on a data set with the code that measures networks."""
    import torch

    from spinet.data.class_data import ClassDataset
    from spinet.data.coco import CocoDataset
    from spinet.deploy.exported import ExportedDetector
    from spinet.engine.classify import evaluate_classes, label_ids
    from spinet.engine.evaluate import check_classes, evaluate

    if not root:
        raise SpinetError(f"{path} does not say which data it was trained on; pass --data.root DIR")
    settings: dict[str, Any] = {"batch_size": batch_size, "device": torch.device("cpu"), "workers": workers}
    if isinstance(model, ExportedDetector):
        dataset = CocoDataset(Path(root), split)
        check_classes(model.info, dataset, str(path))
        return evaluate(model, dataset, image_size=model.shape, category_ids=model.info.category_ids, **settings)
    classes = ClassDataset(Path(root), split)
    ids = label_ids(model.info, classes, str(path))
    return evaluate_classes(model, classes, image_size=model.info.image_size, category_ids=ids, **settings)
