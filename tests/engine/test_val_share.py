import json

import pytest
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
    assert spinet.evaluate(run, moved, device="cpu") == pytest.approx(measured, nan_ok=True)


def test_a_fraction_outside_its_range_is_refused(tmp_path):
    for fraction in (1, -0.1, "much"):
        with pytest.raises(SpinetError, match=r"data\.val_share"):
            spinet.train("small-cpu", tmp_path / "run", data={"root": str(tmp_path), "val_share": fraction})
