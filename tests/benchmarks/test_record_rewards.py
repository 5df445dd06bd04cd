"""The script that records rewards: its plan, and that it goes on where it was cut off."""

import json
import time
from pathlib import Path

import pytest

import record_rewards
from spinet.arch.catalog import load_architecture
from spinet.arch.graph_hash import graph_hash
from spinet.errors import SpinetError
from spinet.nas.proxies import Proxy
from spinet.nas.proxy import ProxyTask
from spinet.nas.spaces import SPACES

SPACE = SPACES["spinenet49"]


def test_the_architectures_are_the_references_and_different_random_ones():
    found = record_rewards.architectures(SPACE, 30, seed=0)

    assert [*found][:6] == ["spinenet49", "hourglass", "fish", "chain", "scale-decreased", "random-000"]
    assert len({graph_hash(genotype) for genotype in found.values()}) == len(found) == 30
    assert found == record_rewards.architectures(SPACE, 30, seed=0)


def test_the_scale_decreased_reference_goes_down_in_resolution_all_the_way():
    levels = [block.level for block in record_rewards.architectures(SPACE, 5, seed=0)["scale-decreased"].all_blocks]

    assert levels == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 3, 4, 5, 6, 7]


def test_the_plan_does_one_seed_of_the_lowest_rung_first_and_higher_rungs_last():
    genotypes = record_rewards.architectures(SPACE, 7, seed=0)

    units = record_rewards.plan(genotypes, seeds=2, upper=5, rungs=2)

    assert [(unit.rung, unit.seed) for unit in units] == [(0, 0)] * 7 + [(0, 1)] * 7 + [(1, 0)] * 5 + [(1, 1)] * 5
    assert len({unit.key for unit in units}) == len(units)


def test_a_torn_last_line_is_taken_out(tmp_path):
    file = tmp_path / "table.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a": 3, "b')

    assert record_rewards.read_table(file) == [{"a": 1}, {"a": 2}]
    assert file.read_text() == '{"a": 1}\n{"a": 2}\n'


def test_a_torn_line_in_the_middle_is_an_error(tmp_path):
    file = tmp_path / "table.jsonl"
    file.write_text('{"a": 1\n{"a": 2}\n')

    with pytest.raises(SpinetError, match="holds a line that is not JSON"):
        record_rewards.read_table(file)


@pytest.fixture
def task(digits):
    proxy = Proxy(name="quick").with_settings(
        image_size=64, batch_size=4, rungs=(0.3,), held_out=0.3, head_convs=0, octaves=1
    )
    return ProxyTask(proxy, str(digits), "cpu", zero_cost=False)


@pytest.mark.slow
def test_nothing_begins_after_the_deadline(task, tmp_path):
    units = record_rewards.plan(record_rewards.architectures(SPACE, 5, seed=0), seeds=1, upper=0, rungs=1)

    done = record_rewards.Recorder(task, SPACE, tmp_path / "table.jsonl", 1, time.monotonic() - 1).run(units)

    assert done == 0
    assert not (tmp_path / "table.jsonl").exists()


def test_a_training_that_fails_is_a_line_too(task):
    unit = record_rewards.Unit("tiny", load_architecture("tiny").genotype, 0, 0)
    poor = ProxyTask(task.proxy.with_settings(width=0.001), task.root, "cpu")

    line = record_rewards.measure(poor, SPACE, unit)

    assert (line["name"], line["rung"], line["seed"], line["failure"]) == ("tiny", 0, 0, "BuildError")
    assert "leaves no channel" in line["reason"]


@pytest.mark.slow
def test_recording_goes_on_where_it_stopped(task, tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.jsonl"
    monkeypatch.setitem(record_rewards.main.__globals__, "load_proxy", lambda name: task.proxy)
    # The other process imports the script by its name.
    monkeypatch.syspath_prepend(Path(record_rewards.__file__).parent)
    settings = {"data_root": Path(task.root), "out": out, "processes": 1, "upper": 0, "seeds": 1}

    record_rewards.main(**settings, count=5)
    with out.open("a") as file:
        file.write('{"name": "cut')
    record_rewards.main(**settings, count=6)

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["name"] for line in lines] == [*record_rewards.architectures(SPACE, 6, seed=0)]
    assert lines[0]["proxy"] == task.proxy.to_dict()
    assert {"reward", "loss", "curve", "seconds", "genotype", "graph", "commit", "torch", "hardware"} <= {*lines[0]}
    assert "6 trainings, 5 of them in" in capsys.readouterr().out


def test_a_table_of_another_proxy_is_not_gone_on_with(task, tmp_path):
    out = tmp_path / "table.jsonl"
    out.write_text(json.dumps({"proxy": task.proxy.to_dict()}) + "\n")

    with pytest.raises(SpinetError, match="was recorded with other settings of the proxy"):
        record_rewards.main(data_root=Path(task.root), out=out)
