"""One training at a time in a run folder, and nothing written where the folder was removed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from spinet.engine.run_folder import LOCK, exclusive
from spinet.engine.train import train
from spinet.errors import SpinetError

HOLDS = """
import os, sys, time
from pathlib import Path
from spinet.engine.run_folder import exclusive
with exclusive(Path(sys.argv[1])):
    if "forks" in sys.argv and os.fork():
        time.sleep(600)  # the forked process says that it is there
    Path(sys.argv[2]).write_text("")
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Return a function that starts a process which trains in a folder, so to say, in a session of its own."""
    started = []

    def start(run, *more):
        ready = tmp_path / f"ready{len(started)}"
        process = subprocess.Popen([sys.executable, "-c", HOLDS, run, ready, *more], start_new_session=True)
        started.append(process)
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_second_training_in_a_folder_is_refused_by_the_process_that_trains(short, tmp_path, holder):
    process = holder(tmp_path / "run")
    with pytest.raises(SpinetError, match=f"run is being trained by process {process.pid}; wait for it to end, stop"):
        train(short, tmp_path / "run", quiet=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


@pytest.mark.parametrize("more", [(), ("forks",)])
def test_a_killed_process_leaves_the_folder_free_at_once_even_if_what_it_forked_lives(tmp_path, holder, more):
    process = holder(tmp_path / "run", *more)
    process.kill()
    process.wait()
    with exclusive(tmp_path / "run"):
        pass
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_lock_is_kept_while_a_process_is_forked(tmp_path, holder):
    holder(tmp_path / "run", "forks")
    with pytest.raises(SpinetError, match="is being trained by"), exclusive(tmp_path / "run"):
        pass


def test_a_folder_that_nothing_was_written_into_is_removed_again_and_an_older_one_is_not(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("new", "old"):
        with exclusive(tmp_path / name):
            assert (tmp_path / name / LOCK).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_the_lock_of_a_folder_that_was_replaced_meanwhile_is_left_alone(tmp_path):
    run = tmp_path / "run"
    with exclusive(run):
        shutil.rmtree(run)
        with exclusive(run):
            pass
        (run / LOCK).parent.mkdir()
        (run / LOCK).write_text("1 elsewhere\n")
    assert (run / LOCK).read_text() == "1 elsewhere\n"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("a file")
    with (
        pytest.raises(SpinetError, match="the run folder .*run is a file; name a folder, which is created"),
        exclusive(tmp_path / "run"),
    ):
        pass


@pytest.mark.slow
def test_a_run_folder_that_is_removed_while_it_trains_is_not_made_again_in_parts(config, tmp_path, stop_at):
    stop_at(2, lambda run: shutil.rmtree(run))
    with pytest.raises(SpinetError, match="was removed or emptied while it was trained"):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
