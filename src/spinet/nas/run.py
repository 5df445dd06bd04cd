"""The loop of every search: ask, evaluate, tell, whatever the strategy, the evaluation and the machines."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Literal

from spinet.arch.catalog import Architecture
from spinet.errors import SpinetError, Stopped
from spinet.nas.config import SearchConfig
from spinet.nas.driver import Driver
from spinet.nas.evaluation import STATUS, AttemptResult, Evaluate, attempt, failure
from spinet.nas.journal import NAME, Journal
from spinet.nas.progress import SearchDisplay
from spinet.nas.state import SearchState
from spinet.nas.trial import Record, Strategy
from spinet.stop import Interrupted, how, stop_on_signals
from spinet.workers.executors import TrialExecutor


@dataclass(frozen=True)
class SearchResult:
    """How a search ended.

    Args:
        ended: `"finished"` after all trials, `"interrupted"` by a signal.
        finished: number of trials whose outcome is known.
        trials: all of them, with their outcomes.
        best: the best architecture, at full size; None while no trial is done.
        best_reward: its mean reward.
        best_trial: the first trial that measured it.
        stopped_by: the signal that asked the search to stop; 0 if none did.
    """

    ended: Literal["finished", "interrupted"]
    finished: int
    trials: list[Record] = field(repr=False)
    best: Architecture | None = None
    best_reward: float | None = None
    best_trial: Record | None = None
    stopped_by: int = 0

    def stopped(self, run: str | Path, trials: int) -> Stopped:
        """Return the exception for a search of so many trials that was interrupted."""
        return Stopped(
            f"stopped by {how(self.stopped_by)} after {self.finished} of {trials} trials, which {Path(run) / NAME} "
            "keeps; run the same command again to resume",
            self.stopped_by,
        )


def run_search(
    config: SearchConfig,
    run: str | Path,
    strategy: Strategy,
    evaluate: Evaluate,
    executor: TrialExecutor,
    *,
    quiet: bool = False,
    observe: Callable[[SearchState], None] | None = None,
) -> SearchResult:
    """Start or resume a search, until `config.trials` are finished or a signal arrives.

    `run` receives `journal.jsonl` and `best.json`, which `train` reads. Killed at any moment and started again, a
    search loses no result and repeats no finished training. In process it is a function of `config` alone; with more
    workers each reward is, but not their order, and so not what the strategy makes of them.

    Args:
        config: what to search.
        run: the run folder.
        strategy: a fresh one, of `config.strategy`.
        evaluate: from a genotype to its reward.
        executor: where evaluations run; the caller closes it, which ends those still running.
        quiet: show no progress.
        observe: called with the state of the search at the start and whenever trials have ended.

    Raises:
        SpinetError: the journal is of another search, corrupt, in use or cannot be written; the constraints accept
            nothing; too many trials fail; or there is an error not caused by a trial: fix it and re-run to resume.
    """
    with Journal(run) as journal, stop_on_signals() as stop:
        driver = Driver(config, Path(run), journal, strategy)
        driver.start(executor.workers, executor.name, executor.device)
        running: dict[Future[AttemptResult], Record] = {}
        ended: Literal["finished", "interrupted"] = "finished"
        with SearchDisplay(config.trials, driver.state, quiet) as display:

            def pause(shown: bool) -> None:
                with stop.interruptible():
                    pass
                if shown:
                    display.update(driver.state)

            def ended_some() -> None:
                display.update(driver.state)
                if observe:
                    observe(driver.state)

            try:
                ended_some()
                while True:
                    while len(running) < executor.workers and (record := driver.next(executor.workers, pause)):
                        display.begin(record.number)
                        job = (evaluate, driver.genotype(record), record.rung, record.seed)
                        with stop.interruptible():
                            future = executor.submit(attempt, *job, 2 ** record.attempts("oom"))
                            running[future] = record
                    if not running:
                        ended_some()  # the last ones may have been duplicates
                        break
                    with stop.interruptible():
                        wait(running, return_when=FIRST_COMPLETED)
                    _conclude(driver, running)
                    ended_some()
                    driver.check()
            except Interrupted:
                ended = "interrupted"
                _conclude(driver, running)
                ended_some()
        state = driver.state
        result = SearchResult(ended, state.finished, state.records, stopped_by=stop.requested)
        if state.best is None:
            return result
        return replace(result, best=driver.best(), best_reward=state.best.reward, best_trial=state.best.first)


def _conclude(driver: Driver, running: dict[Future[AttemptResult], Record]) -> None:
    """Record the attempts that have ended, also where a worker could not send a result; raise any other error."""
    done = [(future, future.exception()) for future in running if future.done()]
    # Results that came at the same time are kept, whatever else is raised.
    for future, error in sorted(done, key=lambda item: not isinstance(item[1], (NoneType, *STATUS))):
        if isinstance(error, SpinetError) and isinstance(error, tuple(STATUS)):
            result = failure(error)
        else:
            result = future.result()
        driver.conclude(running.pop(future), result)
