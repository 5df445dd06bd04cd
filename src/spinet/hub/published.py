"""Weights that have a name: the table of what others published, and the files that come with this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from spinet.errors import SpinetError, unknown_name
from spinet.files import load_json

TABLE = Path(__file__).with_name("published_weights.json")
ZOO = Path(__file__).resolve().parents[1] / "zoo"
# Of the files in the zoo, in the order in which a metric is shown.
METRICS = ("AP", "mask AP", "top-1", "top-5")
_NOTES = {"AP": "AP", "mask/AP": "mask AP", "top1": "top-1", "top5": "top-5"}


@dataclass(frozen=True)
class Source:
    """Where something is published: a repository and a file in it."""

    repository: str
    file: str


@dataclass(frozen=True)
class PublishedWeights:
    """Weights with a name. What is not known is None or empty.

    Args:
        name: as in `published/NAME`; that of the recipe which trained them, where there is one.
        task: `"detection"`, `"instance segmentation"` or `"classification"`.
        head: as in `ModelConfig.head`; heads that Spinet does not have are named too.
        architectures: catalogue names, one of which the weights are of; empty: not checked.
        dataset: what they were trained on.
        classes: number of classes of that dataset.
        image_size: side of the training images, pixels.
        metrics: as published, in percent.
        source: where they are listed.
        licence: SPDX identifier.
        address: as published.
        bytes: size of what is at the address.
        sha256: checksum of it.
        conventions: settings of the model that no checkpoint contains, by their names in `ModelConfig`.
        unsupported: why Spinet cannot fetch or convert them; None if it can.
        note: anything else to know.
        path: the file, of weights that come with the package.
    """

    name: str
    task: str
    head: str
    architectures: tuple[str, ...]
    dataset: str | None
    classes: int
    image_size: int
    metrics: Mapping[str, float]
    source: Source | None
    licence: str | None
    address: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    unsupported: str | None = None
    note: str | None = None
    path: Path | None = None

    @property
    def metric(self) -> str:
        """The main metric, such as `"42.8"` for AP and `"42.8 / 37.8"` with masks; empty if none is known."""
        shown = [self.metrics[name] for name in METRICS if name in self.metrics]
        if self.task == "classification":
            shown = shown[:1]
        return " / ".join(f"{value:.1f}" for value in shown)


def find(name: str) -> PublishedWeights:
    """Return the weights of a name; the files of the package come first.

    Raises:
        SpinetError: there are none; the nearest name is part of the message.
    """
    file = ZOO / f"{name}.safetensors"
    if name and "/" not in name and file.is_file():
        return _of_file(file)
    table = {weights.name: weights for weights in published(TABLE)}
    if name not in table:
        raise unknown_name("published weights", name, [*table, *(path.stem for path in _zoo_files())])
    return table[name]


def all_weights() -> list[PublishedWeights]:
    """Return all weights with a name: those of the package, then the table."""
    return [*map(_of_file, _zoo_files()), *published(TABLE)]


@cache
def published(table: Path) -> tuple[PublishedWeights, ...]:
    """Read a table of published weights.

    Raises:
        SpinetError: it is not one.
    """
    try:
        return tuple(msgspec.convert(load_json(table, "table of published weights"), list[PublishedWeights]))
    except msgspec.ValidationError as error:
        raise SpinetError(f"{table} is not a table of published weights: {error}") from None


def _zoo_files() -> list[Path]:
    return sorted(ZOO.glob("*.safetensors"))


def _of_file(path: Path) -> PublishedWeights:
    from spinet.engine.checkpoint import read_notes, read_source

    notes, info = read_notes(path)
    source = read_source(path)
    masks = "mask" in info.model.head
    detection = "instance segmentation" if masks else "detection"
    where = Source(source["repository"], source.get("file", "")) if "repository" in source else None
    return PublishedWeights(
        name=path.stem,
        task="classification" if info.kind == "classifier" else detection,
        head=info.model.head,
        architectures=(info.architecture.name,),
        dataset=source.get("dataset"),
        classes=len(info.class_names),
        image_size=info.image_size,
        metrics={_NOTES[name]: 100 * value for name, value in notes.items() if name in _NOTES},
        source=where,
        licence=source.get("licence"),
        bytes=path.stat().st_size,
        note=source.get("note"),
        path=path,
    )
