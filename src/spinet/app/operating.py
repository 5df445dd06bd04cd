"""Precision and recall over the score threshold as a small chart and a sentence."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from spinet.analysis.thresholds import F1Curve, Operating, at, best
from spinet.app.choices import Choices
from spinet.app.html import note
from spinet.app.models import LOWEST_SCORE, AppModel, Models

WIDTH, HEIGHT, MARGIN = 300, 96, 14
HIGHEST_SCORE = 0.95


def operating_view(models: Models, picked: Sequence[AppModel], choices: Choices) -> tuple[str, float | None]:
    """Return precision and recall of each detector at the threshold as HTML, and the threshold of best F1 of the first.

    The threshold is None where it is not known; otherwise it is one that the slider reaches.
    """
    parts, auto = [], None
    for model in picked:
        if model.predictor.is_classifier:
            continue
        heading = f"<h4>{escape(model.name)}</h4>" if len(picked) > 1 else ""
        val = models.val(model.name)
        curve = val.curve(choices.classes)
        if curve is None:
            parts.append(heading + note(val.problem + _own_thresholds(model)))
            continue
        top = best(curve)
        parts.append(heading + _chart(curve, choices.threshold, top) + _sentence(at(curve, choices.threshold), top))
        if auto is None and math.isfinite(top.threshold):
            auto = min(max(round(top.threshold, 2), LOWEST_SCORE), HIGHEST_SCORE)
    return "".join(parts), auto


def _own_thresholds(model: AppModel) -> str:
    thresholds = model.info.thresholds
    if not thresholds:
        return ""
    pairs = list(zip(model.info.class_names, thresholds, strict=True))
    words = ", ".join(f"{name} {value:.2f}" for name, value in pairs[:8]) + (" ..." if len(pairs) > 8 else "")
    return f" Thresholds of best F1 (auto), from the weights: {words}."


def _sentence(point: Operating, top: Operating) -> str:
    if math.isnan(point.precision):
        words = f"On val, nothing has a score of at least {point.threshold:.2f}."
    else:
        words = (
            f"On val, from score {point.threshold:.2f}: precision {point.precision:.2f}, recall {point.recall:.2f}, "
            f"F1 {point.f1:.2f}."
        )
    if math.isnan(top.threshold):
        return note(words + " None of these detections is right.")
    return note(f"{words} Best F1 (auto): {top.f1:.2f} from score {top.threshold:.2f}.")


def _chart(curve: F1Curve, threshold: float, top: Operating) -> str:
    """Return precision and recall over the threshold as SVG, with the threshold and that of best F1 marked."""
    if not len(curve.scores):
        return ""
    grid = np.linspace(0.0, 1.0, 101)
    points = [at(curve, score) for score in grid.tolist()]
    lines = "".join(
        f'<polyline class="{name}" points="{" ".join(_place(p.threshold, getattr(p, name)) for p in points)}"/>'
        for name in ("precision", "recall")
    )
    marks = _mark("now", threshold, "")
    if math.isfinite(top.threshold):
        marks = _mark("auto", top.threshold, f"auto {top.threshold:.2f}") + marks
    said = "Precision and recall on val over the score threshold"
    base = HEIGHT - MARGIN
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">'
        f'<line class="axis" x1="0" y1="{base}" x2="{WIDTH}" y2="{base}"/>{lines}{marks}'
        f'<text x="0" y="{HEIGHT - 2}">score 0</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">1</text></svg>'
        '<p class="keys"><span class="key precision"></span>precision <span class="key recall"></span>recall '
        '<span class="key now"></span>threshold <span class="key auto"></span>best F1</p>'
    )


def _place(score: float, value: float) -> str:
    """Return a point of the chart; no detection at all is drawn as precision 1."""
    value = 1.0 if math.isnan(value) else value
    return f"{score * WIDTH:.1f},{MARGIN + (1 - value) * (HEIGHT - 2 * MARGIN):.1f}"


def _mark(name: str, score: float, text: str) -> str:
    x = score * WIDTH
    anchor = "end" if score > 0.7 else "start" if score < 0.3 else "middle"
    words = f'<text class="{name}" x="{x:.1f}" y="{MARGIN - 4}" text-anchor="{anchor}">{text}</text>' if text else ""
    return f'<line class="{name}" x1="{x:.1f}" y1="{MARGIN}" x2="{x:.1f}" y2="{HEIGHT - MARGIN}"/>{words}'
