"""`spinet search` on the command line: errors of one sentence, and one tiny search from its start to its report."""

import json
import shutil
from random import Random

import pytest
from exports import WHOLE, pictures

from spinet.arch.catalog import Architecture, load_architecture
from spinet.data.coco import CocoDataset
from spinet.data.division import open_split
from spinet.formats.splits import Division
from spinet.nas.constraints import part_keys
from spinet.nas.proxies import PROXIES
from spinet.nas.proxy import open_data
from spinet.nas.spaces import SPACES
from spinet.nas.state import load_search

SMALL = PROXIES["tiny"].with_settings(name="mini", image_size=64, rungs=(0.2,))


def _draw(seed):
    space = SPACES["spinenet49"]
    return Architecture(space.decode(space.sample(Random(seed))), space.scaling)


def _draw_of(record):
    space = SPACES["spinenet49"]
    return Architecture(space.decode(record.choices), space.scaling)


@pytest.fixture
def mini(tmp_path):
    path = tmp_path / "mini.json"
    path.write_text(json.dumps(SMALL.to_dict()))
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["spinenet4"], "unknown space or command 'spinenet4', did you mean 'spinenet49'"),
        (["spinenet49", "--strategy", "evolutio"], "unknown strategy 'evolutio', did you mean 'evolution'"),
        (["spinenet49", "--proxy", "tinny"], "unknown proxy 'tinny', did you mean 'tiny'"),
        (["spinenet49", "--scaling", "spinenet50"], "spinenet50"),
        (["spinenet49", "--executor", "process"], "unknown executor 'process', did you mean 'processes'"),
        (["spinenet49", "--data.root", "nowhere"], "nowhere"),
        (["spinenet49", "--trials", "0"], "trials must be at least 1, got 0"),
        (["spinenet49", "--workers", "0"], "workers must be at least 1, got 0"),
        (["spinenet49", "--workers", "0", "--executor", "in-process"], "workers must be at least 1, got 0"),
        (["spinenet49", "--workers", "-1", "--executor", "processes"], "workers must be at least 1, got -1"),
        (["spinenet49", "--workers", "2", "--executor", "in-process"], "in-process has one worker, not 2"),
        (["spinenet49", "--timeout", "-1"], "timeout must be a finite number of seconds above 0, got -1"),
        (["spinenet49", "--timeout", "nan"], "above 0, got nan"),
        (["spinenet49", "--timeout", "inf", "--workers", "2"], "above 0, got inf"),
        (["spinenet49", "--timeout", "0", "--workers", "2"], "above 0, got 0"),
        (["spinenet49", "--constraint", "macs=-inf:90e9"], "'macs=-inf:90e9' is not MEASURE=LOW:HIGH with finite"),
        (["spinenet49", "--constraint", "macs=inf:"], "'macs=inf:' is not MEASURE=LOW:HIGH with finite ends"),
        (["spinenet49", "--constraint", "foo=1:2"], "unknown measure 'foo'"),
        (["spinenet49", "--constraint", "latency=:4"], "needs the latency table"),
        (["spinenet49", "--halving", "1", "--proxy", "tiny"], "eta"),
        (["spinenet49", "--halving", "-3", "--proxy", "tiny"], "eta"),
        (["spinenet49", "--halving", "3"], "mini has only one; use one of lean-fast 2, tiny 2"),
        (["spinenet49", "--halving", "3", "--proxy", "paper"], "paper has only one"),
        (["spinenet49", "--threads", "0"], "threads must be at least 1, got 0"),
        (["spinenet49", "--gpus", "99"], "there is no GPU '99'"),
        (["spinenet49", "--data.val-share", "1"], "--data.val-share is 1; must be at least 0 and below 1"),
        (["spinenet49", "--data.val-share", "0.2"], "has its own val split"),
    ],
)
def test_a_bad_argument_is_one_sentence(spinet, digits, mini, tmp_path, arguments, words):
    data = [] if "--data.root" in arguments else ["--data.root", digits]
    proxy = [] if "--proxy" in arguments else ["--proxy", mini]
    code, _, err = spinet("search", *arguments, *data, *proxy, "--run", tmp_path / "run")
    assert words in err
    assert code == 1
    assert err.startswith("spinet: error: ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run" / "journal.jsonl").exists()


@pytest.mark.parametrize("command", [["status"], ["report"], ["export", "--optuna", "sqlite://"]])
def test_a_missing_run_is_one_sentence(spinet, tmp_path, command):
    if command[0] == "export":
        pytest.importorskip("optuna")
    code, _, err = spinet("search", command[0], tmp_path / "nowhere", *command[1:])
    assert code == 1
    assert err.startswith("spinet: error: could not read the journal")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["spinenet4"], "unknown space"),
        (["hourglass", "--image-size", "0"], "image_size must be at least 1 pixel, got 0"),
        (["hourglass", "--device", "abacus"], "the device 'abacus' cannot be used"),
    ],
)
def test_a_latency_that_cannot_be_measured_is_one_sentence(spinet, tmp_path, arguments, words):
    code, _, err = spinet("search", "latency", *arguments, "-o", tmp_path / "table.json")
    assert code == 1
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "table.json").exists()


