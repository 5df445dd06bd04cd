"""The charts of a detector: precision and recall, scores, calibration, errors, confusions."""

import numpy as np

from spinet.analysis.calibration import calibration
from spinet.analysis.confusion import confused_pairs
from spinet.analysis.precision import curve
from spinet.analysis.records import Booleans, Floats
from spinet.analysis.thresholds import at
from spinet.report.bars import Bar, bars, histogram, matrix, most_confused
from spinet.report.charts import COLOURS, Chart, Series, lines
from spinet.report.detections import Findings
from spinet.report.panels import Panel, decimal, listed

# With more classes, the best and the worst are coloured and the others grey.
MANY, EXTREMES = 5, 2
# Distance of mean score and fraction right from which scores are called too high or too low.
UNCALIBRATED = 0.1
# The AP50 that the costliest error must cost for advice.
COSTLY = 0.02

WHAT_TO_TRY = {
    "class": "the confusion matrix names the classes; more images of these, or one class instead of two, help.",
    "location": (
        "boxes are near the objects but not on them: train longer, enlarge data.image_size, and check how tightly the "
        "annotations are drawn (spinet doctor shows them)."
    ),
    "both": "boxes overlap objects of other classes only a little: train longer, on more images.",
    "duplicate": "one object is found several times: look for objects that are annotated twice or as parts.",
    "background": (
        "things are found where nothing is annotated: look at the worst images below for objects that the annotations "
        "lack, and add images without objects that look like these."
    ),
    "missed": (
        "objects are not found at all: more images of them, a larger data.image_size for small ones, more epochs; "
        "compare their sizes with the anchors below."
    ),
}


def detection_charts(findings: Findings) -> list[Panel]:
    """Return the panels, from what is most often asked on."""
    return [
        _precision_recall(findings),
        _errors(findings),
        _confusion(findings),
        _thresholds(findings),
        _scores(findings),
        calibration_panel(*findings.scored, "detections", findings.best.threshold),
    ]


def _precision_recall(findings: Findings) -> Panel:
    names = findings.record.class_names
    known = [label for label, count in enumerate(findings.objects) if count]
    order = sorted(known, key=lambda label: -findings.table.classes[label][1].value)
    coloured = order if len(order) <= MANY else [*order[:EXTREMES], *order[-EXTREMES:]]
    series = []
    for label in [*(label for label in order if label not in coloured), *reversed(coloured)]:
        values = curve(findings.matches[label])
        look = {"colour": "faint", "width": 1.0}
        ap = findings.table.classes[label][1].value
        if label in coloured:
            look = {"colour": COLOURS[coloured.index(label) % len(COLOURS)]}
        name = f"{names[label]} {decimal(ap)}" if label in coloured else ""
        series.append(Series(name, values.recall.tolist(), values.precision.tolist(), **look))  # type: ignore[arg-type]
    chart = lines("precision and recall", series, ("recall", "precision"), x=(0, 1), y=(0, 1.02))
    chart = Chart(chart.svg, chart.legend[::-1])
    best = listed([names[label] for label in order[:1]])
    more = "" if len(order) <= MANY else f" Coloured are the {EXTREMES} best and the {EXTREMES} worst classes."
    return Panel(
        f"Precision and recall by class at a {findings.kind} IoU of 0.5",
        "From left to right the score threshold falls: more objects are found (recall), and fewer of the detections "
        f"are right (precision); the number in the legend is AP50, about the area below, highest for {best or 'none'}."
        + more,
        charts=(chart,),
    )


def _errors(findings: Findings) -> Panel:
    costs = findings.costs
    rows = [
        Bar(name, cost.ap, f"{cost.ap:.3f} AP50, {cost.times:,} times", colour="orange" if name != "missed" else "red")
        for name, cost in costs.items()
    ]
    worst = max(costs, key=lambda name: costs[name].ap)
    advice = ""
    if costs[worst].ap >= COSTLY:
        kind = {"missed": "Missed objects cost"}.get(worst, f"Errors of the type {worst} cost")
        advice = f"{kind} most ({costs[worst].ap:.3f} AP50): {WHAT_TO_TRY[worst]}"
    return Panel(
        "What the errors cost",
        "Each bar is the AP50 that would be gained if errors of this type alone were corrected (TIDE): wrong class; "
        "right class but poor location (IoU below 0.5); both; found twice; found on background; object missed. Counts "
        "are of all detections, also those of low score, which cost little.",
        advice,
        (bars("cost of errors", rows),),
    )


