"""A comparison of models as plain values, CSV and an HTML page."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spinet.analysis.compared import Difference, Measured, difference, images_that_differ, measure
from spinet.analysis.precision import resamples
from spinet.analysis.records import ClassRecord, DetectionRecord
from spinet.draw.page import render_page
from spinet.engine.config import differences as changed_settings
from spinet.engine.resume import MAY_CHANGE
from spinet.files import write_atomically
from spinet.report.contenders import Contender
from spinet.report.panels import Table, decimal, with_interval
from spinet.report.pictures import Picture, compared_pictures

# Images on which two models differ most: named, and drawn.
NAMED, DRAWN = 10, 12
# Settings that change no weights.
EFFECTLESS = {"data.root", "eval_epochs", *MAY_CHANGE}


@dataclass(frozen=True)
class Comparison:
    """Models on the same images; all others are compared with the first.

    Attributes:
        models: two or more, as `contenders` returns them.
        images: the dataset folder, for pictures; None without it.
    """

    models: Sequence[Contender]
    images: Path | None

    @cached_property
    def masks(self) -> bool:
        """Whether overlaps are those of masks: if all models have them."""
        return all(isinstance(each.record, DetectionRecord) and each.record.has_masks for each in self.models)

    @cached_property
    def measured(self) -> list[Measured]:
        """All models on the same resamples of the images."""
        weights = resamples(len(self.models[0].record.images))
        return [measure(each.record, weights, self.masks) for each in self.models]

    @property
    def metric(self) -> str:
        """The metric that decides, and of which classes have one."""
        return "top1" if isinstance(self.models[0].record, ClassRecord) else "AP"

    def differences(self, index: int, *, classes: bool = False) -> dict[str, Difference]:
        """Return what a model has more than the first one, by metric or by class."""
        sides = [each.classes if classes else each.metrics for each in (self.measured[0], self.measured[index])]
        return {name: difference(value, sides[1][name]) for name, value in sides[0].items()}

    def verdict(self, index: int) -> str:
        """Say in a sentence whether a model differs from the first one."""
        gap = self.differences(index)[self.metric]
        first, other = self.models[0].name, self.models[index].name
        span = f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        if gap.is_certain:
            side = "better" if gap.value > 0 else "worse"
            return f"{other} is {side} than {first}: {self.metric} {span}{self._same_settings(index)}"
        return f"{other} does not differ from {first} for certain: {self.metric} {span}"

    def _same_settings(self, index: int) -> str:
        """Say where a difference is no merit of any setting."""
        one, other = self.models[0].config, self.models[index].config
        if one is None or other is None or set(changed_settings(one, other)) - EFFECTLESS != {"seed"}:
            return ""
        return "; they differ in the seed alone, so that much is chance of training"

    def far_images(self, index: int, most: int = NAMED) -> list[tuple[str, int, int]]:
        """Return the images on which a model differs most from the first, with the errors of both."""
        first, other = self.measured[0], self.measured[index]
        names = self.models[0].record.images
        found = images_that_differ(first, other, most)
        return [(names[image], int(first.errors[image]), int(other.errors[image])) for image in found]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; None stands for what is not known."""
        others = range(len(self.models))
        return {
            "images": len(self.models[0].record.images),
            "overlaps": "masks" if self.masks else "boxes" if self.metric == "AP" else None,
            "models": [
                {
                    "name": each.name,
                    "path": str(each.path),
                    "megabytes": round(each.megabytes, 3),
                    "parameters": each.parameters,
                    "milliseconds": _known(each.milliseconds),
                    "metrics": {name: _plain(value.interval) for name, value in self.measured[index].metrics.items()},
                    "classes": {name: _plain(value.interval) for name, value in self.measured[index].classes.items()},
                    **(self._against_first(index) if index else {}),
                }
                for index, each in zip(others, self.models, strict=True)
            ],
        }

    def _against_first(self, index: int) -> dict[str, Any]:
        def plain(classes: bool) -> dict[str, Any]:
            found = self.differences(index, classes=classes)
            return {name: {**_plain(gap), "certain": gap.is_certain} for name, gap in found.items()}

        far = [{"image": name, "errors": [first, other]} for name, first, other in self.far_images(index)]
        return {"difference": plain(False), "class_difference": plain(True), "images_that_differ_most": far}

    def to_json(self) -> str:
        """Return `to_dict` as one line."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_csv(self) -> str:
        """Return one row per model and metric, classes as `AP/NAME`."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        ends = ("low", "high")
        writer.writerow(["model", "metric", "value", *ends, "difference", *(f"difference_{end}" for end in ends)])
        for index, each in enumerate(self.models):
            for prefix, classes in (("", False), (f"{self.metric}/", True)):
                values = self.measured[index].classes if classes else self.measured[index].metrics
                gaps = self.differences(index, classes=classes) if index else {}
                for name, value in values.items():
                    numbers = [*value.interval, *(gaps.get(name) or [math.nan] * 3)]
                    writer.writerow([each.name, f"{prefix}{name}", *("" if n != n else f"{n:.6f}" for n in numbers)])
            for name, number in (("megabytes", each.megabytes), ("milliseconds", each.milliseconds)):
                writer.writerow([each.name, name, "" if number != number else f"{number:.3f}", *[""] * 5])
        return buffer.getvalue()

    def metric_table(self) -> Table:
        """Return metrics side by side, with what each costs."""
        head = ("", *(each.name for each in self.models))
        rows = [
            [name, *(with_interval(each.metrics[name].interval) for each in self.measured)]
            for name in self.measured[0].metrics
        ]
        rows.append(["ms per image", *(decimal(each.milliseconds, 1) for each in self.models)])
        rows.append(["MB", *(f"{each.megabytes:.1f}" for each in self.models)])
        rows.append(["parameters", *(f"{each.parameters:,}" for each in self.models)])
        return Table(head, rows)

    def difference_table(self, *, classes: bool) -> Table:
        """Return the differences of the other models from the first, those that are certain with a star."""
        gaps = [self.differences(index, classes=classes) for index in range(1, len(self.models))]
        head = (
            "class" if classes else "",
            self.models[0].name,
            *(f"difference of {each.name}" for each in self.models[1:]),
        )
        sides = self.measured[0].classes if classes else self.measured[0].metrics
        rows = [
            [name, decimal(value.interval.value), *(_shown(each[name]) for each in gaps)]
            for name, value in sides.items()
        ]
        return Table(head, rows)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> dict[str, float | None]:
    return {name: _known(number) for name, number in zip(("value", "low", "high"), value, strict=True)}


