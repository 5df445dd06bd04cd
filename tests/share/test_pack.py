"""`spinet pack`: what is inside, that it is the model, and that nothing of the machine is."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_runs import classifier_run, detector_run
from small_models import tiny_weights

import spinet as package
from spinet.arch.catalog import load_architecture, load_network
from spinet.engine.checkpoint import read_weights
from spinet.engine.config import ModelConfig, TrainConfig, read_config
from spinet.engine.packed import read_packed
from spinet.errors import SpinetError
from spinet.share.pack import pack
from spinet.share.settings import shared_config, shown_settings


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    return detector_run(tmp_path_factory.mktemp("secret-folder") / "run", digits)


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    return pack(run, tmp_path_factory.mktemp("out") / "m.zip", license="MIT", dataset="Digits").path


@pytest.fixture
def repacked(packed, tmp_path):
    """Write the packed model again with some of its files changed, or left out where the content is None."""

    def write(**changes: bytes | None) -> Path:
        with zipfile.ZipFile(packed) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        files |= {name.replace("__", "."): content for name, content in changes.items()}
        with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:
            for name, content in files.items():
                if content is not None:
                    archive.writestr(name, content)
        return tmp_path / "again.zip"

    return write


def test_a_packed_model_holds_weights_card_settings_metrics_drawing_samples_and_checksums(packed, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
        names = archive.namelist()

    samples = [f"samples/{number}.jpg" for number in range(1, 7)]
    plain = ["README.md", "model.safetensors", "config.json", "metrics.json", "architecture.svg"]
    assert names == [*plain, *samples, "checksums.txt"]
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "checksums.txt").read_text().splitlines())
    assert sums == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names[:-1]}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "checksums.txt"], cwd=tmp_path, check=True, stdout=-3)
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["AP"]["value"] > 0.3
    assert (tmp_path / "architecture.svg").read_text().startswith("<svg")


def test_samples_are_val_images_with_boxes_and_without_metadata(packed, digits):
    picture = Image.open(io.BytesIO(read_packed(packed)["samples/1.jpg"]))

    plain = Image.open(sorted((digits / "val").rglob("*.*"))[0]).convert("RGB")
    assert picture.size == plain.size
    assert not picture.getexif()
    assert np.abs(np.asarray(picture, float) - np.asarray(plain, float)).max() > 60


def test_equal_runs_give_equal_files_at_any_time_and_from_any_folder(run, packed, tmp_path):
    again = pack(shutil.copytree(run, tmp_path / "moved"), tmp_path / "n.zip", license="mit", dataset="Digits").path

    assert again.read_bytes() == packed.read_bytes()


def test_nothing_inside_names_a_folder_of_this_machine(digits, tmp_path):
    run = detector_run(tmp_path / "private-project" / "run", digits)
    change_config(run, weights=str(tmp_path / "customer" / "first.safetensors"), arch="/home/me/graphs/mine.json")

    packed = pack(run, tmp_path / "m.zip").path

    content = packed.read_bytes()
    for secret in (str(tmp_path), str(digits), "private-project", "customer", "/home/me", digits.name):
        assert secret.encode() not in content, secret
    config = json.loads(read_packed(packed)["config.json"])
    assert (config["data"]["root"], config["model"]["weights"], config["model"]["arch"]) == (
        "",
        "first.safetensors",
        "mine.json",
    )


def change_config(run, **model):
    """Change settings of the model, in config.json and in the weights."""
    from spinet.engine.checkpoint import save_weights

    config = read_config(run / "config.json")
    config = replace(config, model=replace(config.model, **model))
    (run / "config.json").write_text(config.to_json())
    tensors, info = read_weights(run / "best.safetensors")
    save_weights(run / "best.safetensors", tensors, replace(info, model=config.model), {"step": 40})


def test_the_file_predicts_as_the_run_does(packed, run, digits):
    image = sorted((digits / "val").rglob("*.*"))[0]

    of_run, of_file = (package.load(path).predict(str(image), score_threshold=0.0) for path in (run, packed))

    assert len(of_run) > 0
    np.testing.assert_array_equal(of_file.boxes, of_run.boxes)
    np.testing.assert_array_equal(of_file.scores, of_run.scores)
    assert of_file.class_names == of_run.class_names


def test_the_command_packs_and_the_file_is_taken_like_a_run(run, spinet, digits, tmp_path):
    file = tmp_path / "model.zip"

    code, out, err = spinet("pack", run, "-o", file, "--no-samples", "--license", "apache-2.0")

    assert code == 0, err
    assert out.splitlines()[-1] == str(file)
    assert "samples" not in out
    assert "the dataset was not named" in err
    code, out, err = spinet("evaluate", file, "--data.root", digits)
    assert code == 0, err
    assert "AP50" in out
    code, out, err = spinet("predict", file, digits / "val", "-o", tmp_path / "pictures")
    assert code == 0, err


def test_the_unpacked_folder_is_a_model_too_and_does_not_pose_as_a_run(packed, digits, spinet, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "cells")

    assert package.load(tmp_path / "cells").class_names == package.load(packed).class_names
    code, _, err = spinet("evaluate", tmp_path / "cells")
    assert (code, "does not contain the path of its dataset" in err) == (1, True)
    code, _, err = spinet("compare", tmp_path / "cells", packed, "--data.root", digits, "--no-speed")
    assert code == 0, err


def test_without_its_dataset_a_run_is_packed_without_samples(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "run")
    config = json.loads((moved / "config.json").read_text())
    config["data"]["root"] = str(tmp_path / "gone")
    (moved / "config.json").write_text(json.dumps(config))

    packed = pack(moved, tmp_path / "m.zip")

    assert not any(name.startswith("samples/") for name in packed.files)
    assert any("no samples" in note for note in packed.notes)


def test_a_classifier_is_packed_and_predicts(tmp_path):
    packed = pack(classifier_run(tmp_path / "run"), tmp_path / "m.zip")

    result = package.load(packed.path).predict(Image.new("RGB", (32, 20)))
    assert set(result.class_names) == {"ant", "cat"}
    assert json.loads(read_packed(packed.path)["metrics.json"])["metrics"]["top1"]["value"] == pytest.approx(
        2 / 3, abs=1e-3
    )


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        (["best.safetensors", "val.npz"], "stopped at step 40 and was never evaluated"),
        (["config.json"], "holds no run; name the folder of a training"),
    ],
)
def test_a_run_that_cannot_be_packed_is_one_sentence_and_writes_nothing(run, spinet, tmp_path, remove, message):
    broken = shutil.copytree(run, tmp_path / "run")
    for name in remove:
        (broken / name).unlink()

    code, _, err = spinet("pack", broken, "-o", tmp_path / "out" / "m.zip")

    assert (code, message in err, len(err.splitlines())) == (1, True, 1), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "model.tar"], "must end in .zip, not model.tar"),
        (["-o", "m.zip", "--license", "apahce-2.0"], "did you mean 'apache-2.0'?"),
        (["-o", "m.zip", "--data.root", "nowhere"], "there is no dataset folder nowhere"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_writes_nothing(run, spinet, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)

    code, _, err = spinet("pack", run, *options)

    assert (code, message in err, len(err.splitlines())) == (1, True, 1), err
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_when_packing_fails(run, spinet, tmp_path):
    (tmp_path / "m.zip").write_bytes(b"old")

    assert spinet("pack", tmp_path, "-o", tmp_path / "m.zip")[0] == 1
    assert (tmp_path / "m.zip").read_bytes() == b"old"


def test_a_changed_file_is_refused_by_its_checksum(repacked, tmp_path):
    other = tiny_weights(tmp_path / "other.safetensors").read_bytes()

    with pytest.raises(SpinetError, match="model.safetensors in .* does not have the checksum in checksums.txt"):
        package.load(repacked(model__safetensors=other))


def test_a_zip_of_something_else_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("train/1.jpg", b"")

    with pytest.raises(SpinetError, match=r"not a model of `spinet pack`: it holds 'train/1.jpg'"):
        package.load(tmp_path / "data.zip")


def test_a_cut_file_is_one_sentence(packed, tmp_path):
    (tmp_path / "cut.zip").write_bytes(packed.read_bytes()[:-200])

    with pytest.raises(SpinetError, match="expected an intact .zip"):
        package.load(tmp_path / "cut.zip")


def test_a_file_without_checksums_is_refused(repacked):
    with pytest.raises(SpinetError, match="not a model of `spinet pack`"):
        package.load(repacked(checksums__txt=None))


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "a/b/c.txt", ".evil"])
def test_no_name_in_a_file_leads_out_of_the_folder(repacked, packed, spinet, tmp_path, name):
    sums = read_packed(packed, ["README.md"])
    with zipfile.ZipFile(packed) as archive:
        text = archive.read("checksums.txt").decode()
    line = f"{hashlib.sha256(sums['README.md']).hexdigest()}  {name}\n"
    file = repacked(checksums__txt=(text + line).encode(), **{name: sums["README.md"]})

    code, _, err = spinet("pull", file, "-o", tmp_path / "deep" / "out")

    assert (code, "expected lines of sha256sum" in err) == (1, True), err
    assert not (tmp_path / "deep").exists()
    assert not list(tmp_path.rglob("*evil*"))


def test_a_file_that_says_it_is_huge_is_not_read(repacked, monkeypatch):
    monkeypatch.setattr("spinet.engine.packed.MOST_WEIGHTS", 1000)

    with pytest.raises(SpinetError, match="too much for a packed model"):
        package.load(repacked())


def test_pull_takes_no_file_that_pack_does_not_write_and_draws_anew(packed, repacked, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        drawing = archive.read("architecture.svg")
    extra = {
        "best__safetensors": b"other",
        "state__pt": b"x",
        "evil__pt2": b"x",
        "architecture__svg": b"<svg>other</svg>",
    }
    sums = {name.replace("__", "."): hashlib.sha256(content).hexdigest() for name, content in extra.items()}
    with zipfile.ZipFile(packed) as archive:
        lines = [line for line in archive.read("checksums.txt").decode().splitlines() if "architecture" not in line]
    listed = "".join(f"{line}\n" for line in [*lines, *(f"{digest}  {name}" for name, digest in sums.items())])
    package.pull(repacked(checksums__txt=listed.encode(), **extra), tmp_path / "out")

    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "model.safetensors", "config.json", "metrics.json", "architecture.svg", "samples"}
    assert (tmp_path / "out" / "architecture.svg").read_bytes() == drawing


def test_a_network_inside_the_settings_stays_one_without_paths():
    text = replace(load_architecture("tiny"), name="best of /home/me/search", source="trial 3").to_json()
    shared = shared_config(TrainConfig(model=ModelConfig(arch=text)))
    assert load_network(shared.model.arch).name == "best of search"
    assert dict(shown_settings(shared))["model.arch"] == "best of search"


def test_pull_unpacks_what_is_listed_and_only_into_a_new_folder(packed, repacked, spinet, tmp_path):
    code, out, err = spinet("pull", repacked(stray__txt=b"not listed"), "-o", tmp_path / "cells")

    assert code == 0, err
    assert re.search(r"^detector: retinanet on tiny, 3 classes, 64 px$", out, re.M)
    assert {path.relative_to(tmp_path / "cells").as_posix() for path in (tmp_path / "cells").rglob("*.*")} == set(
        read_packed(packed)
    )
    code, _, err = spinet("pull", packed, "-o", tmp_path / "cells")
    assert (code, "is not empty; name another one" in err) == (1, True)
