"""The study of fine-tuning: its subsets, settings and table, and that it resumes."""

import json
import math

import numpy as np
import pytest

import finetune_gain
import finetune_table
from spinet.analysis.records import DetectionRecord, Objects
from spinet.arch.catalog import load_network
from spinet.data.coco import CocoDataset
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig, differences
from spinet.errors import SpinetError


@pytest.fixture
def weights(tmp_path):
    info = ModelInfo(load_network("tiny"), ModelConfig(arch="tiny", activation="swish"), ("cat",), (1,), 64)
    save_weights(tmp_path / "w.safetensors", info.create_model().state_dict(), info, {})
    return tmp_path / "w.safetensors"


def test_subsets_are_nested_and_differ_by_seed(digits):
    train_set = CocoDataset(digits, "train")

    few, more, other = (
        [sample.image_id for sample in finetune_gain.nested(train_set, count, seed).samples]
        for count, seed in ((4, 0), (12, 0), (12, 1))
    )

    assert len(few) == 4
    assert set(few) < set(more)
    assert set(more) != set(other)
    with pytest.raises(SpinetError, match="has 16 images for training; 17 were asked for"):
        finetune_gain.nested(train_set, 17, 0)


def test_scratch_differs_from_fine_tuning_in_the_weights_and_the_recipe_alone(weights, digits, tmp_path):
    tuned, scratch = (
        finetune_gain.config_of(finetune_gain.Unit(method, 8, 1), weights, digits, 64, tmp_path / method)
        for method in ("finetune", "scratch")
    )

    assert set(differences(tuned, scratch)) <= {
        "model.weights",
        "model.new_classes",
        "model.class_start",
        "model.freeze_norm",
        "model.roi_samples",
        "model.mask_samples",
        "data.crop_area",
        "optim.lr",
        "optim.layer_decay",
    }
    assert (scratch.model.weights, scratch.model.activation, scratch.data.image_size) == ("", "swish", 64)
    assert (scratch.epochs, scratch.seed, scratch.optim.layer_decay) == (8, 1, 1.0)


@pytest.mark.slow
def test_it_trains_each_unit_once_and_writes_table_and_curves(weights, digits, tmp_path, capsys):
    folder = tmp_path / "runs"
    settings = {"counts": (4,), "seeds": (0, 1), "images_seen": 16}

    finetune_gain.main(weights, digits, folder, **settings)
    first = capsys.readouterr().out
    finetune_gain.main(weights, digits, folder, **settings)

    lines = [json.loads(line) for line in (folder / f"finetune-{digits.name}.jsonl").read_text().splitlines()]
    assert [(line["method"], line["seed"]) for line in lines] == [
        ("scratch", 0),
        ("scratch", 1),
        ("finetune", 0),
        ("finetune", 1),
    ]
    assert all((line["images_seen"], line["steps"]) == (16, 2) for line in lines)
    assert all(line["curve"][-1][0] == 16 for line in lines)
    assert "4/4  finetune-4-seed1" in first
    again = capsys.readouterr().out
    assert "finetune-4-seed1" not in again
    assert "| 4 | finetune | 2 |" in again
    assert (folder / f"finetune-{digits.name}.svg").read_text().startswith("<?xml")
    weights.write_bytes(weights.read_bytes().replace(b'"cat', b'"cow'))
    with pytest.raises(SpinetError, match="started from other weights"):
        finetune_gain.main(weights, digits, folder, counts=(4,), seeds=(2,), images_seen=16)


def record(found):
    """Two images with an object each; `found` says which of them the model detects."""
    boxes = np.array([[0.0, 0.0, 10.0, 10.0]] * 2)

    def objects(owners):
        count = len(owners)
        zeros = np.zeros(count, np.int64)
        return Objects(
            np.array(owners, np.int64), zeros, boxes[:count], np.full(count, 100.0), np.ones(count), zeros.astype(bool)
        )

    return DetectionRecord(("1.jpg", "2.jpg"), ("a",), 1, np.full((2, 2), 64), objects([0, 1]), objects(found))


def test_the_gain_is_the_mean_over_seeds_with_both_intervals():
    lines = [{"count": 50, "method": method, "seed": seed} for method in ("scratch", "finetune") for seed in (0, 1, 2)]
    records = [record([0]), record([]), record([0]), record([0, 1]), record([0]), record([0, 1])]

    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in finetune_table.table(lines, records, "scratch").splitlines()
    ]

    assert rows[2][:4] == ["50", "scratch", "3", "0.337 ± 0.292"]
    assert rows[2][4:] == ["", "", ""]
    # Gains of 0.495, 0.505 and 0.495: half of the recalls, of which there are 101.
    assert rows[3][:5] == ["50", "finetune", "3", "0.835 ± 0.286", "+0.498"]
    low, high = map(float, rows[3][5].split(" to "))
    assert low == 0
    assert high == pytest.approx(1, abs=0.02)
    half = 4.303 * np.std([0.495, 0.505, 0.495], ddof=1) / math.sqrt(3)
    assert rows[3][6] == f"{0.4983 - half:+.3f} to {0.4983 + half:+.3f}"
