import itertools
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import forked
import pytest
import torch
from safetensors.torch import load_file

from spinet.data.coco import CocoDataset
from spinet.engine.checkpoint import load_model
from spinet.engine.distributed import pick_device
from spinet.engine.loop import TrainRun
from spinet.engine.state import TrainState
from spinet.engine.train import model_info, train
from spinet.errors import BuildError, NotFinite, OutOfMemory, SpinetError, Stopped
from spinet.models.retinanet import RetinaNet


def weights_of(run):
    return load_file(run / "last.safetensors")


def losses_of(run):
    """(step, losses) of every line of metrics, without the timings."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if "second" not in key and key != "memory_gib"} for line in lines
    ]


def assert_same_end(one, other):
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses_of(one) == losses_of(other)
    first = torch.load(one / "state.pt", weights_only=True)["state"]
    second = torch.load(other / "state.pt", weights_only=True)["state"]
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    assert first["step"] == second["step"]


@pytest.mark.slow
def test_a_run_without_a_folder_ends_as_one_with_it_and_writes_nothing(config, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    written, kept = train(config, tmp_path / "run", quiet=True), train(config, None, quiet=True)

    assert (kept.last, kept.best, kept.steps, kept.losses) == (
        written.last,
        written.best,
        written.steps,
        written.losses,
    )
    assert not list(Path.cwd().iterdir())


@pytest.mark.slow
def test_a_training_without_evaluations_ends_with_the_same_weights(config, tmp_path):
    config = replace(config, eval_epochs=0.5)
    evaluated, bare = train(config, None, quiet=True), train(config, tmp_path, quiet=True, evaluate=False)

    assert (bare.last, bare.best, bare.losses) == ({}, {}, evaluated.losses)
    weights = evaluated.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in bare.model.state_dict().items())
    assert not (tmp_path / "best.safetensors").exists()
    sessions = (tmp_path / "sessions.jsonl").read_bytes()
    assert train(config, tmp_path, quiet=True, evaluate=False).steps == bare.steps
    assert (tmp_path / "sessions.jsonl").read_bytes() == sessions


@pytest.mark.slow
def test_the_result_has_the_losses_of_the_lines_of_metrics_and_the_weights_that_were_evaluated(config, tmp_path):
    result = train(replace(config, log_steps=3), tmp_path, quiet=True)

    lines = [line for line in losses_of(tmp_path) if "loss" in line]
    assert result.losses == tuple((line["step"], line["loss"]) for line in lines)
    assert [step for step, _ in result.losses] == [3, 6, 8]
    assert not result.model.training
    weights = result.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in weights_of(tmp_path).items())


@pytest.mark.slow
def test_a_run_folder_holds_config_metrics_weights_and_state(config, tmp_path):
    result = train(config, tmp_path / "run", quiet=True)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "metrics.jsonl",
        "sessions.jsonl",
        "labels.json",
        "state.pt",
        "tensorboard",
        "train-batch.jpg",
        "val.npz",
    }
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert result.steps == 8
    assert result.best["AP"] >= result.last["AP"]
    steps = [line["step"] for line in losses_of(tmp_path / "run") if "loss" in line]
    assert steps == list(range(1, 9))


@pytest.mark.slow
def test_training_lowers_the_loss(config, tmp_path):
    calm = replace(config.model, stochastic_depth=0.0, dropblock=0.0)
    train(replace(config, model=calm, epochs=24, eval_epochs=0, save_seconds=1e9), tmp_path, quiet=True)
    losses = [line["loss"] for line in losses_of(tmp_path) if "loss" in line]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.slow
def test_two_runs_of_one_seed_are_bit_equal_and_another_seed_is_not(short, tmp_path):
    train(short, tmp_path / "one", quiet=True)
    train(short, tmp_path / "two", quiet=True)
    train(replace(short, seed=1), tmp_path / "three", quiet=True)
    assert_same_end(tmp_path / "one", tmp_path / "two")
    assert losses_of(tmp_path / "one")[0] != losses_of(tmp_path / "three")[0]


@pytest.mark.slow
def test_loader_processes_change_nothing(short, tmp_path):
    train(short, tmp_path / "none", quiet=True)
    train(replace(short, data=replace(short.data, workers=2)), tmp_path / "two", quiet=True)
    assert_same_end(tmp_path / "none", tmp_path / "two")


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_augmenting_on_the_device_ends_bit_equal_also_when_stopped_and_started_again(
    config, tmp_path, stop_at, accumulate
):
    data = replace(config.data, vertical_flip=True, colour_jitter=0.3)
    config = replace(config, epochs=1, data=data, accumulate=accumulate)
    train(config, tmp_path / "workers", quiet=True)
    on_device = replace(config, data=replace(data, augment_on="device", cache_images=False, workers=accumulate - 1))

    stop_at(2)
    with pytest.raises(KeyboardInterrupt):
        train(on_device, tmp_path / "device", quiet=True)
    stop_at(None)
    train(on_device, tmp_path / "device", quiet=True)

    assert_same_end(tmp_path / "workers", tmp_path / "device")


@pytest.mark.slow
def test_a_run_keeps_to_where_it_augments(short, tmp_path):
    # On a GPU resizing rounds differently.
    train(short, tmp_path, quiet=True)

    with pytest.raises(SpinetError, match="data.augment_on was 'workers', now 'device'"):
        train(replace(short, data=replace(short.data, augment_on="device")), tmp_path, quiet=True)


@pytest.mark.slow
def test_training_in_process_leaves_the_callers_random_numbers_alone(short, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(short, tmp_path, quiet=True)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5])
def test_a_run_stopped_and_started_again_ends_bit_equal(config, tmp_path, stop_at, step):
    train(config, tmp_path / "whole", quiet=True)

    stop_at(step)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", quiet=True)
    stop_at(None)
    train(config, tmp_path / "parts", quiet=True)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_run_stopped_before_a_line_of_metrics_writes_it_when_it_resumes(config, tmp_path, monkeypatch, capsys):
    config = replace(config, log_steps=1)
    train(config, tmp_path / "whole", quiet=True)
    step = TrainRun.step

    def interrupted(run, batches):
        step(run, batches)
        if run.state.step == 2:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainRun, "step", interrupted)
    with pytest.raises(Stopped):
        train(config, tmp_path / "parts")
    monkeypatch.setattr(TrainRun, "step", step)
    train(config, tmp_path / "parts")

    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    assert "step 2/8  loss" in capsys.readouterr().out.split("resuming")[1]


@pytest.mark.slow
def test_a_run_resumed_from_an_old_checkpoint_rewrites_what_came_after(config, tmp_path):
    slow_saves = replace(config, save_seconds=1e9)
    train(slow_saves, tmp_path / "whole", quiet=True)
    run = tmp_path / "parts"
    train(replace(config, epochs=1), run, quiet=True)
    (run / "config.json").unlink()
    # The folder as a kill in the second epoch leaves it: lines beyond the checkpoint, the last one torn.
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 99.0}\n{"step": 6, "lo')
    lines = (run / "metrics.jsonl").read_text()
    assert "99.0" in lines
    train(slow_saves, run, quiet=True)
    steps = [line["step"] for line in losses_of(run) if "loss" in line]
    assert steps == list(range(1, 9))
    assert "99.0" not in (run / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(short, tmp_path):
    first = train(short, tmp_path, quiet=True)
    before = (tmp_path / "state.pt").stat().st_mtime_ns
    again = train(short, tmp_path, quiet=True)
    assert again.last == pytest.approx(first.last, nan_ok=True)
    assert (tmp_path / "state.pt").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_killed_at_five_random_moments_ends_bit_equal(config, tmp_path, spinet):
    config = replace(config, epochs=6, eval_epochs=2)
    file = tmp_path / "settings.json"
    file.write_text(config.to_json())
    assert spinet("train", file, "--run", tmp_path / "whole")[0] == 0
    command = (forked.command, "train", file, "--run", tmp_path / "killed")
    draw = random.Random(0)
    for step in sorted(draw.sample(range(1, 20), 5)):
        process = forked.start(*command, output=tmp_path / "said.txt")
        while last_step(tmp_path / "killed") < step:
            assert process.is_alive()
            time.sleep(0.01)
        # Anywhere between two steps: in a forward pass, an evaluation or the middle of a write.
        time.sleep(draw.uniform(0, 0.15))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert spinet("train", file, "--run", tmp_path / "killed")[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def last_step(run):
    """The step of the last whole line of metrics, 0 before the first."""
    file = run / "metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


@pytest.mark.slow
def test_two_processes_train_one_model_and_agree(config, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(replace(config, eval_epochs=0).to_json())
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "--", "spinet"]
    command = [*launch, "train", str(file), "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.count(
            "learning rate: 0.01562 (1 per 256 images, scaled to batch size 4 = 2 processes x 1 parts x 2)"
        )
        == 1
    )
    assert losses_of(tmp_path / "run")[-1]["step"] == 8
    # All eight val images were evaluated, split among both.
    assert "val/AP" in losses_of(tmp_path / "run")[-1]
    # The same command again goes on, with both processes.
    forked.group(forked.command, "train", file, "--run", tmp_path / "run", output=tmp_path / "said")
    assert "has already finished" in (tmp_path / "said.0").read_text()


@pytest.mark.slow
def test_accumulating_two_parts_averages_their_gradients(short, tmp_path):
    # Without batch statistics and with equal numbers of objects, parts would equal the whole; here only the
    # bookkeeping is checked: twice the forward passes, half the size each, the same number of steps.
    result = train(replace(short, accumulate=2), tmp_path, quiet=True)
    assert result.steps == 2
    lines = [line for line in losses_of(tmp_path) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0.5 < line["loss"] < 5 for line in lines)


def test_a_batch_that_cannot_be_split_is_refused(short, tmp_path):
    with pytest.raises(SpinetError, match="batch_size is 4; must be a multiple of 1 processes x 3 parts"):
        train(replace(short, accumulate=3), tmp_path, quiet=True)


@pytest.mark.slow
def test_a_folder_of_other_settings_is_refused_by_the_settings_that_differ(short, tmp_path):
    train(short, tmp_path, quiet=True)
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(SpinetError, match=r"trained with different settings \(batch_size was 4, now 2\)"):
        train(replace(short, batch_size=2), tmp_path, quiet=True)
    assert (tmp_path / "config.json").read_text() == before


@pytest.mark.slow
def test_settings_that_change_only_speed_may_differ(short, tmp_path):
    train(short, tmp_path, quiet=True)
    train(replace(short, log_steps=7, data=replace(short.data, workers=1)), tmp_path, quiet=True)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_checkpoint(config, tmp_path, monkeypatch):
    calls = itertools.count(1)
    losses = RetinaNet.losses

    def poisoned(model, images, targets):
        found = losses(model, images, targets)
        return found | {"box": found["box"] * float("nan")} if next(calls) == 4 else found

    monkeypatch.setattr(RetinaNet, "losses", poisoned)
    with pytest.raises(NotFinite, match="the box loss was not finite at step 4; earlier checkpoints are intact"):
        train(config, tmp_path, quiet=True)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["state"]["step"] == 3
    assert all(value.isfinite().all() for value in weights_of(tmp_path).values())


def test_a_step_that_does_not_fit_into_memory_is_an_error_of_its_own_kind(short, tmp_path, monkeypatch):
    def too_much(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(RetinaNet, "losses", too_much)
    with pytest.raises(
        OutOfMemory, match="2 images of 64 px do not fit into the memory of cpu; use a smaller batch_size .*accumulate"
    ):
        train(replace(short, accumulate=2), tmp_path, quiet=True)


def test_a_network_that_cannot_be_built_is_an_error_of_its_own_kind(short, tmp_path):
    model = replace(short.model, arch="resnet18-fpn")
    with pytest.raises(BuildError, match="not supported by the baseline resnet18-fpn"):
        train(replace(short, model=model), tmp_path, quiet=True)


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_one_sentence_and_nothing_half_written(short, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(short.to_json())
    # A limit on the size of files fails the write of the weights (3 MB) in its middle, as a full disk does.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))"
    program = f"{limit}; from spinet.cli import main; main()"
    command = [sys.executable, "-c", program, "train", str(file), "--run", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"spinet: error: could not write {tmp_path / 'run'}/")
    assert len(done.stderr.strip().splitlines()) == 1
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"config.json", "labels.json", "metrics.jsonl", "sessions.jsonl", "tensorboard", "train-batch.jpg"}


def test_train_and_val_of_different_classes_are_refused(digits, short, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(digits, root)
    file = root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 99, "name": "extra"})
    file.write_text(json.dumps(content))
    with pytest.raises(SpinetError, match="do not list the same categories"):
        train(replace(short, data=replace(short.data, root=str(root))), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_gradient_that_overflows_never_reaches_a_checkpoint(config, tmp_path):
    wild = replace(config, epochs=8, optim=replace(config.optim, lr=1e6, clip_norm=0.0))
    with pytest.raises(NotFinite, match="not finite"):
        train(wild, tmp_path, quiet=True)
    state = torch.load(tmp_path / "state.pt", weights_only=True)["state"]
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_classes(digits, config, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(digits, root)
    config = replace(config, data=replace(config.data, root=str(root)))
    train(config, tmp_path / "run", quiet=True)
    for split in ("train", "val"):
        file = root / "annotations" / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["categories"].append({"id": 99, "name": "extra"})
        file.write_text(json.dumps(content))
    with pytest.raises(SpinetError, match=r"was trained on 3 classes, but the dataset has 4 now \('extra' is new\)"):
        train(config, tmp_path / "run", quiet=True)


@pytest.mark.slow
def test_going_on_needs_no_weights_that_the_run_started_from(short, tmp_path):
    train(short, tmp_path / "first", quiet=True)
    again = replace(short, model=replace(short.model, weights=str(tmp_path / "first")))
    train(again, tmp_path / "second", quiet=True)
    shutil.rmtree(tmp_path / "first")
    train(again, tmp_path / "second", quiet=True)


@pytest.mark.slow
def test_a_start_that_failed_may_be_corrected_in_its_folder(short, tmp_path):
    (tmp_path / "config.json").write_text(replace(short, batch_size=2).to_json())
    assert train(short, tmp_path, quiet=True).steps == 2


def test_training_photos_without_any_object_are_refused(digits, short, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(digits, root)
    file = root / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"annotations": []}))
    with pytest.raises(SpinetError, match="has no objects in any image: there is nothing to train on"):
        train(replace(short, data=replace(short.data, root=str(root))), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_boxes_that_are_shares_of_the_image_are_refused_before_training(digits, short, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(digits, root)
    file = root / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        entry["bbox"] = [value / 64 for value in entry["bbox"]]
    file.write_text(json.dumps(content))
    with pytest.raises(
        SpinetError, match=r"one pixel wide or high, .*; are these normalized coordinates \(0-1\) rather than pixels"
    ):
        train(replace(short, data=replace(short.data, root=str(root))), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_quick_check_warns_of_what_costs_accuracy(short, tmp_path, capsys):
    train(replace(short, data=replace(short.data, max_objects=1)), tmp_path)
    assert re.search(r"warning: train: \d+ of 16 images have more than 1 objects, .*; raise", capsys.readouterr().out)


def test_a_missing_data_folder_leaves_no_run_folder_behind(short, tmp_path):
    with pytest.raises(SpinetError, match="nowhere"):
        train(replace(short, data=replace(short.data, root=str(tmp_path / "nowhere"))), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_an_unknown_device_is_refused():
    with pytest.raises(SpinetError, match="device 'gpu' is not available"):
        pick_device("gpu")


@pytest.mark.slow
def test_weights_to_start_from_are_the_ones_trained_on(short, tmp_path):
    train(short, tmp_path / "first", quiet=True)
    dataset = CocoDataset(Path(short.data.root), "train")
    again = replace(short, model=replace(short.model, weights=str(tmp_path / "first")))
    state = TrainState(model_info(again, dataset), again, torch.device("cpu"))
    loaded, _ = load_model(tmp_path / "first")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in state.model.state_dict().items())


@pytest.mark.slow
def test_four_real_photos_are_learnt_by_heart(real_photos, config, tmp_path):
    root = real_photos("bccd")
    dataset = CocoDataset(root, "train", cache_images=True)
    all_classes = [sample for sample in dataset.samples if len(sample.labels.unique()) == 3]
    chosen = [sample for sample in all_classes if len(sample.labels) <= 16][:4]
    train_set, val_set = (subset(root, chosen) for _ in range(2))
    config = replace(
        config,
        model=replace(config.model, stochastic_depth=0.0, dropblock=0.0, bn_momentum=0.1, anchor_scale=2.0),
        data=replace(config.data, root=str(root), image_size=256, scale_jitter=(1.0, 1.0), horizontal_flip=False),
        optim=replace(config.optim, lr=4.0, warmup_epochs=5, ema_decay=0.0),
        epochs=250,
        batch_size=4,
        eval_epochs=0,
        log_steps=50,
        save_seconds=1e9,
    )
    result = train(config, tmp_path, train_set=train_set, val_set=val_set, quiet=True)
    assert result.last["AP50"] > 0.9


def subset(root, samples):
    """The train split of a data set, narrowed to some samples, in memory."""
    dataset = CocoDataset(root, "train", cache_images=True)
    dataset.samples = samples
    truth, ids = dataset.ground_truth(), {sample.image_id for sample in samples}
    narrowed = truth | {
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [entry for entry in truth["annotations"] if entry["image_id"] in ids],
    }
    dataset.ground_truth = lambda: narrowed
    return dataset
