"""Images that cannot be read while a model is trained or evaluated: left out, counted, and refused when many."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self, TypeVar

from torch import Tensor

from spinet.data.dataset import ImageDataset
from spinet.errors import SpinetError
from spinet.formats.findings import is_systematic, of, some
from spinet.formats.images import ImageError

Say = Callable[[str], None]
Images = TypeVar("Images", bound=ImageDataset)
# Images that a message names, and that a training names one by one.
NAMED = 4


class Fault(NamedTuple):
    """An image that cannot be read: its number in its split, from 1, its file for messages, and why."""

    number: int
    file: str
    reason: str

    @classmethod
    def of(cls, sample: Any, error: ImageError) -> Self:
        """Return the fault of a sample of a dataset."""
        return cls(sample.number, f"{sample.path.parent.name}/{sample.path.name}", error.reason)


class Unread:
    """The images of a split that could not be read so far, each counted once.

    Attributes:
        faults: by the number of the image.
    """

    def __init__(self, split: str, total: int, found: Iterable[Fault] = (), say: Say | None = None) -> None:
        """Start with what was `found` before.

        Args:
            split: for messages.
            total: how many images the split has.
            found: earlier faults, by this or another process.
            say: is told the first few new ones, one by one.
        """
        self.split, self.total, self._say = split, total, say
        self.faults = {fault.number: fault for fault in found}

    def add(self, faults: Iterable[Fault]) -> None:
        """Count the faults of a batch.

        Raises:
            SpinetError: more than a few per cent of the images cannot be read.
        """
        for fault in faults:
            if fault.number in self.faults:
                continue
            self.faults[fault.number] = fault
            if self._say and len(self.faults) <= NAMED:
                self._say(f"{self.split}: the image {fault.file} cannot be read: {fault.reason}")
        if is_systematic(len(self.faults), self.total):
            raise SpinetError(f"{self.text()}; replace or delete them: `spinet doctor` looks at all images")

    def image_of(self, dataset: Any, index: int) -> Tensor | None:
        """Return an image of a dataset, or None for one that cannot be read, which is counted."""
        try:
            image: Tensor = dataset.image(index)
        except ImageError as error:
            self.add([Fault.of(dataset.samples[index], error)])
            return None
        return image

    def text(self) -> str:
        """Return how many images could not be read, which, and why; empty if all could."""
        if not self.faults:
            return ""
        first = min(self.faults.values())
        names = some((fault.file for fault in sorted(self.faults.values())), NAMED)
        return f"{self.split}: {of(len(self.faults), self.total)} images cannot be read ({names}): {first.reason}"

    def readable(self, dataset: Images) -> Images:
        """Return the dataset without these images."""
        if not self.faults:
            return dataset
        return dataset.subset(at for at, sample in enumerate(dataset.samples) if sample.number not in self.faults)


def warn(text: str) -> None:
    """Say something about the data as a warning of Python's, where nobody else prints it."""
    warnings.warn(text, UserWarning, stacklevel=2)
