"""What a tracker can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

End = Literal["finished", "stopped", "failed"]


class Tracker(ABC):
    """A service or file that gets a copy of the metrics of one run.

    Attributes:
        name: as users write it.
        where: where the run can be seen, once it has started.
    """

    name: ClassVar[str]

    def __init__(self, run: Path) -> None:
        """Raise a SpinetError if the package is not installed; nothing is written yet."""
        self.run = run
        self.where = ""

    @abstractmethod
    def start(self, identity: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Create a run, or continue the one that `identity` names; return the identity to continue with."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add finite metrics of a step."""

    @abstractmethod
    def add(self, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Add files and pictures of the finished run."""

    @abstractmethod
    def add_trial(self, number: int, settings: Mapping[str, Any], values: Mapping[str, float], failed: bool) -> None:
        """Add a finished trial of a search as a run of its own."""

    @abstractmethod
    def end(self, how: End) -> None:
        """Close the run."""
