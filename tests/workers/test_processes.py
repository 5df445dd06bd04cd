import subprocess
import sys
from pathlib import Path

import pytest
from executor_contract import ExecutorContract, gone, written
from worker_jobs import loaded, variable

from spinet.errors import SpinetError
from spinet.workers.executors import InProcess
from spinet.workers.processes import ProcessExecutor, threads_each, visible_gpus


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def start(self):
        return ProcessExecutor


@pytest.mark.slow
def test_workers_share_gpus_in_turn_and_threads_equally():
    with ProcessExecutor(1, gpus=("3",)) as executor:
        assert executor.submit(variable, "CUDA_VISIBLE_DEVICES").result() == "3"
        assert executor.device == "GPUs 3"
    with ProcessExecutor(2) as executor:
        assert executor.submit(variable, "OMP_NUM_THREADS").result() == str(threads_each(2))


def test_a_worker_loads_torch_only_if_its_job_does():
    with ProcessExecutor(1) as executor:
        assert not executor.submit(loaded, "torch").result()


def test_threads_are_divided_and_at_least_one(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_each(10_000) == 1
    assert threads_each(1) >= threads_each(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_each(1) == 1


def test_visible_gpus_are_those_of_the_variable(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5")
    assert visible_gpus() == ["2", "GPU-5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_no_more_gpus_are_used_than_there_are_workers_and_threads_are_as_set():
    with ProcessExecutor(1, gpus=("0", "1")) as executor:
        assert executor.device == "GPUs 0"
    with ProcessExecutor(2, threads=3) as executor:
        assert executor.device == "cpu, 3 threads each"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_an_invalid_timeout_is_an_error(timeout):
    with pytest.raises(SpinetError, match="must be a finite number of seconds above 0"):
        ProcessExecutor(1, timeout)
    with pytest.raises(SpinetError, match="must be a finite number of seconds above 0"):
        InProcess(timeout)


def test_zero_workers_are_an_error():
    with pytest.raises(SpinetError, match="workers must be at least 1, got 0"):
        ProcessExecutor(0)


ORPHANS = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from worker_jobs import wait_for
from spinet.workers.executors import InProcess
from spinet.workers.processes import ProcessExecutor
if __name__ == "__main__":
    executor = ProcessExecutor(2)
    for name in ("one", "two"):
        executor.submit(wait_for, sys.argv[1], name)
    if sys.argv[3] == "returns":
        # A file is there before its content, which the test waits for.
        files = [Path(sys.argv[1], name) for name in ("one", "two")]
        while not all(file.exists() and file.read_text() for file in files):
            time.sleep(0.01)
    else:
        time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "returns"])
def test_workers_end_with_their_driver_even_in_the_middle_of_a_job(tmp_path, end):
    script = tmp_path / "driver.py"
    script.write_text(ORPHANS)
    driver = subprocess.Popen([sys.executable, script, tmp_path, Path(__file__).parents[1] / "support", end])
    processes = [written(tmp_path / name) for name in ("one", "two")]
    if end == "killed":
        driver.kill()
    assert driver.wait(60) == (0 if end == "returns" else -9)
    assert all(gone(process) for process in processes)
