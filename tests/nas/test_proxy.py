import json
import math
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.head_cost import model_cost
from spinet.arch.scaling import Scaling
from spinet.errors import BuildError, NotFinite, OutOfMemory, SpinetError
from spinet.nas.proxies import Proxy
from spinet.nas.proxy import ProxyTask, curve, memory_errors, open_data

TINY = load_architecture("tiny").genotype
QUICK = Proxy(name="quick").with_settings(
    stem_channels=8,
    endpoint_channels=8,
    head_channels=8,
    head_convs=1,
    octaves=1,
    aspect_ratios=(1.0,),
    bn_momentum=0.1,
    image_size=64,
    batch_size=4,
    lr=0.02,
    rungs=(1, 2),
    held_out=0.3,
    reward="AP50",
    cache_images=True,
)
BASE = Scaling()


@pytest.fixture
def task(digits):
    return ProxyTask(QUICK, str(digits), "cpu")


def measured(task, *, genotype=TINY, rung=0, seed=1, accumulate=1):
    """The metrics without the time."""
    metrics = task(genotype, base=BASE, rung=rung, seed=seed, accumulate=accumulate)
    return {name: value for name, value in metrics.items() if name != "seconds"}


@pytest.mark.slow
def test_a_trial_gives_its_reward_and_all_that_was_measured(task):
    metrics = task(TINY, base=BASE, rung=0, seed=1)

    assert {*metrics} == {
        "reward",
        "AP",
        "AP50",
        "loss",
        "train_loss",
        "curve",
        "seconds",
        "macs",
        "parameters",
        "zero_cost",
    }
    assert metrics["reward"] == metrics["AP50"]
    assert metrics["train_loss"] == metrics["curve"][-1]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.slow
def test_macs_and_parameters_are_those_of_the_network_that_was_trained(task):
    metrics = measured(task)

    architecture = Architecture(TINY, QUICK.scaling(BASE))
    assert (metrics["parameters"], metrics["macs"]) == model_cost(architecture, 64, num_classes=3, anchors=1)


@pytest.mark.slow
def test_the_reward_can_be_minus_the_loss(task):
    metrics = measured(replace(task, proxy=QUICK.with_settings(reward="loss")))

    assert metrics["reward"] == -metrics["loss"]


@pytest.mark.slow
def test_the_reward_can_be_minus_the_training_loss_and_then_nothing_is_evaluated(task):
    metrics, evaluated = measured(replace(task, proxy=QUICK.with_settings(reward="train_loss"))), measured(task)

    assert metrics["reward"] == -metrics["train_loss"]
    assert {*evaluated} - {*metrics} == {"AP", "AP50", "loss"}
    assert metrics["curve"] == evaluated["curve"]


@pytest.mark.slow
def test_one_seed_gives_the_same_numbers_again_and_another_seed_others(task):
    first, again, other = measured(task), measured(task), measured(task, seed=2)

    assert first == again
    assert first["loss"] != other["loss"]


@pytest.mark.slow
def test_the_seed_of_a_trial_may_have_63_bits(task):
    assert measured(task, seed=2**63 - 1)["loss"] != measured(task, seed=2**63 - 2)["loss"]


@pytest.mark.slow
def test_one_seed_gives_the_same_numbers_in_another_process(task):
    program = (
        "import json, pickle, sys\n"
        "task, genotype, base = pickle.load(sys.stdin.buffer)\n"
        "print(json.dumps(task(genotype, base=base, rung=0, seed=1)))"
    )
    here = measured(task)

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((task, TINY, BASE)),
        capture_output=True,
        timeout=300,
        check=True,
    )

    there = json.loads(done.stdout)
    assert {name: there[name] for name in here} == here


@pytest.mark.slow
def test_a_later_rung_trains_longer(task):
    assert task.config(1, 0, 1, 100).epochs == 2 * task.config(0, 0, 1, 100).epochs
    assert measured(task, rung=1)["loss"] != measured(task, rung=0)["loss"]


@pytest.mark.parametrize("batch_size", [1, 6, 7, 12])
@pytest.mark.parametrize("asked", [1, 2, 4, 8])
def test_a_batch_is_split_into_equal_parts_as_many_as_asked_or_more_down_to_one_image_each(task, batch_size, asked):
    config = replace(task, proxy=QUICK.with_settings(batch_size=batch_size)).config(0, 1, asked, images=20)

    assert config.batch_size % config.accumulate == 0
    assert config.accumulate >= min(asked, batch_size)


