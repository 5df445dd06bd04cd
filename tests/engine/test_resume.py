"""A run goes on with the same data wherever they are, and with no other data; what may not be bit-equal is said."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from spinet.engine.train import train
from spinet.errors import SpinetError


@pytest.fixture
def data(digits, tmp_path):
    """A dataset that a test may move or change."""
    return shutil.copytree(digits, tmp_path / "data")


def on(config, root):
    return replace(config, data=replace(config.data, root=str(root)))


def change(root, split, edit):
    file = root / "annotations" / f"instances_{split}.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def state_of(run):
    return torch.load(run / "state.pt", weights_only=True)


@pytest.mark.slow
def test_a_run_whose_data_moved_ends_as_if_they_had_not(config, data, tmp_path, stop_at):
    config = on(replace(config, epochs=1), data)
    train(config, tmp_path / "whole", quiet=True)
    stop_at(2)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", quiet=True)
    stop_at(None)

    train(on(config, data.rename(tmp_path / "moved")), tmp_path / "parts", quiet=True)

    for name in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def drop_an_image(content):
    gone = content["images"].pop(0)["id"]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != gone]


def widen_a_box(content):
    content["annotations"][0]["bbox"][2] -= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "edit", "words"),
    [
        ("train", drop_an_image, "15 training images instead of 16"),
        ("train", widen_a_box, "the boxes in the training images"),
        ("val", widen_a_box, "the boxes in the validation images"),
    ],
)
def test_a_run_does_not_go_on_with_changed_data(short, data, tmp_path, split, edit, words):
    train(on(short, data), tmp_path / "run", quiet=True)
    before = (tmp_path / "run" / "state.pt").read_bytes()
    change(data, split, edit)

    with pytest.raises(SpinetError, match=f"the data of .*run have changed: {words}; restore them, or start another"):
        train(on(short, data), tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


@pytest.mark.slow
def test_a_run_older_than_digests_goes_on_where_its_data_were(short, data, tmp_path):
    run = tmp_path / "run"
    train(on(short, data), run, quiet=True)
    content = state_of(run)
    del content["state"]["origin"]
    torch.save(content, run / "state.pt")
    (tmp_path / "link").symlink_to(data)

    assert train(on(short, tmp_path / "link"), run, quiet=True).steps == 2
    shutil.copytree(data, tmp_path / "copy")
    with pytest.raises(SpinetError, match=r"different settings \(data\.root was "):
        train(on(short, tmp_path / "copy"), run, quiet=True)


@pytest.mark.slow
def test_another_number_of_threads_is_said(short, tmp_path, capsys):
    before = torch.get_num_threads()
    train(replace(short, threads=1), tmp_path / "run")
    assert "note:" not in capsys.readouterr().out
    train(replace(short, threads=2), tmp_path / "run")
    assert torch.get_num_threads() == before
    assert (
        "note: the run was trained with CPU threads 1, now 2: its end will not be bit-equal" in capsys.readouterr().out
    )


@pytest.mark.slow
def test_another_version_is_said_and_resumes(short, tmp_path, capsys):
    run = tmp_path / "run"
    train(short, run, quiet=True)
    content = state_of(run)
    content["state"]["origin"]["made_with"] |= {"Spinet": "0.0.1", "PyTorch": "0.4"}
    torch.save(content, run / "state.pt")

    train(short, run)

    out = capsys.readouterr().out
    assert "note: the run was trained with Spinet 0.0.1, now " in out
    assert f"PyTorch 0.4, now {torch.__version__}: its end will not" in out


@pytest.mark.slow
def test_weights_files_of_equal_runs_are_equal_files(short, tmp_path):
    for name in ("one", "two", "three"):
        train(short, tmp_path / name, quiet=True)
    for file in ("last.safetensors", "best.safetensors", "state.pt"):
        assert len({(tmp_path / name / file).read_bytes() for name in ("one", "two", "three")}) == 1, file
    assert load_file(tmp_path / "one" / "last.safetensors")
