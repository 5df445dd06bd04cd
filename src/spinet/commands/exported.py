"""Exported files in the place of runs, for `spinet evaluate` and `spinet predict`."""

from pathlib import Path
from typing import TYPE_CHECKING

from spinet.errors import SpinetError

if TYPE_CHECKING:
    from spinet.deploy.exported import ExportedClassifier, ExportedDetector
    from spinet.fuse.formats import Precision


def load_exported(
    path: Path, threads: int, precision: "Precision | None", device: str
) -> "ExportedDetector | ExportedClassifier | None":
    """Open an exported file; None where `path` is a run folder or weights file.

    Raises:
        SpinetError: the file cannot be used, or threads are asked for a run.
    """
    from spinet.deploy.exported import open_exported
    from spinet.deploy.sessions import exported_file
    from spinet.engine.distributed import pick_device

    file = exported_file(path)
    if file is None:
        if threads:
            raise SpinetError(f"--threads is for exported files, and {path} is none")
        return None
    place = pick_device("cpu" if device == "auto" and file.suffix != ".pt2" else device)
    return open_exported(path, threads, None if precision == "auto" else precision, place)
