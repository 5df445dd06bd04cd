"""The table and the curves of finetune_gain.py: methods against one of them, over seeds and val images.

A difference has two intervals of 95 %. The first is a bootstrap of both the seeds and the val images, each of which is
drawn for all methods together; the second is Student's t over the seeds alone, on the whole val split.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from spinet.analysis.compared import measure
from spinet.analysis.precision import interval, resamples
from spinet.analysis.records import DetectionRecord, Floats, Record
from spinet.errors import SpinetError

REPLICATES = 1000
METRIC = "AP"


def table(lines: Sequence[dict[str, Any]], records: Sequence[Record], reference: str) -> str:
    """Return a Markdown table: of each number of images and method the mean AP, and the gain over `reference`."""
    images = {record.images for record in records}
    if len(images) > 1:
        raise SpinetError("the trainings were not all evaluated on the same val images; give each dataset a --folder")
    weights = resamples(len(records[0].images), REPLICATES)
    groups: dict[tuple[int, str], dict[int, Floats]] = {}
    for line, record in zip(lines, records, strict=True):
        assert isinstance(record, DetectionRecord)
        value = measure(record, weights, masks=False).metrics[METRIC]
        both = np.concatenate([[value.interval.value], value.replicates])
        groups.setdefault((line["count"], line["method"]), {})[line["seed"]] = both
    rows = [
        f"| images | method | seeds | {METRIC} | gain over {reference} | seeds and images, 95 % | seeds, t, 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for (count, method), values in groups.items():
        means = [float(both[0]) for both in values.values()]
        spread = f" ± {stdev(means):.3f}" if len(means) > 1 else ""
        gain = " | ".join(_gain(values, groups.get((count, reference), {}) if method != reference else {}))
        rows.append(f"| {count} | {method} | {len(values)} | {fmean(means):.3f}{spread} | {gain} |")
    return "\n".join(rows) + "\n"


def _gain(values: dict[int, Floats], reference: dict[int, Floats]) -> tuple[str, str, str]:
    """Return the mean difference and its intervals, of the seeds that both have."""
    shared = sorted(values.keys() & reference.keys())
    if not shared:
        return "", "", ""
    differences = np.stack([values[seed] - reference[seed] for seed in shared])
    mean = float(differences[:, 0].mean())
    drawn = np.random.default_rng(0).integers(len(shared), size=(REPLICATES, len(shared)))
    replicates = differences[:, 1:][drawn, np.arange(REPLICATES)[:, None]].mean(axis=1)
    _, low, high = interval(mean, replicates)
    return f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}", _student(differences[:, 0], mean)


def _student(differences: Floats, mean: float) -> str:
    if len(differences) < 2:
        return ""
    half = stats.t.ppf(0.975, len(differences) - 1) * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return f"{mean - half:+.3f} to {mean + half:+.3f}"


def curves(lines: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw AP over images seen: of each number of images a panel, of each method its seeds and their mean."""
    counts, methods = (list(dict.fromkeys(line[name] for line in lines)) for name in ("count", "method"))
    figure = Figure(figsize=(4.2 * len(counts), 3.2))
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)
    for count, panel in zip(counts, panels[0], strict=True):
        for number, method in enumerate(methods):
            own = [line["curve"] for line in lines if (line["count"], line["method"]) == (count, method)]
            for points in own:
                panel.plot(*zip(*points, strict=True), color=f"C{number}", alpha=0.3, linewidth=0.8)
            if own and len({len(points) for points in own}) == 1:
                mean = np.mean(own, axis=0)
                panel.plot(mean[:, 0], mean[:, 1], color=f"C{number}", label=method, marker="o", markersize=3)
        panel.set_title(f"{count} training images", fontsize=10)
        panel.set_xlabel("images seen")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel(f"{METRIC} on val")
    panels[0][0].set_ylim(bottom=0)
    panels[0][-1].legend(fontsize=8)
    figure.tight_layout()
    # Without the date and with fixed names, equal curves are equal files.
    with matplotlib.rc_context({"svg.hashsalt": "spinet", "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None})
