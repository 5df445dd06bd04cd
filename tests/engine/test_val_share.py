import json

import pytest
from class_folders import write_image
from exports import WHOLE, pictures

import spinet
from spinet.data.coco import CocoDataset
from spinet.data.division import open_split
from spinet.errors import SpinetError
from spinet.formats.splits import Division

SETTINGS = {
    "epochs": 1,
    "batch_size": 4,
    "device": "cpu",
    "model": {"arch": "tiny"},
    "data": {"image_size": 64, "workers": 0, "val_share": 0.3, "val_seed": 5},
    "optim": {"schedule": "cosine", "warmup_epochs": 0.0},
}


@pytest.mark.slow
def test_a_run_on_an_export_records_its_division_and_is_evaluated_on_the_same_images(tmp_path):
    export, run = tmp_path / "export", tmp_path / "run"
    WHOLE["Label Studio: COCO"](export, pictures())
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "root": str(export)}}

    trained = spinet.train("small-cpu", run, quiet=True, **settings)

    config = json.loads((run / "config.json").read_text())["data"]
    assert (config["val_share"], config["val_seed"]) == (0.3, 5)
    measured = spinet.evaluate(run, device="cpu")
    assert measured["AP"] == pytest.approx(trained.last["AP"], abs=1e-6)
    assert set(measured) == set(trained.last)
    assert spinet.evaluate(run, split="all", device="cpu")["AP"] >= 0
    # The same run goes on, and another division is another run.
    again = spinet.train("small-cpu", run, quiet=True, **settings)
    assert again.last == pytest.approx(trained.last, nan_ok=True)
    other = {**settings, "data": {**settings["data"], "val_seed": 6}}
    with pytest.raises(SpinetError, match=r"val_seed was 5, now 6"):
        spinet.train("small-cpu", run, quiet=True, **other)

    val = open_split(lambda part: CocoDataset(export, part), "val", Division(0.3, 5))
    moved = tmp_path / "moved"
    export.rename(moved)
    same = open_split(lambda part: CocoDataset(moved, part), "val", Division(0.3, 5))
    assert [sample.path.name for sample in same.samples] == [sample.path.name for sample in val.samples]
    said = []
    assert spinet.evaluate(run, moved, device="cpu", say=said.append) == pytest.approx(measured, nan_ok=True)
    assert said == [
        f"{moved} is not divided: the metrics are those of {len(val)} of 10 images, the val split of the training's"
        " data.val_share 0.3; the split all has every image"
    ]
    spinet.evaluate(run, moved, split="all", device="cpu", say=said.append)
    assert len(said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["small-cpu", "small-cpu-classes"])
def test_a_run_that_is_resumed_or_evaluated_decodes_nothing_to_divide_its_data(tmp_path, monkeypatch, recipe):
    export, run = tmp_path / "export", tmp_path / "run"
    if recipe == "small-cpu":
        WHOLE["Label Studio: YOLO"](export, pictures())
    else:
        for label, name in enumerate(("cat", "dog")):
            for number in range(6):
                write_image(export / name / f"{number}.png", seed=10 * label + number)
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "root": str(export)}}
    trained = spinet.train(recipe, run, quiet=True, **settings)

    monkeypatch.setattr("spinet.data.division.near_groups", None)

    assert spinet.train(recipe, run, quiet=True, **settings).last == pytest.approx(trained.last, nan_ok=True)
    assert spinet.evaluate(run, device="cpu").keys() == trained.last.keys()
    second = spinet.train(recipe, tmp_path / "second", quiet=True, **settings)
    assert second.last == pytest.approx(trained.last, nan_ok=True)
    assert (run / "division.json").read_bytes() == (tmp_path / "second" / "division.json").read_bytes()


def test_a_training_that_is_refused_leaves_no_division_behind(tmp_path):
    WHOLE["Label Studio: YOLO"](tmp_path / "export", pictures())
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "root": str(tmp_path / "export")}, "batch_size": 3}

    with pytest.raises(SpinetError, match="batch_size"):
        spinet.train("small-cpu", tmp_path / "run", quiet=True, accumulate=2, **settings)

    assert not (tmp_path / "run").exists()


def test_a_fraction_outside_its_range_is_refused(tmp_path):
    for fraction in (1, -0.1, "much"):
        with pytest.raises(SpinetError, match=r"data\.val_share"):
            spinet.train("small-cpu", tmp_path / "run", data={"root": str(tmp_path), "val_share": fraction})
