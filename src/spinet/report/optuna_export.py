"""A search as an Optuna study, for users of optuna-dashboard.

Each trial becomes one of Optuna's, with parameters in words: `block 02 level`, `block 02 parents`, `block 02 offset`,
`block 02 kind`. Rewards of different rungs do not compare, though Optuna's "best trial" does so; every trial therefore
has its `rung` as an attribute, and the rewards of its graph at the rungs below as intermediate values. Learning curves
are losses, not rewards, and so are attributes (`curve`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.nas.space import Choices, Decision, Space
from spinet.nas.state import SearchState, load_search
from spinet.nas.trial import Record

_HEADER = "spinet_search"
_NUMBER = "trial"


def export_optuna(run: Path, url: str, name: str | None = None) -> int:
    """Add the finished trials of a search to an Optuna study; those that it already has are left alone.

    Args:
        run: folder of the search.
        url: Optuna's storage, such as `sqlite:///search.db`.
        name: of the study; that of the folder by default.

    Returns:
        Number of trials added.

    Raises:
        SpinetError: there is no journal, the storage cannot be opened, optuna is missing, or the study of that name
            is of another search.
    """
    optuna = import_extra("optuna", "search", "export to Optuna")
    search = load_search(run)
    study = _study(optuna, search, url, name or run.resolve().name)
    known = {trial.user_attrs.get(_NUMBER) for trial in study.get_trials(deepcopy=False)}
    missing = [record for record in search.records if record.status and record.number not in known]
    words = TrialParameters(search.space)
    distributions = {
        parameter: optuna.distributions.CategoricalDistribution(options) for parameter, options in words.options.items()
    }
    rewards: dict[int, dict[str, float]] = {}
    for candidate in search.measured():
        rewards.setdefault(candidate.rung, {})[candidate.graph] = candidate.reward
    for record in missing:
        study.add_trial(_frozen(optuna, words.parameters(record.choices), distributions, record, rewards))
    return len(missing)


class TrialParameters:
    """Decisions of a space in words: names of parameters, and what each may be."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._meanings = [self._meaning(decision) for decision in space.decisions]

    @property
    def options(self) -> dict[str, tuple[str | int, ...]]:
        """Name of each parameter and the values it may take."""
        return dict(self._meanings)

    def parameters(self, choices: Choices) -> dict[str, str | int]:
        """Return the parameters of a point."""
        return {name: options[choice] for (name, options), choice in zip(self._meanings, choices, strict=True)}

    def _meaning(self, decision: Decision) -> tuple[str, tuple[str | int, ...]]:
        space, block = self._space, decision.block
        phase = "level" if decision.phase in ("intermediate", "output") else decision.phase
        values: Sequence[str | int]
        if phase == "level":
            values = space.levels[decision.phase == "output"]
        elif phase == "parents":
            values = [" and ".join(map(str, space.pair(block, option))) for option in range(decision.options)]
        else:
            values = space.offsets if phase == "offset" else space.kinds
        return f"block {len(space.stem) + block:02} {phase}", tuple(values)


def _study(optuna: Any, search: SearchState, url: str, name: str) -> Any:
    header = {key: value for key, value in search.header.items() if key != "event"}
    digest = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=10).hexdigest()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(storage=url, study_name=name, direction="maximize", load_if_exists=True)
    except Exception as error:  # whatever the database of the user's choice raises
        reason = " ".join(str(error).split())[:200]
        raise SpinetError(f"could not open Optuna's storage {url}: {type(error).__name__}: {reason}") from error
    finally:
        optuna.logging.set_verbosity(before)
    if study.user_attrs.get(_HEADER, digest) != digest or (study.trials and _HEADER not in study.user_attrs):
        raise SpinetError(f"the study {name!r} in {url} is of another search: give another name (--name)")
    study.set_user_attr(_HEADER, digest)
    for key in ("strategy", "proxy", "data", "constraints", "seed"):
        study.set_user_attr(key, search.header.get(key))
    study.set_user_attr("space", search.space.name)
    return study


def _frozen(
    optuna: Any,
    parameters: Mapping[str, Any],
    distributions: Mapping[str, Any],
    record: Record,
    rewards: Mapping[int, Mapping[str, float]],
) -> Any:
    attributes = {
        _NUMBER: record.number,
        "graph": record.graph,
        "rung": record.rung,
        "replicate": record.replicate,
        "status": record.status,
        "seconds": record.seconds,
        **({"duplicate_of": record.duplicate_of} if record.duplicate_of is not None else {}),
        **({"reason": record.reason} if record.reason else {}),
        **record.metrics,
    }
    below = {
        rung: known[record.graph] for rung, known in rewards.items() if rung < record.rung and record.graph in known
    }
    frozen = optuna.trial.create_trial(
        state=optuna.trial.TrialState.COMPLETE if record.done else optuna.trial.TrialState.FAIL,
        value=record.reward if record.done else None,
        params=dict(parameters),
        distributions=dict(distributions),
        user_attrs=attributes,
        intermediate_values=below | ({record.rung: record.reward} if record.done else {}),
    )
    if record.ended:
        ended = record.ended.astimezone().replace(tzinfo=None)  # Optuna has local times
        frozen.datetime_start, frozen.datetime_complete = ended - timedelta(seconds=record.seconds), ended
    return frozen
