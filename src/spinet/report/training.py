"""A training as one self-contained HTML page."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from spinet.analysis.records import ClassRecord, DetectionRecord
from spinet.draw.page import render_page
from spinet.engine.config import TrainConfig, flatten
from spinet.files import write_atomically
from spinet.report.classes import ClassFindings, class_panels
from spinet.report.curves import curve_panels, interruptions, shown_metrics
from spinet.report.detection_charts import detection_charts
from spinet.report.detections import Findings, precision_panel
from spinet.report.first_look import ABOUT, ABOUT_CLASSES, batch_picture, label_panels
from spinet.report.object_sizes import size_panels
from spinet.report.panels import Panel, decimal, listed
from spinet.report.pictures import Picture, mistake_pictures, worst_images, worst_pictures
from spinet.report.training_run import BEST, TrainingRun, open_training
from spinet.text import count_of, duration

Fact = tuple[str, str, str]


def write_training_report(run: str | Path, out: str | Path | None = None, root: str | Path | None = None) -> Path:
    """Write the report of a training and return its path.

    Args:
        run: folder of the run.
        out: the page; `report.html` in the folder by default.
        root: the dataset folder, if it has moved.

    Raises:
        SpinetError: there is no such run, it has not been evaluated yet, a file is corrupt, or the page cannot be
            written.
    """
    path = Path(out or Path(run) / "report.html")
    write_atomically(path, render_training(open_training(run, root)))
    return path


def report_of(run: Path, quiet: bool = False) -> None:
    """Write the report at the end of a training, in its main process; whatever fails there is said in one line."""
    if int(os.environ.get("RANK", "0")):
        return
    try:
        said = f"report: {write_training_report(run)}"
    except Exception as error:  # nothing of a complete training may be lost to a figure
        said = f"no report was written ({error!s:.200}); the training is complete"
    Console(quiet=quiet, soft_wrap=True, highlight=False).print(said, markup=False)


def render_training(run: TrainingRun) -> str:
    """Return the page."""
    record = run.record
    if isinstance(record, DetectionRecord):
        findings = Findings(record)
        facts = _detector_facts(run, findings)
        panels = [precision_panel(findings), *curve_panels(run), *detection_charts(findings), *size_panels(run)]
        pictures, about = _worst(run, findings)
    else:
        by_class = ClassFindings(record)
        facts = _class_facts(by_class)
        panels = [*curve_panels(run), *class_panels(by_class)]
        pictures, about = _mistakes(run, record, by_class)
    panels = _wide_first([*panels, *label_panels(run.folder)])
    return render_page(
        "spinet.report",
        "training.html.j2",
        title=f"Training {run.name}",
        model=f"{run.config.model.head} on {run.info.architecture.name}",
        data=run.config.data.root,
        facts=[*facts, *_cost_facts(run)],
        notices=_notices(run),
        groups=grouped(panels),
        first_batch=batch_picture(run.folder),
        first_batch_about=ABOUT if isinstance(record, DetectionRecord) else ABOUT_CLASSES,
        pictures=pictures,
        pictures_title="The worst images" if isinstance(record, DetectionRecord) else "The most confident mistakes",
        pictures_about=about,
        doctor=_doctor(run),
        description=_description(run),
        settings=settings_of(run.config),
        metrics=[(name, decimal(value, 4)) for name, value in run.notes.items() if name != "step"],
    )


def _wide_first(panels: Sequence[Panel]) -> list[Panel]:
    """Put tables of the whole width before what stands in two columns."""
    return sorted(panels, key=lambda panel: not (panel.wide and panel.table is not None))


def grouped(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Return rows of the page: wide panels alone, others together."""
    groups: list[list[Panel]] = []
    for panel in panels:
        if panel.wide or not groups or groups[-1][0].wide:
            groups.append([panel])
        else:
            groups[-1].append(panel)
    return groups


def _detector_facts(run: TrainingRun, findings: Findings) -> list[Fact]:
    name = shown_metrics(run)[0]
    ap, point = findings.table.overall["AP"], findings.best
    facts = [(f"{name} on val", decimal(ap.value), f"95 % interval {decimal(ap.low)} to {decimal(ap.high)}")]
    if np.isfinite(point.threshold):
        shown = f"precision {point.precision:.2f}, recall {point.recall:.2f} from score {point.threshold:.2f}"
        facts.append(("best F1", decimal(point.f1), shown))
    worst = max(findings.costs, key=lambda kind: findings.costs[kind].ap)
    facts.append(("costliest error", worst, f"{findings.costs[worst].ap:.3f} AP50"))
    return facts


