"""The YAML in front of a model card, from which the Hugging Face Hub reads what a model is."""

import math
import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from spinet.engine.build import WITHOUT_MASKS
from spinet.report.training_run import TrainingRun
from spinet.share.metrics import Measured, full_name

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Of all metrics, those that a list of models shows.
_LISTED = ("AP", "AP50", "mask/AP", "mask/AP50", "top1", "top5")


def pipeline_tag(run: TrainingRun) -> str:
    """Return the Hub's name of the task."""
    if run.info.kind == "classifier":
        return "image-classification"
    return "image-segmentation" if run.info.model.head in WITHOUT_MASKS else "object-detection"


def front_matter(run: TrainingRun, name: str, licence: str, dataset: str, measured: Measured) -> str:
    """Return the YAML without the lines around it; licence and dataset may be empty."""
    tag = pipeline_tag(run)
    tree: dict[str, Any] = {
        "license": licence or None,
        "library_name": "spinet",
        "pipeline_tag": tag,
        "tags": ["spinet", "spinenet", "vision", *(["object-detection"] if tag == "image-segmentation" else [])],
        "datasets": [dataset] if _HUB_NAME.fullmatch(dataset) else None,
        "metrics": ["accuracy" if tag == "image-classification" else "mean_average_precision"],
        "model-index": [{"name": name, "results": _results(tag, dataset, measured)}],
    }
    known = {name: value for name, value in tree.items() if value is not None}
    text: str = yaml.safe_dump(known, sort_keys=False, allow_unicode=True, width=1000)
    return text.strip()


def _results(tag: str, dataset: str, measured: Measured) -> list[dict[str, Any]]:
    kind = dataset if _HUB_NAME.fullmatch(dataset) else re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    metrics = [
        {
            "type": "accuracy" if name.startswith("top") else "mean_average_precision",
            "name": full_name(name),
            "value": round(value.value, 4),
        }
        for name, value in measured.overall.items()
        if name in _LISTED and math.isfinite(value.value)
    ]
    where = {"type": kind or "unnamed", "name": dataset or "unnamed dataset", "split": "val"}
    return [{"task": {"type": tag}, "dataset": where, "metrics": metrics}] if metrics else []
