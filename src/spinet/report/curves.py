"""Losses, learning rate, metrics, speed and memory of a training over its steps."""

import math
from collections.abc import Sequence
from typing import Any

from spinet.report.charts import COLOURS, Chart, Series, lines, number
from spinet.report.panels import Panel
from spinet.report.training_run import RunLines

Marks = list[tuple[float, str]]
# Relative gain of the last of several evaluations from which more training is worth trying.
STILL_RISING = 0.03
# The best weights are from before this fraction of the training: the rest made them no better.
EARLY = 0.7
# Ratio of the highest loss to the lowest from which the axis is logarithmic.
WIDE = 5


def interruptions(run: RunLines) -> Marks:
    """Return the steps at which a session ended and another resumed, and how it ended."""
    marks: Marks = []
    how = "killed"
    for line in run.sessions:
        if line["event"] == "end":
            how = str(line.get("how", "stopped"))
            continue
        if line.get("step"):
            marks.append((float(line["step"]), f"{how}; resumed at step {line['step']}"))
        how = "killed"
    return marks


def curve_panels(run: RunLines) -> list[Panel]:
    """Return the panels over steps."""
    marks = interruptions(run)
    panels = [_metrics(run, marks)] if run.evaluations else []
    if run.losses:
        panels += [_losses(run, marks), _rate(run, marks)]
    return panels


def _noted(text: str, marks: Marks) -> str:
    if not marks:
        return text
    count = "one interruption" if len(marks) == 1 else f"{len(marks)} interruptions"
    return f"{text} Dashed vertical lines mark {count}, after which the training was resumed."


def _series(lines: Sequence[dict[str, Any]], name: str, label: str, **look: Any) -> Series:
    steps = [float(line["step"]) for line in lines]
    return Series(label, steps, [float(line.get(name, math.nan)) for line in lines], **look)


def _losses(run: RunLines, marks: Marks) -> Panel:
    parts = [name for name in run.losses[-1] if name.startswith("loss/")]
    parts = parts if len(parts) > 1 else []
    series = [
        _series(run.losses, name, name[5:], colour=COLOURS[(index + 1) % len(COLOURS)], width=1.5)
        for index, name in enumerate(parts)
    ]
    whole = _series(run.losses, "loss", "all together" if parts else "", colour="ink")
    values = [value for one in (whole, *series) for value in one.y if math.isfinite(value)]
    log = min(values) > 0 and max(values) > WIDE * min(values)
    chart = lines("losses", [*series, whole], ("step", "loss"), log=(False, log), marks=marks)
    read = (
        "Lower is better; a curve that still falls at the right edge has not finished learning, one that is flat for "
        "half of the training has."
    )
    return Panel("Losses on the training images", _noted(read, marks), charts=(chart,))


def _rate(run: RunLines, marks: Marks) -> Panel:
    chart = lines("learning rate", [_series(run.losses, "lr", "")], ("step", "learning rate"), marks=marks)
    read = (
        "It rises in the warm-up and falls to the end: most of the last gain in the metrics comes while it falls, so "
        "weights from before that say little about the end."
    )
    return Panel("Learning rate", _noted(read, marks), charts=(chart,))


def _metrics(run: RunLines, marks: Marks) -> Panel:
    shown = [name for name in shown_metrics(run) if any(f"val/{name}" in line for line in run.evaluations)]
    series = [
        _series(run.evaluations, f"val/{name}", name, colour=COLOURS[index % len(COLOURS)], points=True)
        for index, name in enumerate(shown)
    ]
    best = int(run.notes.get("step", 0))
    score = shown[0] if shown else "AP"
    chart = lines("metrics on val", series[::-1], ("step", "on val"), marks=marks)
    chart = Chart(chart.svg, chart.legend[::-1])
    read = (
        f"Each point is an evaluation on the val images, from 0 to 1; higher is better. The best weights are those of "
        f"step {best:,} ({score} {run.notes.get(score, math.nan):.3f}): predict and export use them."
    )
    return Panel("Metrics on the val images", _noted(read, marks), more_training(run, score), (chart,))


def shown_metrics(run: RunLines) -> tuple[str, ...]:
    """Return the metrics that are drawn, the one that selects the best weights first."""
    if run.config.model.head == "classifier":
        return ("top1", "top5")
    return ("mask/AP", "mask/AP50", "AP", "AP50") if "mask/AP" in run.notes else ("AP", "AP50", "AP75")


def more_training(run: RunLines, score: str) -> str:
    """Return whether a longer or a shorter training would be better, where a rule says so; else an empty string."""
    values = [(int(line["step"]), float(line.get(f"val/{score}", math.nan))) for line in run.evaluations]
    values = [(step, value) for step, value in values if math.isfinite(value)]
    if len(values) < 2 or not run.is_finished:
        return ""
    best, last = max(values, key=lambda pair: pair[1]), values[-1]
    before = max(value for _, value in values[:-1])
    if last[1] > before * (1 + STILL_RISING):
        return (
            f"{score} was still rising at the end ({before:.3f} before, {last[1]:.3f} last): train longer, for example "
            f"--epochs {number(2 * run.config.epochs)} in a new run folder."
        )
    if best[0] < EARLY * last[0] and best[1] > last[1] * (1 + STILL_RISING):
        return (
            f"{score} fell after step {best[0]:,}, while the training went on: fewer epochs, more images or more "
            "augmentation (data.scale_jitter, data.colour_jitter) would waste less."
        )
    return ""