def _class_facts(findings: ClassFindings) -> list[Fact]:
    top1, top5 = findings.top1, findings.top5
    return [
        ("top-1 on val", decimal(top1.value), f"95 % interval {decimal(top1.low)} to {decimal(top1.high)}"),
        ("top-5 on val", decimal(top5.value), f"95 % interval {decimal(top5.low)} to {decimal(top5.high)}"),
    ]


def _cost_facts(run: TrainingRun) -> list[Fact]:
    seconds = sum(float(line.get("seconds", 0)) for line in run.sessions if line["event"] == "end")
    facts: list[Fact] = []
    if seconds:
        killed = any("killed" in what for _, what in interruptions(run))
        more = "at least: some of it was killed" if killed else f"for {run.last_step:,} steps"
        facts.append(("time", duration(seconds), more))
    memory = max((float(line.get("memory_gib", 0)) for line in run.losses), default=0.0)
    if memory:
        facts.append(("peak memory", f"{memory:.1f} GiB", "of this process, or of the GPU"))
    return facts


def _notices(run: TrainingRun) -> list[str]:
    """What the reader has to know first."""
    notices = []
    if not run.is_finished:
        notices.append(
            f"This training has not finished: it is at epoch {run.last_epoch:.1f} of {run.config.epochs:g}. Run the "
            "same command again to resume it, and write the report again for more."
        )
    if run.images is None:
        notices.append(
            f"The dataset is not in {run.config.data.root or 'a known folder'} any more, so there are no pictures; "
            "write the report with --data.root and the folder it is in now."
        )
    return notices


def _worst(run: TrainingRun, findings: Findings) -> tuple[list[Picture], str]:
    errors = worst_images(findings.confusion[1])
    if run.images is None or not errors:
        return [], ""
    return worst_pictures(findings.record, errors, run.images), (
        f"The {len(errors)} val images with most errors at the thresholds of best F1, ground truth beside prediction: "
        "blue is found and right, orange is missed, red is false. Look for annotations that are wrong or lacking "
        "before you look for more images."
    )


def _mistakes(run: TrainingRun, record: ClassRecord, findings: ClassFindings) -> tuple[list[Picture], str]:
    if run.images is None or not findings.mistakes:
        return [], ""
    return mistake_pictures(record, findings.mistakes, run.images), (
        f"The {len(findings.mistakes)} val images that were predicted wrong with the highest scores: often they are "
        "labelled wrong, or show two classes at once."
    )


def _doctor(run: TrainingRun) -> list[tuple[str, str]]:
    starts = [line for line in run.sessions if line["event"] == "start"]
    said = starts[-1].get("doctor", []) if starts else []
    return [(str(finding.get("severity", "")), str(finding.get("text", ""))) for finding in said]


def _description(run: TrainingRun) -> list[tuple[str, str]]:
    starts = [line for line in run.sessions if line["event"] == "start"]
    last: dict[str, Any] = starts[-1] if starts else {}
    versions = last.get("versions") or {}
    weights = (run.folder / BEST).stat().st_size / 2**20
    names = run.record.class_names
    terms = [
        ("val images", f"{len(run.record.images):,}, {count_of(len(names), 'class', 'classes')}: {listed(names, 8)}"),
        ("best weights", f"{BEST}, {weights:.1f} MB, step {int(run.notes.get('step', 0)):,}"),
        ("trained", f"{run.last_step:,} steps, {run.last_epoch:.1f} of {run.config.epochs:g} epochs"),
        ("sessions", "; ".join(_session(line) for line in run.sessions)),
        ("device", str(last.get("device", ""))),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return [(term, text) for term, text in terms if text]


def _session(line: dict[str, Any]) -> str:
    if line["event"] == "start":
        return f"{line.get('time', '')} from step {line.get('step', 0)}"
    return f"{line.get('how', '')} at step {line.get('step', 0)} after {duration(float(line.get('seconds', 0)))}"


def settings_of(config: TrainConfig) -> list[tuple[str, str]]:
    """Return all settings, those that differ from the defaults first."""
    chosen, usual = flatten(asdict(config)), flatten(asdict(TrainConfig()))
    ordered = sorted(chosen, key=lambda name: chosen[name] == usual.get(name))
    return [(name, _setting(chosen[name])) for name in ordered]


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(str(part) for part in value)
    return str(value) if value != "" else "-"
