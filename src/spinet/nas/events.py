"""The events of a journal as types: what a line must hold. `convert` ignores fields that nobody reads."""

from datetime import datetime
from typing import Any

import msgspec

from spinet.arch.head_cost import Head


class _Event(msgspec.Struct, tag_field="event", tag=str.lower):
    """A line; its field `event` says of which kind."""


class Search(_Event):
    """The settings of the search."""

    space: dict[str, Any]
    strategy: dict[str, Any]
    proxy: dict[str, Any] | None
    constraints: list["Constrained"] | None


class Constrained(msgspec.Struct):
    """What a constraint says of how costs are counted."""

    image_size: int = 640
    num_classes: int = 91
    head: Head = "retinanet"


class Session(_Event):
    """A start of the driver."""

    started: datetime


class Ask(_Event):
    """A trial that the strategy proposed. Journals of other writers may lack what has a default."""

    trial: int
    choices: tuple[int, ...]
    graph: str
    rung: int
    replicate: int
    seed: int = 0
    draws: int | None = None
    duplicate_of: int | None = None
    notes: dict[str, Any] | None = None


class Retry(_Event):
    """A failed attempt that will be repeated."""

    trial: int
    status: str
    reason: str | None = None


class Tell(_Event):
    """The outcome of a trial."""

    trial: int
    status: str
    reward: float | None
    metrics: dict[str, Any] | None = None
    reason: str | None = None


class Time(_Event):
    """How long a trial took, and when it ended."""

    trial: int
    seconds: float | None = None
    ended: datetime | None = None


Line = Search | Session | Ask | Retry | Tell | Time
