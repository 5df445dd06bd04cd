"""Training says what is odd about its data, and goes on where it can."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.doctor.headers import header_findings
from spinet.engine.task import Classification, Detection
from spinet.engine.train import train
from spinet.errors import SpinetError


@pytest.fixture
def copied(digits, tmp_path) -> Path:
    return shutil.copytree(digits, tmp_path / "data")


def edit(root: Path, split: str, change) -> None:
    file = root / "annotations" / f"instances_{split}.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


@pytest.mark.slow
def test_a_val_split_with_one_class_of_three_is_trained_and_measured(short, copied, tmp_path):
    def only_twos(raw):
        raw["categories"] = [entry for entry in raw["categories"] if entry["id"] == 2]
        raw["annotations"] = [entry for entry in raw["annotations"] if entry["category_id"] == 2]

    edit(copied, "val", only_twos)

    result = train(replace(short, data=replace(short.data, root=str(copied))), tmp_path / "run", quiet=True)

    assert [name for name in result.last if name.startswith("AP/")] == ["AP/zero", "AP/one", "AP/two"]
    assert math.isnan(result.last["AP/zero"])
    assert not math.isnan(result.last["AP/one"])


def test_images_that_are_rotated_by_exif_but_annotated_as_stored_are_said_before_the_first_step(short, copied):
    def lie(raw):
        exif = Image.Exif()
        exif[0x0112] = 6
        entry = raw["images"][-1]
        path = copied / "train" / entry["file_name"]
        Image.open(path).resize((64, 48)).save(path, exif=exif)
        entry["height"] = 48
        raw["annotations"] = [item for item in raw["annotations"] if item["image_id"] != entry["id"]]

    edit(copied, "train", lie)
    train_set, val_set = CocoDataset(copied, "train"), CocoDataset(copied, "val")

    found = {finding.check: finding for finding in Detection().findings(short, train_set, val_set)}

    assert found["unrotated annotations"].severity == "warning"
    assert "train: 1 of 16 images are rotated by EXIF" in found["unrotated annotations"].text


def test_an_image_of_another_size_is_a_warning_and_several_are_refused_before_the_first_step(short, copied, tmp_path):
    edit(copied, "val", lambda raw: raw["images"][-1].update(width=65))
    [finding] = header_findings(CocoDataset(copied, "val"))
    assert (finding.severity, finding.check) == ("warning", "wrong size")
    assert "looked at" not in finding.text
    assert ", and are left out; fix the size" in finding.text

    edit(copied, "val", lambda raw: raw["images"][0].update(width=65))
    with pytest.raises(
        SpinetError, match=r"val: 2 of 8 images do not have the annotated size.*instead of \d+ x \d+; fix the size"
    ):
        train(replace(short, data=replace(short.data, root=str(copied))), tmp_path / "run", quiet=True)


@pytest.mark.parametrize("looked", [2, 3, 4])
@pytest.mark.parametrize("broken", [True, False])
def test_a_check_of_some_headers_says_how_many_it_looked_at(copied, monkeypatch, looked, broken):
    monkeypatch.setattr("spinet.doctor.headers.SAMPLED", looked)
    if broken:
        CocoDataset(copied, "val").samples[0].path.write_bytes(b"")
    else:
        edit(copied, "val", lambda raw: raw["images"][0].update(width=65))

    [finding] = header_findings(CocoDataset(copied, "val"))

    assert f"val: 1 of {looked} images {'cannot be read' if broken else 'do not have'}" in finding.text
    assert finding.text.endswith(f"; {looked} of 8 images were looked at, `spinet doctor` looks at all")


def test_a_classifier_says_which_files_it_does_not_read(classifier_config, colours):
    (colours / "train" / "red" / "a.heic").touch()

    findings = Classification().findings(
        classifier_config, ClassDataset(colours, "train"), ClassDataset(colours, "val")
    )

    assert [finding.severity for finding in findings] == ["warning"]
    assert "train: 1 file is skipped because Pillow does not read the format (.heic: 1)" in findings[0].text


@pytest.mark.slow
def test_the_command_prints_what_is_odd_and_trains(copied, tmp_path, spinet):
    def odd(raw):
        raw["images"].append(raw["images"][0] | {"id": 10**40})
        raw["annotations"][0]["area"] = -1
        raw["annotations"][1]["iscrowd"] = "0"

    edit(copied, "train", odd)

    options = ("--data.image-size", "64", "--model.arch", "tiny", "--device", "cpu", "--epochs", "1")
    code, out, error = spinet("train", "small-cpu", "--data.root", copied, "--run", tmp_path / "run", *options)

    assert code == 0, error
    lines = [line for line in out.splitlines() if line.startswith("warning: train:")]
    assert any("1 of 16 image files are listed twice or more" in line for line in lines)
    assert any("areas replaced that are not above 0" in line for line in lines)