def _confusion(findings: Findings) -> Panel:
    counts, _ = findings.confusion
    names, small = most_confused(counts, findings.record.class_names)
    drawn = matrix("confusion matrix", [*names, "background"], [*names, "missed"], small)
    pairs = confused_pairs(counts, 3)
    advice = ""
    if pairs and pairs[0].fraction >= 0.1 and pairs[0].times >= 3:
        labels = findings.record.class_names
        one = pairs[0]
        advice = (
            f"{one.times:,} of the objects {labels[one.truth]!r} ({one.fraction:.0%}) are found as "
            f"{labels[one.found]!r}: look whether the annotations tell the two apart, and add images of both."
        )
    return Panel(
        "Confusion matrix",
        "Rows are annotated objects, columns what they were found as at the thresholds of best F1; green is right, the "
        "column missed holds objects without a detection, the row background detections without an object.",
        advice,
        (drawn,),
        wide=len(names) > 8,
    )


def _thresholds(findings: Findings) -> Panel:
    values, point = findings.pooled, findings.best
    series = [
        Series(name, values.scores.tolist(), part.tolist(), colour)
        for name, part, colour in (
            ("precision", values.precision, "blue"),
            ("recall", values.recall, "orange"),
            ("F1", values.f1, "green"),
        )
    ]
    marks = [(point.threshold, f"best F1 at {point.threshold:.2f}")] if np.isfinite(point.threshold) else []
    chart = lines("thresholds", series, ("score threshold", "all classes"), x=(0, 1), y=(0, 1.02), marks=marks)
    usual = at(values, 0.5)
    if not marks:
        read = "No detection is right at an IoU of 0.5, so no threshold is better than another."
        return Panel("Score threshold", read, "Train longer, on more images.", (chart,))
    return Panel(
        "Score threshold",
        f"F1 balances finding all objects against finding only them; it is best at {point.threshold:.2f} (dashed): "
        f"{point.f1:.3f}, with precision {point.precision:.3f} and recall {point.recall:.3f}. At 0.5 it is "
        f"{usual.f1:.3f}.",
        "spinet predict --score auto uses these thresholds, by class where that is better: they are stored in the "
        "weights. Take a higher one where false alarms cost more than misses.",
        (chart,),
    )


def _scores(findings: Findings) -> Panel:
    scores, right = findings.scored
    edges = np.linspace(0, 1, 21)
    counts = [np.histogram(scores[rows], edges)[0].tolist() for rows in (right, ~right)]
    stacks = [("right", "green", counts[0]), ("wrong", "orange", counts[1])]
    point = findings.best.threshold
    marks = [(point, f"best F1 at {point:.2f}")] if np.isfinite(point) else []
    chart = histogram("scores", edges.tolist(), stacks, ("score", "detections"), root=True, marks=marks)
    return Panel(
        "Scores of right and wrong detections",
        "The further apart green (right at an IoU of 0.5) and orange lie, the less a threshold loses; heights are "
        "square roots of counts, so that few are seen beside many.",
        charts=(chart,),
    )


def calibration_panel(scores: Floats, right: Booleans, what: str, threshold: float = 0.0) -> Panel:
    """Return the reliability diagram of scores; the advice is about those from a threshold on."""
    found = calibration(scores, right)
    used = found.counts > 0
    diagonal = Series("perfect", [0.0, 1.0], [0.0, 1.0], "faint", "4 4", 1.5)
    measured = Series("measured", found.scores[used].tolist(), found.right[used].tolist(), "blue", points=True)
    chart = lines("calibration", [diagonal, measured], ("score", "fraction right"), x=(0, 1), y=(0, 1.02))
    return Panel(
        "Are scores probabilities?",
        f"Each point holds the {what} of a tenth of the scale: on the dashed line a score of 0.8 is right in 80 % of "
        f"cases, below it the model is too confident, above it too careful. The mean distance (expected calibration "
        f"error) is {decimal(found.error)}.",
        _calibration_advice(scores, right, threshold),
        (chart,),
    )


def _calibration_advice(scores: Floats, right: Booleans, threshold: float) -> str:
    shown = scores >= threshold
    if not shown.any():
        return ""
    mean, fraction = float(scores[shown].mean()), float(right[shown].mean())
    if abs(mean - fraction) < UNCALIBRATED:
        return ""
    side = "higher" if mean > fraction else "lower"
    which = f"those from {threshold:.2f} on" if threshold else "they"
    return (
        f"Do not read scores as probabilities: {which} are {mean:.2f} on average and right in {fraction:.0%} of cases, "
        f"so they are {side} than they should be."
    )
