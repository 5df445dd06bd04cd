"""`spinet status`: trainings and searches as their folders tell."""

import json
import subprocess
import sys

import pytest
from null_trials import Climber, Evaluation, configuration

from spinet.commands.status import status_command
from spinet.engine.config import OptimConfig, TrainConfig
from spinet.engine.run_folder import exclusive
from spinet.errors import SpinetError
from spinet.nas.run import run_search
from spinet.report.run_status import status_of
from spinet.workers.executors import InProcess

HOLD = "import sys\nfrom pathlib import Path\nfrom spinet.engine.run_folder import exclusive\n" + (
    "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
)


def training(folder, *lines, ended=""):
    """Write what a training of 20 epochs leaves, with 10 steps of 4 images in each."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        TrainConfig(optim=OptimConfig(schedule="cosine"), epochs=20, batch_size=4)
        .to_json()
        .replace('"root": ""', '"root": "d"')
    )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    events = [{"event": "start"}] + [{"event": "end", "how": ended}] * bool(ended)
    (folder / "sessions.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def step(number, **values):
    return {"step": number, "loss": 1.0, "epoch": number / 10, "images_per_second": 8.0, "memory_gib": 1.5} | values


def test_a_stopped_training_is_as_far_as_its_last_line(tmp_path):
    lines = [step(40), {"step": 40, "val/AP": 0.3}, step(80), {"step": 80, "val/AP": 0.2}, step(90)]
    status = status_of(training(tmp_path / "run", *lines, ended="stopped"))

    assert (status.kind, status.state, status.done, status.total) == ("training", "stopped", 9.0, 20)
    assert (status.metric, status.best, status.last) == ("AP", 0.3, 0.2)
    assert (status.seconds_left, status.memory_gib) == (None, 1.5)


def test_a_running_training_has_time_left_at_its_recent_speed(tmp_path):
    run = training(tmp_path / "run", step(50, images_per_second=1.0), *(step(50 + k) for k in range(1, 51)))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        status = status_of(run)
        holder.stdin.close()

    # 100 of 200 steps are done; the others are 400 images, 8 in a second.
    assert (status.state, status.seconds_left) == ("running", pytest.approx(50))
    assert status_of(run).state == "ended"


@pytest.mark.parametrize(("ended", "state"), [("finished", "finished"), ("failed: no space", "failed"), ("", "ended")])
def test_the_state_is_how_the_last_session_ended(tmp_path, ended, state):
    assert status_of(training(tmp_path / "run", step(10), ended=ended)).state == state


def test_a_killed_training_that_had_reached_its_last_epoch_is_finished(tmp_path):
    assert status_of(training(tmp_path / "run", step(200))).state == "finished"


def test_runs_in_a_folder_are_shown_with_a_search_and_a_corrupt_one_costs_only_its_row(tmp_path, capsys):
    training(tmp_path / "a", step(10))
    corrupt = training(tmp_path / "b", step(10))
    (corrupt / "config.json").write_text("{")
    run_search(configuration(trials=3), tmp_path / "c", Climber(), Evaluation(), InProcess(), quiet=True)
    (tmp_path / "empty").mkdir()

    with pytest.raises(SystemExit) as ended:
        status_command([str(tmp_path), str(tmp_path / "empty"), "--json"])

    assert ended.value.code == 1
    out, errors = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["run"], row["kind"]) for row in rows] == [
        (str(tmp_path / "a"), "training"),
        (str(tmp_path / "c"), "search"),
    ]
    assert rows[1]["done"] == 3
    assert rows[1]["best"] is not None
    assert "b/config.json is not valid JSON" in errors
    assert f"such as {tmp_path / 'empty'}" in errors


def test_the_table_names_score_and_progress(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    training(tmp_path / "runs" / "a", step(50), {"step": 50, "val/AP": 0.125}, ended="stopped")
    monkeypatch.chdir(tmp_path)
    status_command([])

    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "what", "state"]
    assert "runs/a" in row
    assert "5 of 20 epochs (25%)" in row
    assert "0.125" in row


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SpinetError, match="there is no .*nope; expected run folders"):
        status_command([str(tmp_path / "nope")])


def test_a_status_takes_no_lock(tmp_path):
    run = training(tmp_path / "run", step(10))
    status_of(run)
    with exclusive(run):
        pass
    assert not (run / "run.lock").exists()
