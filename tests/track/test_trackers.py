"""Experiment trackers: a complete copy, the same run after resuming, and no failure that ends a training."""

import csv
import json
from functools import partial
from pathlib import Path

import pytest
from null_trials import Climber, Evaluation, configuration

from spinet.engine.train import train
from spinet.errors import SpinetError
from spinet.nas.run import run_search
from spinet.nas.state import load_search
from spinet.report.tracked_trials import add_trials
from spinet.share.tracked import add_results
from spinet.track.csv_table import CsvTable
from spinet.track.trackers import FILE, KINDS, Trackers
from spinet.track.wandb_run import WandbRun
from spinet.workers.executors import InProcess

MLFLOW, WANDB = pytest.importorskip("mlflow"), pytest.importorskip("wandb")
# Of these packages and of what they are made of.
pytestmark = pytest.mark.filterwarnings("ignore")


def tracked(config, run, *names: str, said: list[str] | None = None) -> None:
    with Trackers(names, run, (said if said is not None else []).append) as trackers:
        train(config, run, quiet=True, trackers=trackers)
        add_results(trackers, run, [].append)


@pytest.fixture
def store(tmp_path, monkeypatch) -> str:
    """An empty local store of MLflow."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.chdir(tmp_path)  # for the artifacts
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return address


def runs_in(store: str) -> list:
    client = MLFLOW.MlflowClient(tracking_uri=store)
    return client.search_runs([client.get_experiment_by_name("spinet").experiment_id])


@pytest.mark.slow
def test_an_interrupted_training_is_one_complete_run_in_mlflow(config, tmp_path, stop_at, store):
    run = tmp_path / "run"
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tracked(config, run, "mlflow")
    [stopped] = runs_in(store)
    assert stopped.info.status == "KILLED"
    stop_at(-1)
    tracked(config, run, "mlflow")

    [whole] = runs_in(store)
    assert (whole.info.status, whole.info.run_name) == ("FINISHED", "run")
    assert whole.data.params["model.arch"] == "tiny"
    assert whole.data.params["optim.ema_decay"] == "0.9"
    client = MLFLOW.MlflowClient(tracking_uri=store)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "val/AP"):
        history = [(metric.step, metric.value) for metric in client.get_metric_history(whole.info.run_id, name)]
        assert history == [(line["step"], line[name]) for line in lines if name in line]
    artifacts = [file.path for file in client.list_artifacts(whole.info.run_id)]
    assert artifacts == ["best.safetensors", "labels.json", "pictures"]
    # Six val images, and the first batch.
    assert len(client.list_artifacts(whole.info.run_id, "pictures")) == 7


@pytest.mark.slow
def test_a_finished_training_adds_nothing_to_its_run(short, tmp_path, store):
    tracked(short, tmp_path / "run", "mlflow")
    [before] = runs_in(store)
    tracked(short, tmp_path / "run", "mlflow")
    [after] = runs_in(store)

    assert after.to_dictionary() == before.to_dictionary()


@pytest.mark.slow
def test_offline_sessions_of_wandb_are_of_one_run(config, tmp_path, stop_at, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    run, said = tmp_path / "run", list[str]()
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tracked(config, run, "wandb", said=said)
    stop_at(-1)
    tracked(config, run, "wandb", said=said)

    identity = json.loads((run / FILE).read_text())["wandb"]["id"]
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert {file.name for file in files} == {f"run-{identity}.wandb"}
    assert len(files) == 2
    assert all(text.startswith("wandb: offline, in ") for text in said)
    content = b"".join(file.read_bytes() for file in files)
    for word in (b"model.arch", b"val/AP50"):
        assert word in content
    staged = [file.read_bytes() for file in tmp_path.glob("staged/**/*") if file.is_file()]
    assert (run / "best.safetensors").read_bytes() in staged
    assert len(list(tmp_path.glob("wandb/offline-*/files/media/images/*"))) == 7


class Failing(WandbRun):
    """Fails at a step, like a service that went away."""

    name = "failing"

    def __init__(self, run: Path) -> None:
        self.run, self.where = run, "nowhere"

    def start(self, identity, settings):
        return {}

    def log(self, step, values):
        if step == 2:
            raise ConnectionError("the service\nis gone")

    def end(self, how):
        raise RuntimeError("still gone")


def test_a_tracker_that_fails_ends_with_a_warning_and_the_training_goes_on(config, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "failing", Failing)
    said: list[str] = []
    run = tmp_path / "run"
    with Trackers(["failing", "csv"], run, said.append) as trackers:
        result = train(config, run, quiet=True, trackers=trackers)

    assert result.steps == 8
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 9))
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert float(rows[-1]["val/AP"]) == last["val/AP"]


def test_the_warning_names_tracker_and_reason_once(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "failing", Failing)
    said: list[str] = []
    with Trackers(["failing"], tmp_path, said.append) as trackers:
        trackers.start({})
        for step in range(1, 5):
            trackers.log(step, {"loss": 1.0})

    assert said == [
        "failing: nowhere",
        "warning: failing gets nothing more of this run (ConnectionError: the service is gone)",
    ]


def test_a_tracker_that_comes_later_gets_all_trials(tmp_path, monkeypatch):
    class Second(CsvTable):
        name = "second"

        def add_trial(self, number, settings, values, failed):
            numbers.append(number)

    numbers: list[int] = []
    monkeypatch.setitem(KINDS, "second", Second)
    for names, last in ((["csv"], 2), (["csv", "second"], 3)):
        with Trackers(names, tmp_path, [].append) as trackers:
            trackers.start({})
            for number in range(last):
                trackers.add_trial(number, {}, {"reward": 0.5}, failed=False)

    assert numbers == [0, 1, 2]
    assert len(list(csv.DictReader((tmp_path / "trials.csv").open()))) == 3


def test_a_run_that_replaces_a_deleted_one_gets_all_trials(tmp_path, monkeypatch):
    class Numbered(CsvTable):
        name = "numbered"

        def start(self, identity, settings):
            return {"run": runs.pop(0)}

        def add_trial(self, number, settings, values, failed):
            numbers.append(number)

        def end(self, how):
            pass

    runs, numbers = ["a", "a", "b"], list[int]()
    monkeypatch.setitem(KINDS, "numbered", Numbered)
    for _ in range(3):
        with Trackers(["numbered"], tmp_path, [].append) as trackers:
            trackers.start({})
            for number in range(2):
                trackers.add_trial(number, {}, {"reward": 0.5}, failed=False)
    assert numbers == [0, 1, 0, 1]


def test_without_a_tracker_there_is_no_file(tmp_path):
    with Trackers([], tmp_path, [].append) as trackers:
        trackers.start({})
        trackers.add_trial(0, {}, {"reward": 0.5}, failed=False)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_closed_as_stopped_is_not_closed_again(tmp_path, monkeypatch):
    class Ends(CsvTable):
        name = "ends"

        def end(self, how):
            ends.append(how)

    ends: list[str] = []
    monkeypatch.setitem(KINDS, "ends", Ends)
    with Trackers(["ends"], tmp_path, [].append) as trackers:
        trackers.start({})
        trackers.close("stopped")
    assert ends == ["stopped"]


def test_an_unknown_tracker_is_an_error_with_the_nearest_name(tmp_path):
    with pytest.raises(SpinetError, match="unknown tracker 'mlfow', did you mean 'mlflow'"):
        Trackers(["mlfow"], tmp_path)


@pytest.mark.parametrize("content", ['{"csv": {"trials', '{"csv": 1, "trials": [0]}', '{"trials": [0]}', "[]"])
def test_a_corrupt_file_of_identities_starts_a_new_run(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with Trackers(["csv"], tmp_path, [].append) as trackers:
        trackers.start({})
        trackers.add_trial(0, {"graph": "a"}, {"reward": 0.5}, failed=False)
    with Trackers(["csv"], tmp_path, [].append) as trackers:
        trackers.start({})
        trackers.add_trial(0, {"graph": "a"}, {"reward": 0.5}, failed=False)
        trackers.add_trial(1, {"graph": "b"}, {"reward": 0.7, "loss": 1.0}, failed=True)

    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [(row["trial"], row["reward"], row["loss"], row["failed"]) for row in rows] == [
        ("0", "0.5", "", "0"),
        ("1", "0.7", "1.0", "1"),
    ]


@pytest.mark.slow
def test_the_trials_of_a_search_are_runs_below_its_own_each_once(tmp_path, store):
    run = tmp_path / "search"
    for trials in (3, 5):
        with Trackers(["mlflow", "csv"], run, [].append) as trackers:
            observe = partial(add_trials, trackers, {"strategy": "climber"})
            config = configuration(trials=trials)
            run_search(config, run, Climber(), Evaluation(), InProcess(), quiet=True, observe=observe)

    records = load_search(run).records
    everything = runs_in(store)
    [parent] = [found for found in everything if found.info.run_name == "search"]
    below = {found.info.run_name: found for found in everything if found is not parent}
    assert below.keys() == {f"trial {record.number}" for record in records}
    assert {found.data.tags["mlflow.parentRunId"] for found in below.values()} == {parent.info.run_id}
    for record in records:
        found = below[f"trial {record.number}"]
        assert found.data.metrics["reward"] == record.reward
        assert found.data.params["graph"] == record.graph
    assert [row["graph"] for row in csv.DictReader((run / "trials.csv").open())] == [record.graph for record in records]
