"""A trained model as one .zip: weights, card, drawing, metrics, samples and checksums."""

import io
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from spinet.engine.packed import CHECKSUMS, checksums
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.share.bundle import bundle

# The earliest time that a .zip can hold: equal runs are to be equal files.
_TIME = (1980, 1, 1, 0, 0, 0)
# What the card calls the file.
_NAME = "model.zip"


@dataclass(frozen=True)
class Packed:
    """A file that was written, the size in bytes of each file inside, and sentences about it."""

    path: Path
    files: dict[str, int]
    notes: tuple[str, ...]


def pack(
    run: str | Path,
    out: str | Path,
    *,
    license: str = "",
    dataset: str = "",
    samples: bool = True,
    root: str | Path | None = None,
) -> Packed:
    """Pack a trained model as one file: `spinet.pack("runs/mine", "model.zip")`, then `spinet.load("model.zip")`.

    Args:
        run: the run folder.
        out: the .zip to write.
        license: the model's licence by its identifier, such as "apache-2.0"; the card says if it is not stated.
        dataset: name of the dataset, as its makers call it.
        samples: put some val images with predictions in; they are images of the dataset.
        root: the dataset folder, if it has moved.

    Raises:
        SpinetError: there is no run, it was never evaluated, an argument is not valid, or the file cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() != ".zip" or path.is_dir():
        raise SpinetError(f"the packed model is one file, whose name must end in .zip, not {path.name}")
    made = bundle(run, where=_NAME, licence=license, dataset=dataset, samples=samples, root=root)
    files = {**made.files, CHECKSUMS: checksums(made.files).encode()}
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, content in files.items():
            entry = ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    write_atomically(path, buffer.getvalue())
    return Packed(path, {name: len(content) for name, content in files.items()}, made.notes)
