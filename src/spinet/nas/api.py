"""A search from Python: any function of an architecture as the objective."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinet.arch.catalog import Architecture
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError
from spinet.nas.config import SearchConfig
from spinet.nas.constraints import Constraint, default_constraints, parse_constraint
from spinet.nas.evaluation import STATUS, TrialError
from spinet.nas.run import SearchResult, run_search
from spinet.nas.settings import StrategySettings
from spinet.nas.space import Space
from spinet.nas.spaces import load_space
from spinet.nas.strategies import create_strategy, strategy_settings
from spinet.workers.executors import InProcess
from spinet.workers.processes import ProcessExecutor

Objective = Callable[[Architecture], float]


def search(
    space: str | Path | Space,
    objective: Objective,
    run: str | Path,
    *,
    trials: int = 100,
    strategy: str | StrategySettings = "controller",
    constraints: str | Sequence[str | Constraint] | None = None,
    seed: int = 0,
    workers: int = 1,
    timeout: float | None = None,
    quiet: bool = False,
) -> SearchResult:
    """Search a space for the architecture with the highest value of `objective`; the same call resumes.

    >>> from spinet.arch.cost import backbone_cost
    >>> def few_parameters(architecture):
    ...     return -backbone_cost(architecture, 640).parameters / 1e6
    >>> result = search("spinenet49", few_parameters, "runs/small", trials=20)  # doctest: +SKIP
    >>> result.best_reward, result.best, result.trials[3].reward  # doctest: +SKIP

    Args:
        space: name, JSON file, or the space itself.
        objective: from an architecture at full size to its reward, higher is better. An error that it raises, or a
            reward that is not finite, fails the trial and nothing else. With several workers it must be importable
            by other processes: a function of a module, not a lambda.
        run: folder of the search; receives `journal.jsonl` and `best.json`.
        trials: number of trials in all, those of earlier calls included.
        strategy: a name of `STRATEGIES`, or settings.
        constraints: windows that architectures must lie in, also as strings such as `"macs=84e9:86e9"`; by default
            those of the space.
        seed: of everything random; `objective` has its own.
        workers: 1 runs the objective in this process, more in as many others.
        timeout: seconds that a trial may take.
        quiet: show no progress.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; finished trials are kept.
        SpinetError: a setting is invalid, the folder holds another search, or too many trials failed.
    """
    space = space if isinstance(space, Space) else load_space(space)
    settings = strategy_settings(strategy, seed)
    windows = default_constraints(space)
    if isinstance(constraints, str):
        constraints = (constraints,)
    if constraints is not None:
        windows = tuple(parse_constraint(window) if isinstance(window, str) else window for window in constraints)
    name = getattr(objective, "__qualname__", type(objective).__name__)
    config = SearchConfig(space, settings.to_dict(), {"name": name}, None, windows, seed, trials=trials)
    if workers > 1:
        _check_pickles(objective)
    evaluate = _Evaluation(objective, space.scaling)
    with ProcessExecutor(workers, timeout) if workers != 1 else InProcess(timeout) as executor:
        result = run_search(config, run, create_strategy(settings, space), evaluate, executor, quiet=quiet)
    if result.ended == "interrupted":  # a script must not take half a search for a whole one
        raise result.stopped(run, trials)
    return result


@dataclass(frozen=True)
class _Evaluation:
    """An objective as the loop calls it."""

    objective: Objective
    scaling: Scaling

    def __call__(self, genotype: Genotype, **_: int) -> dict[str, Any]:
        """Call the objective; rungs, seeds and split batches are for proxies."""
        try:
            return {"reward": float(self.objective(Architecture(genotype, self.scaling)))}
        except tuple(STATUS):
            raise
        except Exception as error:
            raise TrialError(f"{type(error).__name__}: {error}") from error


def _check_pickles(objective: Objective) -> None:
    try:
        pickle.dumps(objective)
    except Exception as error:  # PicklingError, AttributeError, TypeError
        raise SpinetError(
            f"the objective cannot be sent to worker processes ({error}): define it at the top level of a module, or "
            "use workers=1"
        ) from None
