"""The published network comes first, so that rewards can be compared with it."""

from dataclasses import replace
from pathlib import Path

import pytest
from null_trials import Climber, Evaluation, configuration, events, reproducible

from spinet.arch.catalog import load_architecture
from spinet.arch.graph_hash import graph_hash
from spinet.errors import SpinetError
from spinet.formats.splits import Division
from spinet.nas.advice import training_commands
from spinet.nas.constraints import Constraint
from spinet.nas.references import published_choices
from spinet.nas.run import run_search
from spinet.nas.spaces import SPACES
from spinet.nas.state import load_search
from spinet.nas.status import status_text, summary
from spinet.workers.executors import InProcess

SPACE = SPACES["spinenet49"]


def search(run, strategy=None, trials=6, **settings):
    config = configuration(SPACE, trials=trials, **{"references": 2, **settings})
    return run_search(config, run, strategy or Climber(SPACE), Evaluation(), InProcess(), quiet=True)


@pytest.mark.parametrize(
    ("space", "network"),
    [
        ("spinenet49", "spinenet49"),
        ("r0-sp53", "r0-sp53"),
        ("hourglass", "hourglass"),
        ("mbconv", "spinenet49-mobile"),
        ("vertex-mbconv", "spinenet49-mobile"),
    ],
)
def test_a_space_holds_its_published_network(space, network):
    choices = published_choices(SPACES[space])
    assert graph_hash(SPACES[space].decode(choices)) == graph_hash(load_architecture(network).genotype)


def test_a_space_without_the_published_network_has_no_reference(tmp_path):
    assert published_choices(SPACES["r35-sp18"]) is None
    config = configuration(SPACES["r35-sp18"], trials=3, references=2)
    run_search(config, tmp_path, Climber(SPACES["r35-sp18"]), Evaluation(), InProcess(), quiet=True)
    assert load_search(tmp_path).references(0) == []


def test_the_first_trials_are_the_published_network_with_different_seeds(tmp_path):
    search(tmp_path)
    asks = events(tmp_path, "ask")
    assert [ask["graph"] for ask in asks[:2]] == [graph_hash(load_architecture("spinenet49").genotype)] * 2
    assert [ask["replicate"] for ask in asks[:2]] == [0, 1]
    assert asks[0]["seed"] != asks[1]["seed"]
    assert [ask["duplicate_of"] for ask in asks[:2]] == [None, None]
    assert all("reference" not in ask["notes"] for ask in asks[2:])


def test_the_strategy_neither_proposes_nor_learns_them(tmp_path):
    strategy = Climber(SPACE)
    search(tmp_path, strategy)
    numbers = {entry[1] if entry[0] == "asked" else entry[0] for entry in strategy.told}
    assert numbers == {2, 3, 4, 5}


def test_with_halving_every_rung_has_its_references():
    config = replace(configuration(SPACE, references=1), strategy={"name": "halving", "rungs": 3})
    assert [proposal.rung for proposal in config.reference_trials] == [0, 1, 2]


def test_stopped_between_the_references_it_goes_on_as_if_it_had_not_been(tmp_path):
    search(tmp_path / "whole")
    search(tmp_path / "parts", trials=1)
    search(tmp_path / "parts")
    assert reproducible(tmp_path / "parts") == reproducible(tmp_path / "whole")


def test_a_search_that_began_without_references_resumes(tmp_path):
    search(tmp_path, trials=3, references=0)
    assert search(tmp_path, trials=5).finished == 5
    assert load_search(tmp_path).references(0) == []


def test_a_network_outside_the_constraints_is_no_reference():
    window = Constraint("macs", 0, 50e9)
    assert configuration(SPACE, references=2, constraints=(window,)).reference_trials == []


def test_a_negative_number_is_refused():
    with pytest.raises(SpinetError, match="references must be at least 0, got -1"):
        configuration(SPACE, references=-1)


def test_the_status_names_the_reward_and_compares_it(tmp_path):
    proxy = {"name": "tiny", "reward": "AP50"}
    result = search(tmp_path, proxy=proxy, trials=12)
    numbers = summary(tmp_path)
    rewards = [event["reward"] for event in events(tmp_path, "tell")[:2]]
    assert (numbers["reward"], numbers["published"]) == ("AP50", rewards)
    assert f"trial {result.best_trial.number}, AP50 {result.best_reward:.4g} at rung 0" in status_text(numbers)
    assert f"the published network: {sum(rewards) / 2:.4g} (2 trainings)" in status_text(numbers)


def test_the_commands_train_the_best_and_the_published_network_at_the_size_of_a_recipe(tmp_path):
    search(tmp_path / "a search", data="my photos", trials=12)
    state = load_search(tmp_path / "a search")
    best, published = training_commands(state, tmp_path / "a search")
    assert "spinet train small-cpu --data.root 'my photos' --model.arch" in best
    assert "best.json' --model.scaling spinenet49-quarter" in best
    assert "--model.arch spinenet49 --model.scaling spinenet49-quarter" in published


def test_the_commands_divide_the_data_as_the_search_did(tmp_path):
    search(tmp_path / "run", data="export", trials=12, division=Division(0.3, 5))
    for command in training_commands(load_search(tmp_path / "run"), tmp_path / "run"):
        assert (
            "spinet train small-cpu --data.root export --data.val-share 0.3 --data.val-seed 5 --model.arch" in command
        )


def test_a_search_with_a_size_of_its_own_trains_at_that(tmp_path):
    space = replace(SPACE, scaling=load_architecture("spinenet49-quarter").scaling)
    config = configuration(space, trials=12, references=1)
    run_search(config, tmp_path / "run", Climber(space), Evaluation(), InProcess(), quiet=True)
    best, published = training_commands(load_search(tmp_path / "run"), tmp_path / "run")
    assert "--model.scaling" not in best
    assert f"--model.arch spinenet49 --model.scaling {tmp_path / 'run' / 'best.json'}" in published


def test_nothing_measured_nothing_to_train(tmp_path):
    config = configuration(SPACE, trials=2)
    run_search(config, tmp_path, Climber(SPACE), Evaluation(nan=1.0), InProcess(), quiet=True)
    assert training_commands(load_search(tmp_path), tmp_path) == []


@pytest.mark.parametrize("folder", [".", "..", "../run"])
def test_the_commands_name_folders_also_of_the_current_one(tmp_path, monkeypatch, folder):
    (tmp_path / "run" / "inner").mkdir(parents=True)
    search(tmp_path / "run", trials=12)
    monkeypatch.chdir(tmp_path / "run" / ("inner" if folder == ".." else "."))
    for command in training_commands(load_search(tmp_path / "run"), Path(folder)):
        assert not command.split(" --run ")[1].startswith("-")
        assert "run-" in command.split(" --run ")[1]
