"""From what was fetched to a weights file: unpacked, converted and compared with what the table says."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from spinet.convert.convert import Converted, convert
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import read_notes, save_weights
from spinet.engine.config import TrainConfig
from spinet.errors import SpinetError
from spinet.hub.addresses import ARCHIVES, WEIGHTS
from spinet.hub.archive import unpack_checkpoint
from spinet.hub.published import PublishedWeights


def make_weights(
    source: Path,
    suffix: str,
    folder: Path,
    where: str,
    published: PublishedWeights | None,
    origin: Mapping[str, str],
) -> Path:
    """Make a weights file of what was fetched.

    Args:
        source: the file that was fetched; it is left as it is.
        suffix: what it is, one of `addresses.SUFFIXES`.
        folder: an empty folder, into which everything is written.
        where: its address, for errors.
        published: what the table says about it.
        origin: its source, for the metadata of converted weights.

    Returns:
        The file, in `folder`.

    Raises:
        SpinetError: it is corrupt, cannot be converted, or is not what the table says.
    """
    made = folder / "made.safetensors"
    if suffix in WEIGHTS:
        _link(source, made)
        info = _described(made, where)
        _check(info, where, published)
        return made
    if suffix in ARCHIVES:
        checkpoint = unpack_checkpoint(source, folder, where)
    else:
        checkpoint = folder / "state.pth"
        _link(source, checkpoint)
    converted = _converted(checkpoint, folder, where, published)
    _check(converted.info, where, published)
    save_weights(made, converted.weights, converted.info, {}, source=_origin(converted, published, origin))
    return made


def _converted(checkpoint: Path, folder: Path, where: str, published: PublishedWeights | None) -> Converted:
    conventions = dict(published.conventions) if published else {}
    size = published.image_size if published else None
    try:
        found = convert(checkpoint, activation=conventions.pop("activation", None), image_size=size)
        if not conventions:
            return found
        model = replace(found.info.model, **conventions)
        TrainConfig(model=model)  # validates the settings
        return replace(found, info=replace(found.info, model=model))
    except SpinetError as error:
        # The folder is of no use to anybody: it is removed.
        raise SpinetError(f"{where}: {error}".replace(f"{folder}{os.sep}", "")) from None


def _described(file: Path, where: str) -> ModelInfo:
    try:
        return read_notes(file)[1]
    except SpinetError as error:
        raise SpinetError(f"{where} does not hold weights of Spinet: {error}".replace(str(file), "the file")) from None


def _check(info: ModelInfo, where: str, published: PublishedWeights | None) -> None:
    """Refuse weights of another model than the one of this name."""
    if published is None:
        return
    head = info.model.head if info.class_names else "none"
    if head != published.head:
        raise SpinetError(
            f"{where} was published with the head {published.head}, but what is there has the head {head}"
        )
    if published.architectures and info.architecture.name not in published.architectures:
        raise SpinetError(
            f"{where} was published as {published.architectures[0]}, but what is there is a "
            f"{info.architecture.name:.60}; nothing was stored"
        )


def _origin(converted: Converted, published: PublishedWeights | None, origin: Mapping[str, str]) -> dict[str, str]:
    facts = {"publisher": converted.source, **origin}
    if published is None:
        return facts
    known = {"name": published.name, "dataset": published.dataset, "licence": published.licence}
    facts |= {name: value for name, value in known.items() if value}
    if published.source:
        facts |= {"repository": published.source.repository, "file": published.source.file}
    return facts


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no such names."""
    import shutil

    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
