"""The settings of a search: the first line of its journal, which must not change on resuming."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.errors import SpinetError
from spinet.formats.splits import Division
from spinet.nas.constraints import Constraint, constraint_text
from spinet.nas.journal import Event
from spinet.nas.references import published_choices
from spinet.nas.space import Space
from spinet.nas.trial import Proposal

VERSION = 1


@dataclass(frozen=True)
class SearchConfig:
    """The settings of a search, as plain data, validated on construction."""

    space: Space
    strategy: Mapping[str, Any]  # settings (JSON), with a `name`
    proxy: Mapping[str, Any] | None = None  # settings of the evaluation (JSON), with a `name`
    data: str | None = None  # dataset folder
    constraints: tuple[Constraint, ...] = ()  # limits of rung-0 proposals
    seed: int = 0  # of everything random
    replicates: int = 1  # times that a graph is trained at a rung; further trials of it are duplicates
    trials: int = 100  # in all, duplicates included; may change on resuming
    references: int = 0  # trainings of the space's published network at each rung that come first; may change likewise
    digest: Mapping[str, Any] | None = None  # of the dataset's train split, see `spinet.data.digest`
    division: Division | None = None  # of a dataset that has none

    def __post_init__(self) -> None:
        for name in ("replicates", "trials"):
            if getattr(self, name) < 1:
                raise SpinetError(f"search: {name} must be at least 1, got {getattr(self, name)}")
        if self.references < 0:
            raise SpinetError(f"search: references must be at least 0, got {self.references}")

    @cached_property
    def reference_trials(self) -> list[Proposal]:
        """The published network at each rung, once per reference; none if the space or a constraint excludes it."""
        choices = published_choices(self.space) if self.references else None
        if choices is None:
            return []
        architecture = Architecture(self.space.decode(choices), self.space.scaling)
        if not all(constraint.accepts(constraint.value(architecture)) for constraint in self.constraints):
            return []
        rungs = range(self.strategy.get("rungs", 1))
        return [Proposal(choices, rung, {"reference": True}) for rung in rungs for _ in range(self.references)]

    def header(self) -> Event:
        """Return the first line of the journal."""
        return {
            "event": "search",
            "version": VERSION,
            "space": self.space.to_dict(),
            "strategy": dict(self.strategy),
            "proxy": None if self.proxy is None else dict(self.proxy),
            "data": self.data,
            **({} if self.digest is None else {"digest": dict(self.digest)}),
            **({} if self.division is None else {"val_share": self.division.share, "val_seed": self.division.seed}),
            "constraints": [constraint.to_dict() for constraint in self.constraints],
            "seed": self.seed,
            "replicates": self.replicates,
        }


def spinet_version() -> str:
    """Return the version of the package, for the record."""
    try:
        return version("spinet")
    except PackageNotFoundError:  # used from a source tree that was never installed
        return "unknown"


def check_header(path: Path, header: Event, config: SearchConfig) -> None:
    """Raise a SpinetError that names what differs, unless the journal with this header is of the search `config`."""
    expected = json.loads(json.dumps(config.header()))
    # Another division has other images: it explains why the data differ.
    for key in ("val_share", "val_seed"):
        if header.get(key, 0) != expected.get(key, 0):
            difference = _difference(key, header.get(key, 0), expected.get(key, 0))
            raise SpinetError(f"{path} was written with {difference}: use another run folder, or the same settings")
    now, before = expected.pop("digest", None), header.get("digest")  # neither older journals nor objectives have one
    is_known = isinstance(before, dict) and now is not None
    from spinet.data.digest import differences  # imports torch

    found = differences({"train": before}, {"train": now}) if is_known else []
    if found:
        raise SpinetError(
            f"the data of {path} have changed: {found[0]}; restore them, or start another search in another run folder"
        )
    if is_known or _same_folder(header.get("data"), config.data):
        del expected["data"]
    for key, value in expected.items():
        if header.get(key) != value:
            difference = _difference(key, header.get(key), value)
            raise SpinetError(f"{path} was written with {difference}: use another run folder, or the same settings")


def _same_folder(one: Any, other: str | None) -> bool:
    return isinstance(one, str) and other is not None and Path(one).resolve() == Path(other).resolve()


def _difference(key: str, before: Any, value: Any) -> str:
    """Say what differs: the name, or the first setting under the same name."""
    if isinstance(before, dict) and isinstance(value, dict):
        names = before.get("name"), value.get("name")
        if names[0] != names[1]:
            return f"{key} {names[0]!r}, not {names[1]!r}"
        for setting in [*value, *before]:
            if before.get(setting) != value.get(setting):
                changed = f"{before.get(setting)!r:.60}, not {value.get(setting)!r:.60}"
                return f"{key} {names[0]!r} with {setting} {changed}"
    if key == "constraints":
        return _constraints_difference(before or [], value)
    return f"{key} {before!r:.200}, not {value!r:.200}"


def _constraints_difference(before: list[dict[str, Any]], value: list[dict[str, Any]]) -> str:
    texts = ["; ".join(map(constraint_text, constraints)) or "none" for constraints in (before, value)]
    if texts[0] == texts[1]:  # the difference is in what the text leaves out
        old, new = next(pair for pair in zip(before, value, strict=True) if pair[0] != pair[1])
        name = next(name for name in [*new, *old] if old.get(name) != new.get(name))
        return f"the constraint {constraint_text(old)} with {name} {old.get(name)!r}, not {new.get(name)!r}"
    return f"constraints {texts[0]}, not {texts[1]}"
