"""`spinet leaderboard`: models below a folder, ranked within their val data."""

import csv
import io
import json
import shutil

import pytest
from shared_runs import classifier_run, detector_run
from small_models import tiny_weights

from spinet.commands.leaderboard import leaderboard_command
from spinet.engine.checkpoint import read_weights, save_weights
from spinet.errors import SpinetError
from spinet.report.leaderboard import leaderboard


def scored(run, score):
    """Give the best weights of a run another score."""
    tensors, info = read_weights(run / "best.safetensors")
    save_weights(run / "best.safetensors", tensors, info, {"step": 40, "AP": score, "AP50": 2 * score})
    return run


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """Two detectors with the same val data, a classifier, and weights without a run."""
    folder = tmp_path_factory.mktemp("models")
    scored(detector_run(folder / "deep" / "worse", digits), 0.2)
    scored(detector_run(folder / "better", digits), 0.4)
    classifier_run(folder / "classes")
    tiny_weights(folder / "alone.safetensors", "retinanet", ("a", "b"))
    return folder


@pytest.fixture(scope="module")
def entries(folder):
    found, unevaluated, faults = leaderboard(folder)
    assert unevaluated == faults == []
    return {entry.model.removeprefix(f"{folder}/"): entry for entry in found}


def test_models_are_ranked_within_their_val_data(entries):
    assert list(entries) == ["better", "deep/worse", "classes", "alone.safetensors"]
    assert [entry.rank for entry in entries.values()] == [1, 2, None, None]
    assert entries["better"].data == entries["deep/worse"].data != entries["classes"].data
    assert entries["alone.safetensors"].data == ""


def test_an_entry_has_score_interval_and_cost(entries):
    better = entries["better"]

    assert (better.metric, better.score, better.ap50, better.seed, better.image_size) == ("AP", 0.4, 0.8, 0, 64)
    assert 0 <= better.low < better.high <= 1
    assert better.parameters > 0
    assert better.multiply_adds > 0


def test_other_orders_stay_within_the_val_data_and_keep_the_rank(folder):
    ordered = leaderboard(folder, "model").entries

    assert [entry.rank for entry in ordered][:2] == [1, 2]
    assert [entry.model for entry in ordered][:2] == [str(folder / "better"), str(folder / "deep" / "worse")]


def test_json_and_csv_say_the_same(folder, capsys):
    leaderboard_command([str(folder), "--json"])
    as_json = json.loads(capsys.readouterr().out)
    leaderboard_command([str(folder), "--csv"])
    as_csv = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert len(as_json) == len(as_csv) == 4
    assert [row["model"] for row in as_csv] == [row["model"] for row in as_json]
    assert as_csv[-1]["seed"] == ""
    assert as_json[-1]["seed"] is None


def test_the_table_names_models_as_seen_from_the_folder(folder, capsys):
    leaderboard_command([str(folder)])

    out = capsys.readouterr().out
    assert str(folder) not in out
    assert "deep/worse" in out
    assert "val data unknown, not ranked" in out


def test_the_same_val_data_in_folders_of_other_names_are_ranked_together(folder, tmp_path):
    for number, name in enumerate(("first", "second")):
        run = shutil.copytree(folder / "better", tmp_path / name)
        config = json.loads((run / "config.json").read_text())
        config["data"]["root"] = f"elsewhere/data-{name}"
        (run / "config.json").write_text(json.dumps(config))
        scored(run, 0.3 + number / 10)

    assert [(entry.rank, entry.score) for entry in leaderboard(tmp_path).entries] == [(1, 0.4), (2, 0.3)]


def test_shared_models_count_and_trainings_without_an_evaluation_are_said(folder, tmp_path, capsys):
    (tmp_path / "pulled").mkdir()
    shutil.copy(folder / "alone.safetensors", tmp_path / "pulled" / "model.safetensors")
    (tmp_path / "pulled" / "config.json").write_text("{}")
    shutil.copytree(folder / "better", tmp_path / "young")
    (tmp_path / "young" / "best.safetensors").unlink()

    leaderboard_command([str(tmp_path), "--json"])

    out, errors = capsys.readouterr()
    assert [entry["model"] for entry in json.loads(out)] == [str(tmp_path / "pulled" / "model.safetensors")]
    assert errors == f"spinet: not evaluated yet, and left out: {tmp_path / 'young'}\n"


def test_a_corrupt_model_costs_only_its_row(folder, tmp_path, capsys):
    shutil.copytree(folder / "better", tmp_path / "runs" / "good")
    (tmp_path / "runs" / "bad.safetensors").write_bytes(b"nothing")

    with pytest.raises(SystemExit) as ended:
        leaderboard_command([str(tmp_path / "runs"), "--json"])

    out, errors = capsys.readouterr()
    assert ended.value.code == 1
    assert len(json.loads(out)) == 1
    assert "bad.safetensors" in errors


def test_a_missing_folder_is_an_error_and_an_empty_one_is_said(tmp_path, capsys):
    with pytest.raises(SpinetError, match="there is no folder .*nope; expected one with run folders"):
        leaderboard_command([str(tmp_path / "nope")])
    leaderboard_command([str(tmp_path)])
    assert "no trained model is below" in capsys.readouterr().err
