"""A shared model, from a repository of the Hugging Face Hub or a .zip, as a folder that every command takes."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.draw.architecture import draw
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import read_notes
from spinet.engine.packed import MODEL, MOST_BYTES, read_packed
from spinet.errors import SpinetError
from spinet.hub.client import SCHEME, Repository, choose_weights, connected
from spinet.share.bundle import CARD, CONFIG, METRICS, PICTURE
from spinet.share.folder import check_free, write_folder

_PURPOSE = "pulling a model"
# What is taken from a .zip, besides weights and pictures.
_KNOWN = (MODEL, CARD, CONFIG, METRICS)
_SAMPLE = re.compile(r"samples/\d{1,3}\.jpg")


@dataclass(frozen=True)
class Pulled:
    """A folder that was written, its files, and the description of the network in it."""

    folder: Path
    files: tuple[str, ...]
    info: ModelInfo


def pull(source: str | Path, out: str | Path) -> Pulled:
    """Get a model that others shared: `spinet.pull("hf://owner/name", "cells")`, then `spinet.load("cells")`.

    Only safetensors are taken, and what reads without running code.

    Args:
        source: `hf://owner/name`, also with `/FILE.safetensors` and `@REVISION`; or a .zip of `spinet pack`.
        out: the new folder.

    Raises:
        SpinetError: there is no such model, it is not one of Spinet, its checksum is wrong, it cannot be reached, or
            the folder cannot be written; nothing is written then.
    """
    folder = Path(out)
    check_free(folder)
    files: dict[str, bytes | Path]
    if str(source).startswith(SCHEME):
        files, info = _of_hub(Repository.parse(str(source)))
    elif Path(source).suffix.lower() == ".zip" and Path(source).is_file():
        files, info = _of_zip(Path(source))
    else:
        raise SpinetError(f"{source} is neither an address hf://owner/name nor a .zip file that is there")
    write_folder(folder, files)
    return Pulled(folder, tuple(files), info)


def _of_zip(file: Path) -> tuple[dict[str, bytes | Path], ModelInfo]:
    """Return the files of a packed model that `spinet pack` writes; others that a .zip may hold are left in it."""
    content = {name: data for name, data in read_packed(file).items() if name in _KNOWN or _SAMPLE.fullmatch(name)}
    info = read_notes(file)[1]
    return _with_drawing(dict(content), info), info


def _with_drawing(files: dict[str, bytes | Path], info: ModelInfo) -> dict[str, bytes | Path]:
    """Add the drawing of the network, made here: an SVG of others may hold scripts."""
    if isinstance(info.architecture, Architecture):
        files[PICTURE] = draw(info.architecture).encode()
    return files


def _of_hub(repository: Repository) -> tuple[dict[str, bytes | Path], ModelInfo]:
    """Return the files of a repository, by way of the Hub's cache."""
    with connected(repository, _PURPOSE) as api:
        content = api.model_info(repository.name, revision=repository.revision or None, files_metadata=True)
        entries = {entry.rfilename: entry for entry in content.siblings or ()}
        name = choose_weights(repository, list(entries))
        wanted = [
            each for each in (CARD, CONFIG, METRICS) if each in entries and (entries[each].size or 0) < MOST_BYTES
        ]
        files: dict[str, bytes | Path] = {
            MODEL if each == name else each: Path(api.hf_hub_download(repository.name, each, revision=content.sha))
            for each in (name, *wanted)
        }
    weights = files[MODEL]
    assert isinstance(weights, Path)
    _verify(weights, entries[name], f"{name} of {repository}")
    try:
        info = read_notes(weights)[1]
    except SpinetError as error:
        reason = str(error).replace(str(weights), name)
        raise SpinetError(f"{repository} holds no model of Spinet: {reason}") from None
    return _with_drawing(files, info), info


def _verify(file: Path, entry: Any, where: str) -> None:
    """Compare a file with the checksum that the Hub has of it, if it has one."""
    expected = getattr(entry.lfs, "sha256", None)
    with file.open("rb") as content:
        if expected and hashlib.file_digest(content, "sha256").hexdigest() != expected:
            raise SpinetError(f"{where} does not have the checksum that the Hub says; delete it from the cache, {file}")
