"""What a visitor chose to see of the predictions; nothing of it runs a model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinet.draw.colours import FILL
from spinet.predict.results import DetectionResult


@dataclass(frozen=True)
class Choices:
    """Which objects are shown, and how.

    Attributes:
        threshold: the lowest score.
        classes: names of the classes; all if there are none.
        opacity: of masks inside their outline, from 0 to 1.
    """

    threshold: float = 0.3
    classes: tuple[str, ...] = ()
    opacity: float = FILL

    def of_classes(self, names: tuple[str, ...]) -> NDArray[np.bool_]:
        """Return which of these objects are of a chosen class, `(N,)`."""
        if not self.classes:
            return np.ones(len(names), dtype=bool)
        return np.array([name in self.classes for name in names], dtype=bool)

    def rows(self, result: DetectionResult) -> NDArray[np.bool_]:
        """Return which objects are shown, `(N,)`."""
        shown: NDArray[np.bool_] = (result.scores >= self.threshold) & self.of_classes(result.class_names)
        return shown
