"""What the datasets of detectors and classifiers share."""

from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from spinet.formats.findings import Finding
from spinet.formats.images import read_image


class ImageDataset:
    """One split of a dataset; `samples` have an `image_id` and a `path`, `findings` are about its files.

    `division` is how the split was chosen, for `division_record`; None if the dataset has it.
    """

    samples: list[Any]
    findings: Sequence[Finding] = ()
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    annotation_file: Path
    division: tuple[dict[str, Any], Any] | None = None

    def __init__(self, root: str | Path, split: str, cache_images: bool) -> None:
        self.root, self.split = Path(root), split
        # A part of an undivided dataset is read as a whole.
        self._read_as = split
        # By image id, so that subsets share it.
        self._cache: dict[int, Tensor] | None = {} if cache_images else None

    def __len__(self) -> int:
        return len(self.samples)

    def subset(self, indices: Iterable[int]) -> Self:
        """Return a view of the images at these indices, with the same classes and cache."""
        view = copy(self)
        view.samples = [self.samples[index] for index in indices]
        return view

    def without_masks(self) -> Self:
        """Return what opening the dataset without masks would give."""
        return self

    def _read(self, sample: Any, size: tuple[int, int] | None = None) -> Tensor:
        if self._cache is not None and sample.image_id in self._cache:
            return self._cache[sample.image_id]
        image = read_image(sample.path, size)
        if self._cache is not None:
            self._cache[sample.image_id] = image
        return image
