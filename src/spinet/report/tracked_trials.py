"""The trials of a search in experiment trackers."""

import math
from collections.abc import Mapping
from typing import Any

from spinet.nas.state import SearchState
from spinet.report.optuna_export import TrialParameters
from spinet.track.trackers import Trackers


def add_trials(trackers: Trackers, about: Mapping[str, Any], state: SearchState) -> None:
    """Add the trials that have ended and are not in the trackers yet, with their choices in words.

    The first call starts the trackers, with settings `about` the search: by then it has the journal for itself.
    """
    if not trackers.has_started:
        trackers.start(about)
    if not trackers:
        return
    words = TrialParameters(state.space)
    for record in state.records:
        if not record.status:
            continue
        settings = {"graph": record.graph, "rung": record.rung, "status": record.status, "seed": record.seed}
        numbers = {"reward": record.reward, "seconds": record.seconds, **record.metrics}
        values = {
            name: float(value)
            for name, value in numbers.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        trackers.add_trial(record.number, settings | words.parameters(record.choices), values, not record.done)
