import sys

import pytest
from journals import JournalMaker

from spinet.errors import SpinetError
from spinet.nas.spaces import SPACES
from spinet.nas.state import load_search
from spinet.report.optuna_export import TrialParameters, export_optuna

optuna = pytest.importorskip("optuna")


def study_in(url, name="run"):
    return optuna.load_study(study_name=name, storage=url)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/studies.db"


@pytest.mark.slow
def test_every_finished_trial_is_in_the_study_with_its_reward_or_as_failed(tmp_path, url):
    maker = JournalMaker(1).run(12, first=6, failures=0.3, rungs=2)
    maker.ask(maker.space.sample(maker.random))
    run = maker.write(tmp_path / "run")

    added = export_optuna(run, url)

    records = load_search(run).records
    trials = study_in(url).trials
    assert added == len(trials) == 12
    for trial, record in zip(trials, records, strict=False):
        assert trial.user_attrs["trial"] == record.number
        assert (trial.state.name, trial.value) == (("COMPLETE", record.reward) if record.done else ("FAIL", None))
        assert trial.user_attrs["graph"] == record.graph
        assert trial.user_attrs["rung"] == record.rung
        assert trial.user_attrs["status"] == record.status
        assert {key: trial.user_attrs[key] for key in record.metrics} == record.metrics
        assert trial.user_attrs.get("reason", "") == record.reason
    assert {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"}
    assert study_in(url).user_attrs["strategy"]["name"] == "evolution"
    assert study_in(url).best_value == max(record.reward for record in records if record.done)


@pytest.mark.slow
def test_exporting_again_adds_only_what_is_new(tmp_path, url):
    maker = JournalMaker().run(4)
    waiting = maker.space.sample(maker.random)
    number = maker.ask(waiting)
    run = maker.write(tmp_path / "run")

    counts = [export_optuna(run, url), export_optuna(run, url)]
    maker.tell(number, waiting)
    maker.run(2).write(run)
    counts.append(export_optuna(run, url))

    assert counts == [4, 0, 3]
    assert [trial.user_attrs["trial"] for trial in study_in(url).trials] == [*range(7)]


@pytest.mark.slow
def test_parameters_are_the_blocks_of_the_decoded_graph_in_words(tmp_path, url):
    run = JournalMaker().run(3).write(tmp_path / "run")

    export_optuna(run, url)

    search = load_search(run)
    for trial, record in zip(study_in(url).trials, search.records, strict=True):
        for index, block in enumerate(search.space.decode(record.choices).blocks, start=2):
            level = trial.params[f"block {index:02} level"] + trial.params.get(f"block {index:02} offset", 0)
            assert level == block.level
            assert trial.params[f"block {index:02} parents"] == f"{block.parents[0]} and {block.parents[1]}"
            assert trial.params[f"block {index:02} kind"] == block.kind
        assert len(trial.params) == len(record.choices)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_decision_of_every_space_has_a_name_for_each_option(space):
    options = TrialParameters(space).options

    assert [len(each) for each in options.values()] == [decision.options for decision in space.decisions]
    assert all(len(set(each)) == len(each) for each in options.values())


@pytest.mark.slow
def test_lower_rungs_are_intermediate_values(tmp_path, url):
    maker = JournalMaker()
    choices = maker.space.sample(maker.random)
    for rung in (0, 1):
        maker.tell(maker.ask(choices, rung), choices, rung)
    run = maker.write(tmp_path / "run")

    export_optuna(run, url)

    low, high = study_in(url).trials
    assert low.intermediate_values == {0: low.value}
    assert high.intermediate_values == {0: low.value, 1: high.value}


@pytest.mark.slow
def test_times_are_those_of_the_journal(tmp_path, url):
    run = JournalMaker().run(1).write(tmp_path / "run")

    export_optuna(run, url)

    (record,), (trial,) = load_search(run).records, study_in(url).trials
    assert trial.duration.total_seconds() == pytest.approx(record.seconds, abs=1e-3)


@pytest.mark.slow
def test_a_study_of_another_search_is_not_changed(tmp_path, url):
    export_optuna(JournalMaker(0).run(2).write(tmp_path / "one" / "run"), url)
    other = JournalMaker(1).run(2).write(tmp_path / "two" / "run")

    with pytest.raises(SpinetError, match="'run' .* is of another search: give another name"):
        export_optuna(other, url)

    assert len(study_in(url).trials) == 2
    assert export_optuna(other, url, "other") == 2


@pytest.mark.slow
def test_a_study_of_somebody_else_is_not_changed(tmp_path, url):
    study = optuna.create_study(storage=url, study_name="run")
    study.add_trial(optuna.trial.create_trial(value=1.0))

    with pytest.raises(SpinetError, match="is of another search"):
        export_optuna(JournalMaker().run(1).write(tmp_path / "run"), url)


@pytest.mark.parametrize("bad", ["sqlite:////nowhere/x.db", "nonsense", "nonsense://x"])
def test_a_storage_that_cannot_be_opened_is_one_sentence(tmp_path, bad):
    run = JournalMaker().run(1).write(tmp_path / "run")

    with pytest.raises(SpinetError, match="could not open Optuna's storage") as caught:
        export_optuna(run, bad)

    assert "\n" not in str(caught.value)


def test_without_optuna_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(SpinetError, match=r"needs optuna, which is not installed: pip install 'spinet\[search\]'"):
        export_optuna(tmp_path, "sqlite:///x.db")
