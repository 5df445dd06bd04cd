import csv
import io
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import random_record

from spinet.engine.config import TrainConfig
from spinet.report.comparison import Comparison, write_comparison
from spinet.report.contenders import Contender


def contender(name, record):
    return Contender(name, Path("runs", name), record, 3.0, 700_000, 12.5)


@pytest.fixture(scope="module")
def comparison():
    made = random_record(3, images=60)
    worse = replace(made, found=made.found[made.found.owners >= 30])
    return Comparison([contender("first", made), contender("same", made), contender("worse", worse)], None)


def test_the_verdicts_say_what_differs(comparison):
    assert comparison.verdict(1).startswith("same does not differ from first for certain: AP +0.000")
    assert comparison.verdict(2).startswith("worse is worse than first: AP -")


def test_a_difference_of_seeds_is_called_chance_of_training(comparison):
    first, _, worse = comparison.models
    settings = TrainConfig()
    changes = [{"seed": 1}, {"seed": 1, "log_steps": 7}, {"seed": 1, "epochs": 300.0}, {}]
    pairs = [(replace(first, config=settings), replace(worse, config=replace(settings, **each))) for each in changes]

    verdicts = [Comparison(pair, None).verdict(1) for pair in pairs]

    assert ["chance of training" in verdict for verdict in verdicts] == [True, True, False, False]


def test_json_and_csv_hold_the_same_numbers(comparison):
    content = json.loads(comparison.to_json())
    rows = {(row["model"], row["metric"]): row for row in csv.DictReader(io.StringIO(comparison.to_csv()))}

    assert [model["name"] for model in content["models"]] == ["first", "same", "worse"]
    assert content["images"] == 60
    worse = content["models"][2]
    assert worse["difference"]["AP"]["certain"]
    for name, value in worse["metrics"].items():
        row = rows["worse", name]
        assert float(row["value"]) == pytest.approx(value["value"], abs=1e-6)
        assert float(row["difference"]) == pytest.approx(worse["difference"][name]["value"], abs=1e-6)
    for name, value in worse["classes"].items():
        assert float(rows["worse", f"AP/{name}"]["value"]) == pytest.approx(value["value"], abs=1e-6)
    assert rows["first", "AP"]["difference"] == ""
    assert rows["first", "milliseconds"]["value"] == "12.500"
    assert "difference" not in content["models"][0]
    assert len(worse["images_that_differ_most"]) == 10


def test_an_unknown_speed_is_null(comparison):
    made = [replace(each, milliseconds=math.nan) for each in comparison.models]

    assert json.loads(Comparison(made, None).to_json())["models"][0]["milliseconds"] is None


def test_the_page_needs_no_other_file(comparison, tmp_path):
    page = write_comparison(comparison, tmp_path / "page.html").read_text()

    assert not re.search(r"https?://|\bsrc=|<link|<script|@import|url\(", page)
    assert "worse is worse than first" in page
    assert re.search(r"\(-0\.\d+ to -0\.\d+\) \*", page)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("runs/a",), "name at least two runs or files to compare"),
        (("runs/a", "runs/b"), "there is no run folder or file runs/a"),
        (("runs/a", "runs/b", "--json", "--csv"), "--json and --csv are alternatives"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(spinet, args, sentence):
    code, out, error = spinet("compare", *args)

    assert (code, out) == (1, "")
    assert sentence in error


@pytest.mark.slow
def test_the_command_compares_runs_and_exported_files(learnt, digits, spinet, tmp_path):
    from spinet.report.training_run import open_training

    run, other = (shutil.copytree(learnt, tmp_path / name) for name in ("run", "other"))
    code, _, error = spinet("export", run, "-o", tmp_path / "model.pt2", "--format", "pt2")
    assert code == 0, error

    code, out, error = spinet("compare", run, other, "-o", tmp_path / "page.html")

    assert code == 0, error
    assert "other does not differ from run for certain: AP +0.000" in out
    assert (tmp_path / "page.html").is_file()

    # An exported file runs over the val split; the records of `learnt` are of its train split.
    refused = spinet("compare", run, tmp_path / "model.pt2", "--no-speed")
    assert refused[0] == 1
    assert "were evaluated on different data (16 and 8 val images)" in refused[2]
    code, out, error = spinet("compare", run, tmp_path / "model.pt2", "--data.root", digits, "--json")
    assert code == 0, error
    models = json.loads(out)["models"]
    assert models[1]["metrics"]["AP"]["value"] == pytest.approx(models[0]["metrics"]["AP"]["value"], abs=1e-3)
    assert models[0]["parameters"] == models[1]["parameters"]
    assert all(model["milliseconds"] > 0 and model["megabytes"] > 1 for model in models)

    record = open_training(other).record
    moved = replace(record.truth, boxes=record.truth.boxes + np.array([1.0, 0, 0, 0]))
    replace(record, truth=moved).save(other / "val.npz")
    refused = spinet("compare", run, other, "--no-speed")
    assert "evaluated on different data (other annotations of the same val images)" in refused[2]