@pytest.mark.slow
def test_a_tiny_search_goes_from_its_start_to_its_report(spinet, digits, mini, tmp_path):
    run = tmp_path / "run"
    start = ["search", "spinenet49", "--data.root", digits, "--proxy", mini, "--run", run, "--strategy", "random"]
    table = tmp_path / "table.json"
    parts = {key for trial in range(3000) for key in part_keys(_draw(trial))}
    table.write_text(json.dumps({"milliseconds": dict.fromkeys(parts, 0.5), "image_size": 320, "device": "a device"}))
    start += ["--gpus", "none", "--threads", "1", "--latency-table", table]

    code, out, err = spinet(*start, "--trials", "3", "--references", "1", "--no-zero-cost")
    assert (code, err) == (0, "")
    assert "finished after 3 trials" in out
    assert "a trial takes about" in out
    assert "published" in out
    assert "spinet train small-cpu --data.root" in out
    assert "workers: 1 (in-process), on cpu, 1 thread each" in out
    assert load_architecture(str(run / "best.json")).genotype.blocks

    # The dataset may have another path; a link stands for a copy here.
    (tmp_path / "moved").symlink_to(digits)
    start[start.index(digits)] = tmp_path / "moved"
    code, out, _ = spinet(*start, "--trials", "4", "--no-zero-cost")
    assert code == 0
    assert "finished after 4 trials" in out
    assert "a trial takes about" not in out

    code, out, _ = spinet("search", "status", run, "--json")
    assert code == 0
    assert json.loads(out)["told"] == 4
    assert json.loads(out)["failures"] == {}
    code, out, _ = spinet("search", "status", run)
    assert "4 trials finished" in out

    records = load_search(run).records
    assert [record.metrics["latency_ms"] for record in records] == [0.5 * len(part_keys(_draw_of(r))) for r in records]

    pytest.importorskip("plotly")
    assert spinet("search", "report", run)[0] == 0
    assert "spinenet49" in (run / "report.html").read_text()

    pytest.importorskip("optuna")
    storage = f"sqlite:///{tmp_path}/study.db"
    assert "4 trials in" in spinet("search", "export", run, "--optuna", storage)[1]
    assert "4 trials in" in spinet("search", "export", run, "--optuna", storage, "--name", "another")[1]


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["Label Studio: YOLO", "CVAT: COCO 1.0"])
def test_a_search_on_an_export_leaves_the_val_share_of_a_training_alone(spinet, mini, tmp_path, monkeypatch, tool):
    export, run = tmp_path / "export", tmp_path / "run"
    WHOLE[tool](export, pictures())
    start = ["search", "spinenet49", "--data.root", export, "--proxy", mini, "--run", run, "--strategy", "random"]
    start += ["--gpus", "none", "--constraint", "none", "--no-zero-cost", "--data.val-seed", "5"]

    for refused in (("--references", "-1"), ("--gpus", "99")):
        assert spinet(*start, "--data.val-share", "0.3", *refused)[0] == 1
        assert not run.exists()

    code, out, err = spinet(*start, "--data.val-share", "0.3", "--trials", "1")

    assert (code, err) == (0, "")
    assert f"\n7 images of {export} are train and 3 are val" in f"\n{out}"
    assert "6 images to train on, 1 held out" in out
    # Neither a resumed search nor a training beside it chooses again.
    monkeypatch.setattr("spinet.data.division.near_groups", None)
    assert spinet(*start, "--data.val-share", "0.3", "--trials", "2")[0] == 0
    division = json.loads((run / "division.json").read_text())
    opened = open_split(lambda part: CocoDataset(export, part), "val", Division(0.3, 5), tmp_path / "other")
    assert [sample.number - 1 for sample in opened.samples] == division["val"]
    monkeypatch.undo()
    code, _, err = spinet(*start, "--data.val-share", "0.5", "--trials", "2")
    assert code == 1
    assert json.loads((run / "division.json").read_text()) == division
    assert "was written with val_share 0.3, not 0.5" in err


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_search_goes_on_without_an_image_that_cannot_be_read(spinet, digits, mini, tmp_path, part):
    root = shutil.copytree(digits, tmp_path / "data")
    file = getattr(open_data(str(root), SMALL), part).samples[0].path
    file.write_bytes(file.read_bytes()[:-300])
    start = ["search", "spinenet49", "--data.root", root, "--proxy", mini, "--run", tmp_path / "run", "--gpus", "none"]

    with pytest.warns(UserWarning, match=rf"train: .*train/{file.name}.*truncated"):
        code, out, err = spinet(*start, "--strategy", "random", "--trials", "1", "--references", "0")

    assert (code, err) == (0, "")
    assert "finished after 1 trials" in out
