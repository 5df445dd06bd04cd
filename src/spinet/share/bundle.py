"""All files of a model that is handed on, made from its run."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from spinet.arch.catalog import Architecture
from spinet.draw.architecture import draw
from spinet.engine.checkpoint import read_weights, save_weights
from spinet.engine.packed import MODEL
from spinet.errors import SpinetError
from spinet.report.training_run import BEST, TrainingRun, open_training
from spinet.share.card import CardText, write_card
from spinet.share.licences import check_licence
from spinet.share.metrics import measure
from spinet.share.samples import draw_samples
from spinet.share.settings import shared_config, shared_info
from spinet.text import count_of

CARD, CONFIG, METRICS, PICTURE = "README.md", "config.json", "metrics.json", "architecture.svg"
_ABOUT = {
    MODEL: "the best weights",
    CONFIG: "the settings of the training, without paths",
    METRICS: "the metrics above and those of every class",
    PICTURE: "the drawing of the architecture",
}
# Characters of the name of a dataset.
_LONGEST = 200


@dataclass(frozen=True)
class Bundle:
    """Files by name, and sentences that whoever hands them on should read."""

    files: dict[str, bytes]
    notes: tuple[str, ...]


def bundle(
    run: str | Path,
    *,
    name: str = "",
    where: str,
    licence: str = "",
    dataset: str = "",
    samples: bool = False,
    root: str | Path | None = None,
) -> Bundle:
    """Return the files of the best weights of a run; equal runs give equal bytes.

    Args:
        run: the run folder.
        name: of the model; that of its network by default.
        where: what `spinet.load` will take, for the card.
        licence: identifier of the model's licence.
        dataset: name of the dataset; its folder is never named.
        samples: also draw some val images.
        root: the dataset folder, if it has moved.

    Raises:
        SpinetError: there is no run, it was never evaluated, or an argument is not valid.
    """
    licence = check_licence(licence)
    if len(dataset) > _LONGEST:
        raise SpinetError(f"the name of the dataset has {len(dataset):,} characters; at most {_LONGEST} are allowed")
    training = open_training(run, root)
    measured = measure(training)
    info = shared_info(training.info)
    files = {MODEL: _weights(training), CONFIG: shared_config(training.config).to_json().encode()}
    about = {"architecture": info.architecture.name, "head": info.model.head, "dataset": dataset or None}
    files[METRICS] = measured.to_json(about).encode()
    if isinstance(info.architecture, Architecture):
        files[PICTURE] = draw(info.architecture).encode()
    drawn = draw_samples(training, measured.thresholds) if samples else []
    text = CardText(name or f"{info.architecture.name}-{info.model.head}", where, licence, dataset)
    card = write_card(training, text, measured, drawn, {each: _ABOUT[each] for each in files})
    content = {CARD: card.encode(), **files, **{sample.name: sample.content for sample in drawn}}
    return Bundle(content, tuple(_notes(training, text, len(drawn) if samples else None)))


def _weights(run: TrainingRun) -> bytes:
    """Return the best weights, described without paths."""
    tensors, info = read_weights(run.folder / BEST)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / MODEL
        save_weights(file, tensors, shared_info(info), run.notes)
        return file.read_bytes()


def _notes(run: TrainingRun, text: CardText, drawn: int | None) -> list[str]:
    notes = []
    if drawn:
        notes.append(
            f"{count_of(drawn, 'val image')} of the dataset are inside, as samples: its licence must allow that"
        )
    elif drawn == 0:
        notes.append(f"no samples: the images of {run.name} cannot be read, or its dataset is not there any more")
    if not text.licence:
        notes.append("no licence was named: the card says to ask before use")
    if not text.dataset:
        notes.append("the dataset was not named: the card says so")
    if not run.is_finished:
        notes.append(f"the training is at epoch {run.last_epoch:.1f} of {run.config.epochs:g}: the card says so")
    return notes
