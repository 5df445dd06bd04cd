"""Exported files in the place of runs, for `spinet evaluate` and `spinet predict`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from spinet.errors import SpinetError

if TYPE_CHECKING:
    from spinet.tools.exported import ExportedClassifier, ExportedDetector
    from spinet.tools.predict import Prediction
    from spinet.tools.predict_classes import ClassPrediction

Arithmetic = Literal["auto", "fp32", "bf16"]


def load_exported(path: Path, threads: int, precision: Arithmetic) -> "ExportedDetector | ExportedClassifier | None":
    """Open an exported file; None where `path` is a run folder or weights file.

    Raises:
        SpinetError: the file cannot be used, or there are settings of exported files for a run.
    """
    from spinet.tools.exported import ExportedClassifier, ExportedDetector
    from spinet.tools.exported_sessions import exported_file, open_session

    if exported_file(path) is None:
        if threads or precision != "auto":
            raise SpinetError(f"--threads and --precision are for exported files, and {path} is none")
        return None
    session = open_session(path, threads, None if precision == "auto" else precision)
    if session.manifest.info.task == "classifier":
        return ExportedClassifier(session)
    return ExportedDetector(session)


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
    from spinet.engine.classify import evaluate_classes, label_ids
    from spinet.engine.evaluate import check_classes, evaluate
    from spinet.tools.exported import ExportedDetector

    if not root:
        raise SpinetError(f"{path} does not say which data it was trained on; pass --data.root DIR")
    settings: dict[str, Any] = {
        "image_size": model.info.image_size,
        "batch_size": batch_size,
        "device": torch.device("cpu"),
        "workers": workers,
    }
    # To the code that measures, an exported file is a network: it has `predict`, and nothing else is asked for.
    if isinstance(model, ExportedDetector):
        dataset = CocoDataset(Path(root), split)
        check_classes(model.info, dataset, str(path))
        return evaluate(cast(Any, model), dataset, category_ids=model.info.category_ids, **settings)
    classes = ClassDataset(Path(root), split)
    ids = label_ids(model.info, classes, str(path))
    return evaluate_classes(cast(Any, model), classes, category_ids=ids, **settings)


def predict_exported(
    model: "ExportedDetector | ExportedClassifier", photos: list[Path], out: Path, score: float, top: int
) -> Iterator[tuple[bool, str]]:
    """Find objects in photos, or guess their classes; yield whether each could be read, with a line about it."""
    from spinet.tools.exported import ExportedDetector
    from spinet.tools.predict import predict_files
    from spinet.tools.predict_classes import predict_class_files

    if isinstance(model, ExportedDetector):
        yield from picture_lines(predict_files(cast(Any, model), photos, out, score))
    else:
        yield from guess_lines(predict_class_files(cast(Any, model), photos, out, top))


def picture_lines(predictions: "Iterable[Prediction]") -> Iterator[tuple[bool, str]]:
    """Yield whether each photo could be read, with a line about what was found."""
    for prediction in predictions:
        if prediction.entry is None:
            yield False, prediction.error
        else:
            classes = [str(found["class"]) for found in prediction.entry["detections"]]
            counts = ", ".join(f"{classes.count(name)} {name}" for name in sorted(set(classes)))
            yield True, f"{prediction.picture}  {counts or 'nothing found'}"


def guess_lines(predictions: "Iterable[ClassPrediction]") -> Iterator[tuple[bool, str]]:
    """Yield whether each photo could be read, with a line of guesses."""
    for prediction in predictions:
        yield prediction.entry is not None, str(prediction)
