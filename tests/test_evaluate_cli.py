"""Test-time augmentation as options of `spinet evaluate`."""

import json
import os

import pytest
import torch
from three_formats import small_splits, write_yolo

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo, create_model
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig


def weights(folder, head):
    """An untrained network for the generated photos."""
    torch.manual_seed(0)
    architecture, settings = load_architecture("tiny"), ModelConfig(arch="tiny", head=head)
    info = ModelInfo(architecture, settings, ("zero", "one", "two"), (1, 2, 3), 64)
    model = create_model(architecture, settings, 3)
    if head == "retinanet":
        torch.nn.init.constant_(model.cls_tower.bias, -1.0)  # so that it finds something
    path = folder / f"{head}.safetensors"
    save_weights(path, model.state_dict(), info, {})
    return path


def metrics_of(spinet, path, root, *options):
    code, out, err = spinet("evaluate", path, "--data.root", root, "--device", "cpu", "--json", *options)
    assert code == 0, err
    return json.loads(out)


@pytest.mark.slow
def test_views_are_off_unless_asked_for(spinet, tmp_path, digits):
    path = weights(tmp_path, "retinanet")

    plain = metrics_of(spinet, path, digits)

    assert metrics_of(spinet, path, digits, "--scales", "1", "--no-flip") == plain
    assert metrics_of(spinet, path, digits, "--flip") != plain
    assert metrics_of(spinet, path, digits, "--scales", "0.75", "1", "1.25") != plain


@pytest.mark.slow
def test_views_of_a_classifier_are_refused(spinet, tmp_path, digits):
    path = weights(tmp_path, "classifier")

    code, _, err = spinet("evaluate", path, "--data.root", digits, "--device", "cpu", "--flip")

    assert code == 1
    assert "holds a classifier; flip and scales are for detectors" in err


@pytest.mark.slow
def test_a_scale_of_nothing_is_refused(spinet, tmp_path, digits):
    path = weights(tmp_path, "retinanet")

    code, _, err = spinet("evaluate", path, "--data.root", digits, "--device", "cpu", "--scales", "0")

    assert code == 1
    assert "scales are (0.0,); must be one or more finite numbers above 0" in err


def test_threads_and_loader_processes_are_said_before_anything_is_done(spinet, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)

    code, out, _ = spinet("evaluate", tmp_path / "gone", "--threads", "2", "--workers", "4")

    assert code == 1
    assert out.splitlines() == [
        "using 2 of 64 CPU cores (threads)",
        "loading images in 3 instead of 4 processes, one per CPU core (CPU affinity)",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["7 0.5 0.5 0.2 0.2", "0 nan 0.5 0.2 0.2"])
def test_what_the_labels_lack_is_said_beside_the_metrics(spinet, tmp_path, bad):
    folders = small_splits(tmp_path)
    folders[0]["val"]["categories"] = [{"id": k, "name": name} for k, name in enumerate(("zero", "one", "two"), 1)]
    root = write_yolo(tmp_path / "yolo", *folders)
    label = root / "labels" / "val" / "2.txt"
    label.write_text(f"{label.read_text()}{bad}\n")

    code, out, err = spinet(
        "evaluate", weights(tmp_path, "retinanet"), "--data.root", root, "--device", "cpu", "--json"
    )

    assert code == 0
    assert json.loads(out)["AR100"] >= 0
    assert err.startswith("spinet: val: 1 of 4 label lines are invalid and left out, such as ")
