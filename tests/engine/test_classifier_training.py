"""Training of classifiers: the same loop, on image folders."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from task_fixtures import COLOURS

from spinet.engine.checkpoint import load_classifier
from spinet.engine.config import TrainConfig
from spinet.engine.distributed import ProcessGroup
from spinet.engine.task import Classification
from spinet.engine.train import train
from spinet.errors import SpinetError


@pytest.fixture
def config(classifier_config: TrainConfig) -> TrainConfig:
    # 48 calm steps: after 24 at three times the rate, one seed in three confused two colors.
    return replace(classifier_config, optim=replace(classifier_config.optim, lr=1.0), epochs=16)


@pytest.mark.slow
def test_a_classifier_learns_colours_and_its_run_folder_holds_it(config, tmp_path):
    result = train(config, tmp_path / "run", quiet=True)

    assert result.best["top1"] >= 0.9
    losses = [loss for _, loss in result.losses]
    assert sum(losses[-3:]) < sum(losses[:3])
    _, info = load_classifier(tmp_path / "run")
    assert (info.kind, info.class_names, info.category_ids) == ("classifier", tuple(COLOURS), (1, 2, 3))


@pytest.mark.slow
def test_a_classifier_goes_on_from_another_with_new_rows_for_new_classes(config, tmp_path):
    train(config, tmp_path / "first", quiet=True)
    source = load_file(tmp_path / "first" / "best.safetensors")
    for split in ("train", "val"):
        (tmp_path / "colours" / split / "blue").rename(tmp_path / "colours" / split / "violet")
    again = replace(
        config,
        epochs=0.5,
        optim=replace(config.optim, lr=0.0),
        model=replace(config.model, weights=str(tmp_path / "first"), new_classes=True),
    )

    train(again, tmp_path / "second", quiet=True)

    found = load_file(tmp_path / "second" / "last.safetensors")
    assert torch.equal(found["backbone.stem.conv.conv.weight"], source["backbone.stem.conv.conv.weight"])
    # Green and red come before violet, as they came after blue.
    for name in ("fc.weight", "fc.bias"):
        assert torch.equal(found[name][:2], source[name][1:])
    assert not any(torch.equal(found["fc.weight"][2], row) for row in source["fc.weight"])


def test_photos_of_a_classifier_are_turned_upside_down_where_the_settings_say_so(config):
    group = ProcessGroup(0, 1, 0)
    shown = []
    for flip in (False, True):
        task, settings = Classification(), replace(config, data=replace(config.data, vertical_flip=flip))
        data = task.open(settings, "train")
        shown.append(next(task.batches(settings, data, part_size=24, first_batch=0, group=group)).images)

    same = [torch.equal(plain, flipped) for plain, flipped in zip(*shown, strict=True)]
    turned = [torch.equal(plain.flip(-2), flipped) for plain, flipped in zip(*shown, strict=True)]
    assert all(a != b for a, b in zip(same, turned, strict=True))
    assert any(turned)


def test_a_detection_data_set_is_refused(config, digits, tmp_path):
    with pytest.raises(SpinetError, match="crop-boxes"):
        train(replace(config, data=replace(config.data, root=str(digits))), tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_the_command_line_trains_measures_and_guesses(spinet, config, tmp_path):
    (tmp_path / "config.json").write_text(config.to_json())
    run = tmp_path / "run"
    code, out, _ = spinet("train", tmp_path / "config.json", "--run", run)
    assert code == 0
    assert "model: classifier on tiny" in out

    code, out, _ = spinet("evaluate", run, "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["top1"] >= 0.9

    photo = Path(config.data.root) / "val" / "red" / "0.png"
    code, out, _ = spinet("predict", run, photo, "--out", tmp_path / "out", "--device", "cpu", "--top", 2)
    assert code == 0
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert entry["guesses"][0]["class"] == "red"
    assert len(entry["guesses"]) == 2
