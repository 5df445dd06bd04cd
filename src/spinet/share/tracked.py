"""What experiment trackers get at the end of a training."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from spinet.engine.first_batch import LABELS
from spinet.report.training_run import BEST, open_training
from spinet.share.metrics import measure
from spinet.share.samples import draw_samples
from spinet.track.trackers import Trackers


def add_results(trackers: Trackers, run: Path, say: Callable[[str], None]) -> None:
    """Add the best weights, the report if there is one, label statistics, and some val images with predictions."""
    if not trackers:
        return
    with TemporaryDirectory() as folder:
        pictures: list[Path] = []
        try:
            training = open_training(run)
            for sample in draw_samples(training, measure(training).thresholds):
                pictures.append(Path(folder, Path(sample.name).name))
                pictures[-1].write_bytes(sample.content)
        except Exception as error:  # nothing of a complete training may be lost to a picture
            say(f"warning: no pictures for the trackers ({error!s:.200})")
        trackers.add([run / BEST, run / "report.html", run / LABELS], pictures)
