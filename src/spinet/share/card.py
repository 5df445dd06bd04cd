"""The model card: a README.md that says what a model is, reaches and lacks, from its run alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from spinet.draw.text import printable
from spinet.engine.build import WITHOUT_MASKS
from spinet.engine.machine import versions
from spinet.report.network_cost import network_cost
from spinet.report.panels import decimal, listed
from spinet.report.training_run import TrainingRun
from spinet.share.counts import SplitCounts, train_counts, val_counts
from spinet.share.front_matter import front_matter
from spinet.share.limitations import limitations
from spinet.share.metrics import Measured, full_name
from spinet.share.samples import Sample
from spinet.share.settings import shared_info, shown_settings, weights_name

HEADS = {
    "retinanet": "RetinaNet",
    "faster-rcnn": "Faster R-CNN",
    "mask-rcnn": "Mask R-CNN",
    "cascade-rcnn": "Cascade R-CNN",
    "cascade-mask-rcnn": "Cascade Mask R-CNN",
    "classifier": "classifier",
}
# Rows of the tables of classes; metrics.json has all of them.
MOST_ROWS = 100
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$!&#])")


@dataclass(frozen=True)
class CardText:
    """What a card says beyond the run itself.

    Attributes:
        name: of the model.
        where: what `spinet.load` takes: an address or the name of a file.
        licence: identifier; empty if none was stated.
        dataset: name of the dataset as its makers call it; empty if it was not named.
    """

    name: str
    where: str
    licence: str = ""
    dataset: str = ""


class Verbatim(str):
    """A string that is Markdown, or inside a block of code."""


def write_card(
    run: TrainingRun, text: CardText, measured: Measured, samples: Sequence[Sample], files: Mapping[str, str]
) -> str:
    """Return the README.md; `files` are those beside it, each with what it holds."""
    info = shared_info(run.info)
    train, val = train_counts(run), val_counts(run)
    weights = run.config.model.weights
    values: dict[str, Any] = {
        "verbatim": Verbatim,
        "front": Verbatim(front_matter(run, text.name, text.licence, text.dataset, measured)),
        "name": text.name,
        "where": Verbatim(text.where),
        "kind": _kind(run),
        "head": HEADS[info.model.head],
        "arch": info.architecture.name,
        "size": info.image_size,
        "cost": network_cost(info),
        "classes": listed(info.class_names, 20),
        "number": len(info.class_names),
        "is_classifier": info.kind == "classifier",
        "images": measured.images,
        "step": measured.step,
        "unit": measured.unit,
        "metrics": [(name, decimal(v.value), decimal(v.low), decimal(v.high)) for name, v in measured.shown],
        "head_row": [full_name(name) for name in (measured.classes[0].values if measured.classes else ())],
        "class_rows": _class_rows(measured),
        "left_out": max(0, len(measured.classes) - MOST_ROWS),
        "point": measured.point,
        "last_step": run.last_step,
        "dataset": text.dataset,
        "train": train,
        "val": val,
        "count_rows": _count_rows(run, train, val),
        "start": weights_name(weights) if weights else "",
        "settings": shown_settings(run.config),
        "epochs": run.last_epoch if run.losses else run.config.epochs,
        "limits": list(limitations(run, measured, train)),
        "licence": text.licence,
        "samples": samples,
        "files": files,
        "version": versions().get("spinet", "unknown"),
    }
    return _environment().get_template("card.md.j2").render(values)


def escaped(text: str) -> str:
    r"""Return a string as one line of Markdown that shows it as it is, also in a table.

    >>> escaped("a|b <script>")
    'a\\|b \\<script\\>'
    """
    return _SPECIAL.sub(r"\\\1", printable(" ".join(text.split())))


def _kind(run: TrainingRun) -> str:
    if run.info.kind == "classifier":
        return "An image classifier"
    return "An object detector" + (" with masks" if run.info.model.head in WITHOUT_MASKS else "")


def _class_rows(measured: Measured) -> list[list[str]]:
    return [
        [each.name, f"{each.count:,}", *(_with_interval(value) for value in each.values.values())]
        for each in measured.classes[:MOST_ROWS]
    ]


def _with_interval(value: Any) -> str:
    if value.low != value.low:
        return decimal(value.value)
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _count_rows(run: TrainingRun, train: SplitCounts | None, val: SplitCounts) -> list[list[str]]:
    """Return images, and what there is of each class, in train and val."""
    known = train is not None and bool(train.classes)
    rows = [["images", f"{train.images:,}" if train else "not known", f"{val.images:,}"]]
    if run.info.kind != "classifier":
        rows.append(["objects", f"{train.objects:,}" if train else "not known", f"{val.objects:,}"])
    for label, name in enumerate(run.record.class_names[:MOST_ROWS]):
        rows.append([name, f"{train.classes[label]:,}" if train and known else "not known", f"{val.classes[label]:,}"])
    return rows


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("spinet.share"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: escaped(value) if type(value) is str else value,
    )
