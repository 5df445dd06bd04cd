"""Each command that prints a table prints the same as JSON, and nothing else, to standard output."""

import json
import re
from pathlib import Path

import pytest
from null_trials import Climber, Evaluation, configuration
from shared_runs import detector_run

from spinet import cli
from spinet.nas.run import run_search
from spinet.workers.executors import InProcess

SOURCES = Path(cli.__file__).parent / "commands"
# The file of each command that prints a table, with arguments; RUN, DATA and SEARCH stand for folders.
COMMANDS = {
    "show": [("list",), ("show", "spinenet49"), ("show", "tiny", "--head", "retinanet")],
    "status": [("status", "RUN")],
    "leaderboard": [("leaderboard", "RUN")],
    "compare": [("compare", "RUN", "RUN", "--no-speed")],
    "doctor": [("doctor", "DATA", "--quick")],
    "weights": [("weights", "list")],
    "search_views": [("search", "status", "SEARCH")],
    "console": [("evaluate", "RUN", "--device", "cpu")],
    "crop_boxes": [("crop-boxes", "DATA", "--out", "crops")],
    "benchmark": [],  # as slow as a benchmark: in tests/benchmark
    "train": [],  # its table is what evaluate prints of the same run
}


@pytest.fixture(scope="module")
def folders(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    run = detector_run(folder / "run", digits)
    run_search(configuration(trials=3), folder / "search", Climber(), Evaluation(), InProcess(), quiet=True)
    return {"RUN": str(run), "DATA": str(digits), "SEARCH": str(folder / "search")}


@pytest.mark.parametrize("args", [args for each in COMMANDS.values() for args in each], ids=" ".join)
def test_standard_output_is_json_alone(args, folders, spinet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = spinet(*(folders.get(arg, arg) for arg in args), "--json")

    assert code == 0
    assert json.loads(out)


def test_no_command_that_prints_a_table_is_forgotten():
    with_tables = {path.stem for path in SOURCES.glob("*.py") if re.search(r"\b(Rich)?Table\(", path.read_text())}

    assert with_tables <= COMMANDS.keys()
