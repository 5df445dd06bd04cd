"""A run folder is of one training or of one search, and neither writes into that of the other."""

import pytest

import spinet as package
from spinet.errors import SpinetError


@pytest.fixture
def search(tmp_path):
    package.search("spinenet49", block_count, tmp_path / "search", trials=1, constraints=[], quiet=True)
    return tmp_path / "search"


@pytest.fixture
def training(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "config.json").write_text("{}")
    return tmp_path / "training"


def block_count(architecture):
    return len(architecture.genotype.blocks)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_search_stays_out_of_the_folder_of_a_training(spinet, digits, training):
    before = contents(training)
    with pytest.raises(SpinetError, match="training is the run folder of a training; a search needs another one"):
        package.search("spinenet49", block_count, training, trials=1, quiet=True)
    code, _, err = spinet("search", "spinenet49", "--data.root", digits, "--run", training, "--trials", "1")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "is the run folder of a training" in err
    assert contents(training) == before


def test_a_training_stays_out_of_the_folder_of_a_search(spinet, digits, search):
    before = contents(search)
    code, _, err = spinet("train", "demo", "--data.root", digits, "--run", search)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "is the run folder of a search; a training needs another one" in err
    assert contents(search) == before


def test_a_file_is_no_run_folder(spinet, digits, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    code, _, err = spinet("train", "demo", "--data.root", digits, "--run", tmp_path / "photo.jpg")
    assert code == 1
    assert "photo.jpg is a file; name a folder, which is created" in err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["train", "{folder}", "--data.root", "x", "--run", "y"], "is a folder; name a recipe here, such as small-cpu"),
        (["train", "demo", "--model.arch", "{search}", "--run", "y", "--data.root", "{digits}"], "search/best.json"),
        (["predict", "{photo}", "{folder}"], "is an image; expected a model here: a run folder"),
        (["search", "stauts", "{search}"], "unknown space or command 'stauts', did you mean 'status'"),
    ],
)
def test_mixed_up_arguments_are_said_so(spinet, search, digits, tmp_path, monkeypatch, command, words):
    photo = next((digits / "train").iterdir())
    named = {"folder": digits, "search": search, "photo": photo, "digits": digits}
    monkeypatch.chdir(tmp_path)
    code, _, err = spinet(*(word.format(**named) for word in command))
    assert code == 1
    assert words in err
    assert len(err.splitlines()) == 1