@pytest.mark.slow
def test_a_step_can_be_split_into_parts(task):
    assert math.isfinite(measured(task, accumulate=2)["reward"])


@pytest.mark.slow
def test_the_val_split_is_never_read(task, digits, tmp_path):
    for name in ("train", "annotations"):
        shutil.copytree(digits / name, tmp_path / name)
    (tmp_path / "annotations" / "instances_val.json").unlink()

    assert measured(replace(task, root=str(tmp_path))) == measured(task)


def test_held_out_images_are_not_trained_on_and_none_is_lost(digits):
    data = open_data(str(digits), QUICK)

    train, held = ({sample.image_id for sample in part.samples} for part in (data.train, data.held_out))
    assert (len(train), len(held)) == (12, 4)
    assert not train & held
    truth = data.held_out.ground_truth()
    assert {image["id"] for image in truth["images"]} == held
    assert {entry["image_id"] for entry in truth["annotations"]} <= held


@pytest.mark.slow
def test_images_stay_in_memory_from_trial_to_trial(task, digits):
    measured(task)

    assert open_data(str(digits), QUICK).train.image(0) is open_data(str(digits), QUICK).train.image(0)


def test_a_task_can_be_pickled(task):
    assert pickle.loads(pickle.dumps(task)) == task


@pytest.mark.slow
def test_threads_and_random_state_are_as_before(task):
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        measured(task)

        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_scores_of_the_untrained_network_can_be_left_out_and_change_nothing(task):
    with_scores, without = measured(task), measured(replace(task, zero_cost=False))

    assert {*with_scores.pop("zero_cost")} == {"grad_norm", "naswot", "snip", "synflow"}
    assert with_scores == without


@pytest.mark.slow
def test_a_diverged_training_is_reported(task):
    with pytest.raises(NotFinite, match="not finite"):
        measured(replace(task, proxy=QUICK.with_settings(lr=1e6, clip_norm=0)), rung=1)


def test_a_network_without_channels_cannot_be_built(task):
    with pytest.raises(BuildError, match=r"width 0\.001 with alpha 0\.25 leaves no channel"):
        measured(replace(task, proxy=QUICK.with_settings(width=0.001)))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_anywhere_in_a_trial_is_reported_as_such(error):
    with pytest.raises(OutOfMemory, match="the trial does not fit into memory"), memory_errors():
        raise error


def test_an_unexpected_error_is_raised_as_it_is():
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("shape")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"held_out": 0.01}, r"of the 16 images in .*train.json, none is held out for the reward: held_out 0.01 of"),
        (
            {"data_fraction": 0.01},
            "of the 16 images in .*, none is left to train on: data_fraction 0.01 of the proxy",
        ),
    ],
)
def test_too_few_images_for_a_part_are_one_sentence(digits, changes, sentence):
    with pytest.raises(SpinetError, match=sentence):
        open_data(str(digits), QUICK.with_settings(**changes))


@pytest.mark.parametrize(("part", "what"), [("held_out", "held out for the reward"), ("train", "left to train on")])
def test_a_part_without_objects_is_one_sentence(digits, tmp_path, part, what):
    shutil.copytree(digits, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "annotations" / "instances_train.json"
    raw = json.loads(file.read_text())
    emptied = {sample.image_id for sample in getattr(open_data(str(digits), QUICK), part).samples}
    raw["annotations"] = [entry for entry in raw["annotations"] if entry["image_id"] not in emptied]
    file.write_text(json.dumps(raw))

    with pytest.raises(SpinetError, match=rf"{len(emptied)} are {what} and none of them has an object"):
        open_data(str(tmp_path), QUICK)


@given(losses=st.lists(st.floats(0, 9), min_size=1, max_size=90), length=st.integers(1, 5), points=st.integers(1, 20))
def test_a_curve_has_so_many_points_and_keeps_the_mean(losses, length, points):
    stretches = tuple(((number + 1) * length, loss) for number, loss in enumerate(losses))

    found = curve(stretches, points)

    assert len(found) == min(points, len(losses))
    assert min(losses) - 1e-9 <= min(found) <= max(found) <= max(losses) + 1e-9
    if len(losses) % len(found) == 0:
        assert sum(found) / len(found) == pytest.approx(sum(losses) / len(losses), abs=1e-9)
