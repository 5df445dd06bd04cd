"""One image that cannot be read does not stop a training or an evaluation; it is counted and named."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from spinet.arch.catalog import load_architecture
from spinet.data.class_data import ClassDataset
from spinet.data.coco import CocoDataset
from spinet.engine.build import create_model
from spinet.engine.classify import evaluate_classes
from spinet.engine.evaluate import EvalOptions, evaluate, mean_loss
from spinet.engine.state_file import read_state
from spinet.engine.train import model_info, train
from spinet.errors import SpinetError


@pytest.fixture
def faulty(config, digits, tmp_path):
    """Settings for a copy of the generated images, of which one in each split is cut short."""
    root = shutil.copytree(digits, tmp_path / "data")
    for split in ("train", "val"):
        file = CocoDataset(root, split).samples[2].path
        file.write_bytes(file.read_bytes()[:-300])
    return replace(config, data=replace(config.data, root=str(root), cache_images=False))


def spoil(config, split, count):
    for sample in CocoDataset(config.data.root, split).samples[:count]:
        sample.path.write_bytes(b"")


def unread(run):
    return read_state(run / "state.pt", load_architecture("tiny"))["unread"]


def name(config, split):
    return CocoDataset(config.data.root, split).samples[2].path.name


@pytest.mark.slow
def test_a_training_goes_on_and_names_and_counts_the_image(faulty, tmp_path, capsys):
    train(faulty, tmp_path / "run")

    lines = capsys.readouterr().out.splitlines()
    for split, total, end in (
        ("train", 16, "the images after them took their places"),
        ("val", 8, "they are left out of the metrics, with their objects"),
    ):
        [counted] = [line for line in lines if line.startswith(f"warning: {split}: 1 of {total} images cannot be read")]
        assert name(faulty, split) in counted
        assert counted.endswith(end)
    [first] = [line for line in lines if line.startswith("warning: train: the image ")]
    assert lines.index(first) < lines.index(next(line for line in lines if "took their places" in line))
    # A finished run still says it.
    train(faulty, tmp_path / "run")
    assert "train: 1 of 16 images cannot be read" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_run_with_such_an_image_that_is_resumed_ends_bit_equal(faulty, tmp_path, stop_at, step, recwarn):
    train(faulty, tmp_path / "whole", quiet=True)
    stop_at(step)
    with pytest.raises(KeyboardInterrupt):
        train(faulty, tmp_path / "parts", quiet=True)
    stop_at(None)
    with_workers = replace(faulty, data=replace(faulty.data, workers=2))
    train(with_workers, tmp_path / "parts", quiet=True)

    one, other = (load_file(tmp_path / run / "last.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    metrics = [(tmp_path / run / "metrics.jsonl").read_text().count("val/AP") for run in ("whole", "parts")]
    assert metrics[0] == metrics[1]
    states = [unread(tmp_path / run) for run in ("whole", "parts")]
    assert states[0] == states[1]
    assert len(states[0]) == 1
    assert any("train: the image " in str(warning.message) for warning in recwarn)


@pytest.mark.slow
@pytest.mark.parametrize(("split", "total"), [("train", 16), ("val", 8)])
def test_many_such_images_are_refused(faulty, tmp_path, split, total):
    spoil(faulty, split, 2)

    with pytest.raises(SpinetError, match=rf"^{split}: 2 of {total} images cannot be read, such as "):
        train(faulty, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_many_cut_images_are_refused_when_they_are_met(faulty, tmp_path):
    # Their headers are intact, so that nothing shows before they are decoded.
    for sample in CocoDataset(faulty.data.root, "train").samples[:2]:
        sample.path.write_bytes(sample.path.read_bytes()[:-300])

    with (
        pytest.raises(SpinetError, match=r"^train: 2 of 16 images cannot be read \("),
        pytest.warns(match="train: the image"),
    ):
        train(faulty, tmp_path / "run", quiet=True)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_metrics_are_those_of_the_other_images(faulty, workers):
    dataset = CocoDataset(faulty.data.root, "val")
    others = dataset.subset(at for at in range(len(dataset)) if at != 2)
    torch.manual_seed(0)
    model = model_info(faulty, dataset).create_model()
    said = []
    options = EvalOptions(64, 3, workers=workers, say=said.append)

    with_fault = evaluate(model, dataset, options).metrics

    assert with_fault == pytest.approx(evaluate(model, others, options).metrics, nan_ok=True)
    alone = replace(options, batch_size=1)
    assert mean_loss(model, dataset, alone) == pytest.approx(mean_loss(model, others, alone))
    [text] = said
    assert text.startswith("val: 1 of 8 images cannot be read (")
    assert f"/{name(faulty, 'val')}): " in text


def test_a_python_program_gets_a_warning(faulty):
    dataset = CocoDataset(faulty.data.root, "val")
    model = model_info(faulty, dataset).create_model()

    with pytest.warns(UserWarning, match="val: 1 of 8 images cannot be read"):
        evaluate(model, dataset, EvalOptions(64, 4))


@pytest.mark.parametrize("broken", [1, 2])
def test_the_accuracy_of_a_classifier_is_that_of_the_other_images(classifier_config, broken):
    dataset = ClassDataset(classifier_config.data.root, "val")
    others = dataset.subset(range(broken, len(dataset)))
    torch.manual_seed(0)
    model = create_model(model_info(classifier_config, dataset).architecture, classifier_config.model, 3)
    said = []
    options = EvalOptions(32, 4, say=said.append)
    for sample in dataset.samples[:broken]:
        sample.path.write_bytes(b"nothing")

    if broken == 2:
        with pytest.raises(SpinetError, match="val: 2 of 12 images cannot be read"):
            evaluate_classes(model, dataset, options)
        return
    evaluation, expected = evaluate_classes(model, dataset, options), evaluate_classes(model, others, options)
    assert evaluation.metrics == pytest.approx(expected.metrics)
    assert evaluation.record(1).same_data(expected.record(1))
    assert said[0].startswith("val: 1 of 12 images cannot be read (blue/0.png): not an image")


PROGRAM = """
import sys
from spinet.engine.config import read_config
from spinet.engine.train import train
from pathlib import Path

train(read_config(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_all_processes_agree_on_the_image(faulty, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "config.json").write_text(faulty.to_json())
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    files = [str(tmp_path / each) for each in ("program.py", "config.json", "run")]

    done = subprocess.run([*launch, *files], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning: train: the image ") == 1
    assert done.stdout.count("warning: train: 1 of 16 images cannot be read") == 1
    assert done.stdout.count("warning: val: 1 of 8 images cannot be read") == 1
    assert len(unread(tmp_path / "run")) == 1
