"""The loop of every search: ask, evaluate, tell, whatever the strategy, the evaluation and the machines."""

from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spinet.errors import SpinetError
from spinet.nas.config import SearchConfig
from spinet.nas.driver import Driver
from spinet.nas.evaluation import STATUS, Evaluate, Report, attempt, failure
from spinet.nas.journal import Journal
from spinet.nas.progress import Display
from spinet.nas.state import Best, OpenTrial
from spinet.nas.stop import Interrupted, stop_on_signals
from spinet.nas.trial import Strategy
from spinet.workers.executors import TrialExecutor


@dataclass(frozen=True)
class SearchResult:
    """How a search ended.

    Args:
        told: trials whose outcome is known.
        best: the best of them.
        ended: `"finished"` after all trials, `"interrupted"` by a signal.
    """

    told: int
    best: Best | None
    ended: Literal["finished", "interrupted"]


def search(
    config: SearchConfig,
    run: Path,
    strategy: Strategy,
    evaluate: Evaluate,
    executor: TrialExecutor,
    *,
    quiet: bool = False,
    snapshot_seconds: float = 60.0,
) -> SearchResult:
    """Search, or go on with a search, until `config.trials` are told or a signal comes.

    `run` receives `journal.jsonl`, `best.json`, which `train` reads, and snapshots of the strategy. Killed at any
    moment and started again, a search loses no result and repeats no finished training. In process it is a function
    of `config` alone; with more workers each reward is, but not their order, and so not what the strategy makes of
    them.

    Args:
        config: what to search.
        run: the run folder.
        strategy: a fresh one, of `config.strategy`.
        evaluate: from a genotype to its reward.
        executor: where evaluations run; the caller closes it, which ends those that still do.
        quiet: show nothing.
        snapshot_seconds: least time between two snapshots of a strategy that has them.

    Raises:
        SpinetError: the journal is of another search, damaged, in use or cannot be written; the constraints accept
            nothing; too many trials fail; or nothing can be evaluated, which no trial is blamed for: mended, the same
            command goes on.
    """
    with Journal(run) as journal, stop_on_signals() as stop:
        driver = Driver(config, run, journal, strategy, snapshot_seconds)
        driver.start(executor.workers, executor.name, executor.device)
        running: dict[Future[Report], OpenTrial] = {}
        ended: Literal["finished", "interrupted"] = "finished"
        with Display(config.trials, driver.state, quiet) as display:

            def pause(shown: bool) -> None:
                with stop.interruptible():
                    pass
                if shown:
                    display.update(driver.state)

            try:
                while True:
                    while len(running) < executor.workers and (known := driver.next(executor.workers, pause)):
                        job = (evaluate, driver.genotype(known), known.trial.rung, known.trial.seed)
                        with stop.interruptible():
                            future = executor.submit(attempt, *job, 2 ** known.retries["oom"])
                            running[future] = known
                    if not running:
                        display.update(driver.state)  # the last ones may have been duplicates
                        break
                    with stop.interruptible():
                        wait(running, return_when=FIRST_COMPLETED)
                    _conclude(driver, running)
                    display.update(driver.state)
                    driver.check()
            except Interrupted:
                ended = "interrupted"
                _conclude(driver, running)
        return SearchResult(driver.state.told, driver.state.best, ended)


def _conclude(driver: Driver, running: dict[Future[Report], OpenTrial]) -> None:
    done = [each for each in running if each.done()]
    # What was finished at the same time is kept, whatever else is raised.
    for future in sorted(done, key=lambda each: _is_raised(each.exception())):
        driver.conclude(running.pop(future), _report(future))


def _report(future: Future[Report]) -> Report:
    """What came of an attempt, also where the worker could not say it; what is not of the trial is raised as it is."""
    error = future.exception()
    if isinstance(error, SpinetError) and not _is_raised(error):
        return failure(error)
    return future.result()


def _is_raised(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, tuple(STATUS))
