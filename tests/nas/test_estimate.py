"""How long a search will take."""

from dataclasses import replace

import pytest
import torch
from null_trials import configuration

from spinet.nas.estimate import TrialSeconds, expected, search_seconds
from spinet.nas.proxies import PROXIES
from spinet.nas.proxy import ProxyTask
from spinet.nas.spaces import SPACES
from spinet.workers.executors import InProcess

SPACE = SPACES["spinenet49"]
PROXY = PROXIES["tiny"].with_settings(name="mini", image_size=64, batch_size=4, rungs=(1, 4))


@pytest.fixture
def task(digits):
    return ProxyTask(PROXY, str(digits), "cpu", zero_cost=False)


def test_a_search_takes_as_long_as_its_trials(task):
    data = task.data()
    measured = TrialSeconds(step=1.0, held_out=0.5, rest=2.0)
    steps = round(len(data.train) / 4)
    one = 2 + steps + 0.5 * len(data.held_out)
    assert search_seconds(task, measured, configuration(SPACE, trials=10)) == pytest.approx(10 * one)


def test_with_halving_promoted_trials_and_their_references_take_longer(task):
    measured = TrialSeconds(step=1.0, held_out=0.0, rest=0.0)
    steps = [round(epochs * len(task.data().train) / 4) for epochs in (1, 4)]
    config = replace(configuration(SPACE, trials=10), strategy={"name": "halving", "eta": 3, "rungs": 2})
    mean = (steps[0] + steps[1] / 3) / (1 + 1 / 3)
    assert search_seconds(task, measured, config) == pytest.approx(10 * mean)
    config = replace(config, references=1)
    assert search_seconds(task, measured, config) == pytest.approx(sum(steps) + 8 * mean)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_short_memory_while_measuring_ends_no_search(task, monkeypatch, error):
    def raises(*_, **__):
        raise error

    monkeypatch.setattr("spinet.nas.proxy.train", raises)
    said = expected(task, configuration(SPACE), SPACE.scaling, InProcess())
    assert said.startswith("how long a trial takes could not be measured: the trial does not fit into memory")


@pytest.mark.slow
def test_a_few_steps_are_measured(task):
    assert "100 trials about" in expected(task, configuration(SPACE, trials=100), SPACE.scaling, InProcess())
