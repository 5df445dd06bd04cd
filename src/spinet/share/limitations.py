"""What is known to limit a model, from the numbers of its run: nothing else is said."""

import math
from collections.abc import Iterator

from spinet.analysis.thresholds import FEWEST
from spinet.report.classes import FEWEST as FEWEST_IMAGES
from spinet.report.panels import listed
from spinet.report.training_run import TrainingRun
from spinet.share.counts import SplitCounts
from spinet.share.metrics import Measured
from spinet.text import count_of

# AP50, or accuracy, below which a class is as good as not learned.
HARDLY = 0.1


def limitations(run: TrainingRun, measured: Measured, train: SplitCounts | None) -> Iterator[str]:
    """Yield sentences."""
    if not run.is_finished:
        yield (
            f"The training had not finished when this was written: it was at epoch {run.last_epoch:.1f} of "
            f"{run.config.epochs:g}."
        )
    trained = f"It was trained on {count_of(train.images, 'image')}" if train else "It was trained on one dataset"
    start = " from scratch" if not run.config.model.weights else ""
    yield f"{trained}{start}. Nothing is known about images of other kinds, cameras or places."
    chosen = " and the score thresholds were" if math.isfinite(measured.point.threshold) else " were"
    yield (
        f"The weights{chosen} chosen on the {count_of(measured.images, 'val image')} that the metrics are from, so "
        "expect slightly less on new images of the same kind."
    )
    yield from _classes(measured, train)
    yield from _sizes(run, measured)
    if run.info.kind == "classifier":
        yield "It chooses among its classes for every image, also for one that shows none of them."


def _classes(measured: Measured, train: SplitCounts | None) -> Iterator[str]:
    fewest = FEWEST if measured.unit == "objects" else FEWEST_IMAGES
    few = [each.name for each in measured.classes if 0 < each.count < fewest]
    absent = [each.name for each in measured.classes if not each.count]
    hardly = [each.name for each in measured.classes if each.count and list(each.values.values())[-1].value < HARDLY]
    if hardly:
        measure = "AP50" if measured.unit == "objects" else "top-1"
        yield f"Hardly found at all ({measure} below {HARDLY}): {listed(hardly, 8)}."
    if few:
        yield f"Fewer than {fewest} {measured.unit} in val, so numbers that are mostly chance: {listed(few, 8)}."
    if absent:
        yield f"No {measured.unit} in val, so never measured: {listed(absent, 8)}."
    if train and train.classes:
        missing = [each.name for each, count in zip(measured.classes, train.classes, strict=True) if not count]
        if missing:
            yield f"No {measured.unit} in train, so never learned: {listed(missing, 8)}."


def _sizes(run: TrainingRun, measured: Measured) -> Iterator[str]:
    side = run.info.image_size
    yield f"Images are resized to fit into {side} x {side} pixels; what is too small to be seen then is not found."
    small, large = (measured.overall.get(name) for name in ("APs", "APl"))
    if small and large and small.value < large.value / 2:
        yield f"Small objects are found far worse than large ones: AP {small.value:.3f} against {large.value:.3f}."
