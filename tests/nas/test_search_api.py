"""`search` from Python, with a user's objective."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from null_trials import SMALL, events, reproducible

from spinet.arch.catalog import load_architecture
from spinet.errors import SpinetError
from spinet.nas.api import search
from spinet.nas.settings import EvolutionSettings

SETTINGS = {"strategy": EvolutionSettings("small", population=4, sample=2), "constraints": (), "quiet": True}


def mean_level(architecture):
    """An objective that other processes can import."""
    blocks = architecture.genotype.blocks
    return sum(block.level for block in blocks) / len(blocks)


def fails_for_deep_graphs(architecture):
    if mean_level(architecture) > 3.8:
        raise ZeroDivisionError("too\ndeep")
    return mean_level(architecture)


def always_fails(architecture):
    raise KeyError(architecture.genotype.blocks[0].kind[:0])


def test_the_result_is_the_architecture_with_the_highest_value(tmp_path):
    result = search(SMALL, mean_level, tmp_path, trials=30, **SETTINGS)

    assert (result.ended, len(result.trials)) == ("finished", 30)
    assert result.best_reward == mean_level(result.best) == max(trial.reward for trial in result.trials)
    assert result.best == load_architecture(tmp_path / "best.json")
    assert "by the proxy mean_level" in result.best.source


def test_the_same_call_resumes_and_ends_like_an_uninterrupted_search(tmp_path):
    search(SMALL, mean_level, tmp_path / "whole", trials=30, **SETTINGS)
    search(SMALL, mean_level, str(tmp_path / "halves"), trials=13, **SETTINGS)
    search(SMALL, mean_level, tmp_path / "halves", trials=30, **SETTINGS)

    assert reproducible(tmp_path / "halves") == reproducible(tmp_path / "whole")


def test_an_interrupted_search_is_no_result(tmp_path):
    calls = []

    def interrupted(architecture):
        calls.append(architecture)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        return mean_level(architecture)

    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C after 3 of 8 trials"):
        search(SMALL, interrupted, tmp_path, trials=8, **SETTINGS)

    assert search(SMALL, interrupted, tmp_path, trials=8, **SETTINGS).finished == 8


SLOWLY = """
import sys, time
sys.path[:0] = ["tests/nas", "tests/support"]
from test_search_api import SETTINGS, SMALL, mean_level, search
def mean_level(architecture, exact=mean_level):
    time.sleep(0.02)
    return exact(architecture)
search(SMALL, mean_level, sys.argv[1], trials=40, **SETTINGS)
"""


@pytest.mark.slow
def test_killed_at_any_moment_the_same_call_ends_like_an_uninterrupted_search(tmp_path, pytestconfig):
    search(SMALL, mean_level, tmp_path / "whole", trials=40, **SETTINGS)
    run = tmp_path / "run"
    for lines in (5, 40, 70):
        killed = subprocess.Popen([sys.executable, "-c", SLOWLY, run], cwd=pytestconfig.rootpath)
        journal = run / "journal.jsonl"
        while killed.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < lines):
            time.sleep(0.005)
        killed.kill()
        killed.wait()
    search(SMALL, mean_level, run, trials=40, **SETTINGS)

    assert reproducible(run) == reproducible(tmp_path / "whole")
    assert len(events(run, "session")) > 2


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_the_objective_fails_its_trial_with_its_reason(tmp_path, workers):
    result = search(SMALL, fails_for_deep_graphs, tmp_path, trials=12, workers=workers, **SETTINGS)

    failed = [trial for trial in result.trials if trial.status == "error"]
    assert failed
    assert {trial.reason for trial in failed} == {"ZeroDivisionError: too deep"}
    assert all(mean_level_of(trial) > 3.8 for trial in failed)
    assert result.best_reward == max(trial.reward for trial in result.trials if trial.status == "done")


def mean_level_of(trial):
    blocks = SMALL.decode(trial.choices).blocks
    return sum(block.level for block in blocks) / len(blocks)


def test_an_objective_that_always_fails_aborts_the_search(tmp_path):
    with pytest.raises(SpinetError, match="search aborted: 5 trials failed: KeyError: ''"):
        search(SMALL, always_fails, tmp_path, **SETTINGS)


def test_an_objective_that_takes_too_long_is_a_failed_trial(tmp_path):
    result = search(SMALL, lambda _: time.sleep(5), tmp_path, trials=1, timeout=0.05, **SETTINGS)
    assert [trial.status for trial in result.trials] == ["timeout"]
    assert (result.best, result.best_reward) == (None, None)


@pytest.mark.slow
def test_several_workers_find_the_same_rewards(tmp_path):
    result = search(SMALL, mean_level, tmp_path, trials=8, workers=2, **SETTINGS)
    assert [trial.reward for trial in result.trials] == [mean_level_of(trial) for trial in result.trials]


def test_a_lambda_is_rejected_for_other_processes_only(tmp_path):
    with pytest.raises(SpinetError, match="the objective cannot be sent to worker processes .* top level of a module"):
        search(SMALL, lambda _: 1.0, tmp_path, workers=2, **SETTINGS)
    assert search(SMALL, lambda _: 1.0, tmp_path, trials=1, **SETTINGS).best_reward == 1.0


def test_names_and_strings_are_enough(tmp_path):
    result = search(
        "spinenet49", mean_level, tmp_path, trials=2, strategy="random", constraints=["macs=80e9:90e9"], quiet=True
    )
    header = json.loads((tmp_path / "journal.jsonl").read_text().splitlines()[0])
    assert (header["constraints"][0]["high"], header["strategy"]["name"]) == (90e9, "random")
    assert result.finished == 2
    with pytest.raises(SpinetError, match="proxy 'mean_level', not 'always_fails'"):
        search("spinenet49", always_fails, tmp_path, strategy="random", constraints=["macs=80e9:90e9"])