def _shown(gap: Difference) -> str:
    if gap.value != gap.value:
        return "-"
    return f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}){' *' if gap.is_certain else ''}"


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the HTML page of a comparison.

    Raises:
        SpinetError: it cannot be written.
    """
    groups = [
        (
            f"{comparison.models[0].name} and {comparison.models[index].name}",
            [asdict(picture) for picture in _pictures(comparison, index)],
        )
        for index in range(1, len(comparison.models))
    ]
    page = render_page(
        "spinet.report",
        "comparison.html.j2",
        title=f"Comparison of {len(comparison.models)} models",
        images=f"{len(comparison.models[0].record.images):,}",
        verdicts=[comparison.verdict(index) for index in range(1, len(comparison.models))],
        metrics=comparison.metric_table(),
        differences=comparison.difference_table(classes=False),
        classes=comparison.difference_table(classes=True),
        metric=comparison.metric,
        groups=[(title, pictures) for title, pictures in groups if pictures],
    )
    write_atomically(path, page)
    return path


def _pictures(comparison: Comparison, index: int) -> list[Picture]:
    if comparison.images is None:
        return []
    found = images_that_differ(comparison.measured[0], comparison.measured[index], DRAWN)
    pairs = [(each.record, comparison.measured[number].details, each.name) for number, each in _both(comparison, index)]
    return compared_pictures(pairs, found, comparison.images)


def _both(comparison: Comparison, index: int) -> list[tuple[int, Contender]]:
    return [(0, comparison.models[0]), (index, comparison.models[index])]
