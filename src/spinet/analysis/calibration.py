"""Whether scores are probabilities: of detections scored 0.8, are 80 % right?"""

from typing import NamedTuple

import numpy as np

from spinet.analysis.records import Booleans, Floats, Integers

BINS = 10


class Calibration(NamedTuple):
    """Scores by bins of equal width.

    Attributes:
        counts: `(B,)`, predictions per bin.
        scores: `(B,)`, their mean score; NaN for an empty bin.
        right: `(B,)`, the fraction of them that is right; NaN for an empty bin.
        error: expected calibration error: the mean distance of the two, weighted by counts; NaN without predictions.
    """

    counts: Integers
    scores: Floats
    right: Floats
    error: float


def calibration(scores: Floats, right: Booleans, bins: int = BINS) -> Calibration:
    """Compare scores with the fraction of right predictions.

    >>> calibration(np.array([0.95, 0.95]), np.array([True, False])).error
    0.45
    """
    which = np.minimum((scores * bins).astype(np.int64), bins - 1)
    counts = np.bincount(which, minlength=bins)
    means, fractions = (
        np.divide(np.bincount(which, values, bins), counts, out=np.full(bins, np.nan), where=counts > 0)
        for values in (scores, right.astype(np.float64))
    )
    distance = np.nansum(np.abs(means - fractions) * counts) / len(scores) if len(scores) else np.nan
    return Calibration(counts, means, fractions, round(float(distance), 12))
