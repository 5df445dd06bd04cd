"""The contract of every executor with workers of its own; subclasses provide the fixture `start`.

`start(workers, timeout=None)` returns an executor that the test closes.
"""

import os
import signal
import time
from concurrent.futures import wait
from pathlib import Path
from threading import Thread

import pytest
from null_trials import TINY, Evaluation, RandomDraws, configuration, events
from worker_jobs import own_process, refuse, wait_for

from spinet.errors import OutOfMemory, SpinetError, TrialTimeout, WorkerLost
from spinet.nas.run import run_search


def written(path, seconds=60):
    until = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"{path} was not written"
        time.sleep(0.01)
    return int(path.read_text())


def is_alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(process, seconds=60):
    until = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(process)


def outcomes(run):
    """Outcomes by what was evaluated: the order of trials depends on the workers."""
    asks = {ask["trial"]: ask for ask in events(run, "ask")}
    return {
        (asks[tell["trial"]]["graph"], asks[tell["trial"]]["seed"]): (tell["status"], tell["reward"], tell["metrics"])
        for tell in events(run, "tell")
    }


class ExecutorContract:
    def test_jobs_run_at_the_same_time_in_workers_that_are_kept(self, start, tmp_path):
        with start(2) as executor:
            assert executor.workers == 2
            futures = [executor.submit(wait_for, str(tmp_path), name) for name in ("one", "two")]
            processes = {written(tmp_path / "one"), written(tmp_path / "two")}
            (tmp_path / "go").write_text("")
            assert {future.result() for future in futures} == processes
            assert len(processes | {os.getpid()}) == 3
            assert {executor.submit(own_process).result() for _ in range(6)} <= processes
        assert all(gone(process) for process in processes)

    def test_a_killed_worker_loses_its_own_job_only_and_is_replaced(self, start, tmp_path):
        with start(2) as executor:
            one, two = (executor.submit(wait_for, str(tmp_path), name) for name in ("one", "two"))
            victim, other = written(tmp_path / "one"), written(tmp_path / "two")
            os.kill(victim, signal.SIGKILL)
            with pytest.raises(WorkerLost):
                one.result()
            assert not two.done()
            again = executor.submit(wait_for, str(tmp_path), "three")
            assert written(tmp_path / "three") not in (victim, other)
            (tmp_path / "go").write_text("")
            assert two.result() == other
            assert again.result() not in (victim, other)

    def test_a_worker_killed_between_jobs_is_replaced(self, start):
        with start(1) as executor:
            first = executor.submit(own_process).result()
            os.kill(first, signal.SIGKILL)
            assert gone(first)
            wait([executor.submit(own_process)])
            assert executor.submit(own_process).result() != first

    def test_a_job_that_takes_too_long_ends_with_its_worker(self, start, tmp_path):
        with start(1, timeout=2.0) as executor:
            executor.submit(own_process).result()
            future = executor.submit(wait_for, str(tmp_path), "slow")
            process = written(tmp_path / "slow")
            with pytest.raises(TrialTimeout, match="longer than 2 s"):
                future.result()
            assert gone(process)
            assert executor.submit(own_process).result() != process

    def test_errors_keep_their_class_and_message_and_the_worker_continues(self, start):
        with start(1) as executor:
            process = executor.submit(own_process).result()
            with pytest.raises(OutOfMemory, match="too big"):
                executor.submit(refuse, OutOfMemory, "too big").result()
            with pytest.raises(SpinetError, match="no such block"):
                executor.submit(refuse, SpinetError, "no such block").result()
            assert executor.submit(own_process).result() == process

    def test_a_worker_that_fails_unexpectedly_is_replaced(self, start):
        with start(1) as executor:
            process = executor.submit(own_process).result()
            with pytest.raises(WorkerLost, match=r"given up after RuntimeError: CUDA error"):
                executor.submit(refuse, RuntimeError, "CUDA error").result()
            assert executor.submit(own_process).result() != process
            assert gone(process)

    def test_closing_ends_running_jobs(self, start, tmp_path):
        with start(1) as executor:
            executor.submit(wait_for, str(tmp_path), "one")
            waiting = executor.submit(own_process)
            process = written(tmp_path / "one")
        assert gone(process)
        assert waiting.cancelled() or isinstance(waiting.exception(), WorkerLost)

    @pytest.mark.slow
    def test_one_two_and_four_workers_give_the_same_reward_for_the_same_trial(self, start, tmp_path):
        config = configuration(trials=24)
        for workers in (1, 2, 4):
            with start(workers) as executor:
                run_search(config, tmp_path / str(workers), RandomDraws(), Evaluation(nan=0.05), executor, quiet=True)
        # An independent strategy's proposals do not hang on the order of tells.
        assert len(outcomes(tmp_path / "1")) > 20
        assert outcomes(tmp_path / "1") == outcomes(tmp_path / "2") == outcomes(tmp_path / "4")

    def test_a_duplicate_waits_for_its_original(self, start, tmp_path):
        log, config = tmp_path / "log", configuration(TINY, trials=6)
        with start(2) as executor:
            run_search(config, tmp_path, RandomDraws(TINY), Evaluation(str(log), seconds=0.2), executor, quiet=True)
        asks, tells = events(tmp_path, "ask"), events(tmp_path, "tell")
        assert len([line for line in log.read_text().splitlines() if "begin" in line]) == 2
        told = {tell["trial"]: (tell["reward"], tell["metrics"]) for tell in tells}
        twins = [ask for ask in asks if ask["duplicate_of"] is not None]
        assert len(twins) == 4
        assert all(told[ask["trial"]] == told[ask["duplicate_of"]] for ask in twins)

    def test_a_signal_ends_the_search_and_the_workers_and_open_trials_are_repeated(self, start, tmp_path):
        log, config, slow = tmp_path / "log", configuration(trials=4), Evaluation(str(tmp_path / "log"), seconds=600)
        with start(2) as executor:

            def interrupt():
                while not log.exists() or log.read_text().count("begin") < 2:
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGINT)

            Thread(target=interrupt).start()
            result = run_search(config, tmp_path, RandomDraws(), slow, executor, quiet=True)
        assert (result.ended, result.finished) == ("interrupted", 0)
        assert all(gone(int(line.split()[2])) for line in log.read_text().splitlines())
        with start(2) as executor:
            assert run_search(config, tmp_path, RandomDraws(), Evaluation(), executor, quiet=True).finished == 4
        assert len(events(tmp_path, "ask")) == 4

    def test_a_trial_whose_worker_was_killed_is_repeated_with_the_same_seed(self, start, tmp_path):
        config = configuration(trials=8)
        log, run = tmp_path / "log", tmp_path / "run"
        with start(2) as executor:
            run_search(config, tmp_path / "whole", RandomDraws(), Evaluation(), executor, quiet=True)
        with start(2) as executor:
            run_search(
                config, run, RandomDraws(), KillsItself(str(log), marker=str(tmp_path / "done")), executor, quiet=True
            )
        assert outcomes(run) == outcomes(tmp_path / "whole")
        (retry,) = events(run, "retry")
        assert (retry["status"], retry["attempt"]) == ("lost", 1)
        ended = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("end")]
        assert len(ended) == len(set(ended))

    def test_a_trial_that_kills_every_worker_is_given_up_after_two_more(self, start, tmp_path):
        with start(1) as executor:
            run_search(configuration(trials=1), tmp_path, RandomDraws(), KillsItself(), executor, quiet=True)
        assert [retry["attempt"] for retry in events(tmp_path, "retry")] == [1, 2]
        (tell,) = events(tmp_path, "tell")
        assert (tell["status"], tell["reward"]) == ("lost", None)


class KillsItself(Evaluation):
    """Kills its worker, only once if it has a marker."""

    def __init__(self, log="", marker=""):
        super().__init__(log, 0.05)
        object.__setattr__(self, "marker", marker)

    def __call__(self, genotype, *, rung, seed, accumulate):
        self._note(f"begin {seed} {os.getpid()}")
        try:
            if self.marker:
                Path(self.marker).touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            return super().__call__(genotype, rung=rung, seed=seed, accumulate=accumulate)
