"""A search killed at random moments loses nothing, repeats nothing and ends with the same result."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_search.py"


@pytest.mark.slow
def test_a_killed_search_ends_like_an_uninterrupted_one():
    command = [sys.executable, SCRIPT, "--kills", "12", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    in_process, processes = done.stdout.splitlines()
    assert "6 kills of the driver, 0 of a worker" in in_process
    assert "3 kills of the driver, 3 of a worker" in processes
    assert not done.stderr


@pytest.mark.slow
def test_a_second_driver_is_rejected_with_one_sentence_while_the_first_continues(tmp_path):
    held = "import sys; from pathlib import Path; from spinet.nas.journal import Journal\n"
    held += "journal = Journal(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    first = subprocess.Popen(
        [sys.executable, "-c", held, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "open\n"
    second = subprocess.run([sys.executable, "-c", held, tmp_path], input="", capture_output=True, text=True)
    assert second.returncode == 1
    assert "SpinetError: another search is writing" in second.stderr.splitlines()[-1]
    first.kill()  # a lock goes with its process
    first.communicate()
    third = subprocess.run([sys.executable, "-c", held, tmp_path], input="", capture_output=True, text=True)
    assert third.stdout == "open\n"
