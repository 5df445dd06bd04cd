"""Ctrl-C and SIGTERM end a training between two steps with a checkpoint, from which it ends bit-equal."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch

from spinet.engine.loop import TrainRun
from spinet.engine.task import Detection
from spinet.engine.train import train
from spinet.errors import Stopped

COMMAND = [sys.executable, "-m", "spinet", "train"]


@pytest.fixture
def plain(config):
    """Eight steps without checkpoints of their own, two of them with an evaluation."""
    return replace(config, save_seconds=1e9)


@pytest.fixture
def settings(plain, tmp_path):
    """The same as a file for the command line, long enough to be met in the middle, with a loader process."""
    config = replace(plain, epochs=10, eval_epochs=0, log_steps=3, data=replace(plain.data, workers=1))
    file = tmp_path / "settings.json"
    file.write_text(config.to_json())
    return file


def steps_of(run):
    file = run / "metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line)["step"] for line in lines]


def metrics_of(run):
    """All lines of metrics without what the clock and the memory say."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMED} for line in lines]


TIMED = ("images_per_second", "memory_gib")


def assert_same(one, other):
    """Compare nested values of a checkpoint bit by bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert repr(one) == repr(other)  # NaN, too


def assert_same_end(one, other):
    for name in ("last.safetensors", "best.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert_same(state_of(one), state_of(other))
    assert metrics_of(one) == metrics_of(other)


def state_of(run):
    return torch.load(run / "state.pt", weights_only=True)["state"]


def stopped(settings, run, number, *, group):
    """Train until the first lines of metrics, send a signal, and return the exit code and what was said."""
    process = subprocess.Popen(
        [*COMMAND, settings, "--run", run],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not steps_of(run):
        assert process.poll() is None
        time.sleep(0.01)
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.slow
def test_a_signal_saves_and_says_so_and_the_same_command_ends_bit_equal(settings, tmp_path, spinet):
    assert spinet("train", settings, "--run", tmp_path / "whole")[0] == 0
    # A terminal and some job schedulers send the signal to the loader processes, too.
    for number, group, code, name in (
        (signal.SIGTERM, False, 143, "SIGTERM"),
        (signal.SIGTERM, True, 143, "SIGTERM"),
        (signal.SIGINT, True, 130, "Ctrl-C"),
    ):
        run = tmp_path / f"{name}-{group}"
        end, err = stopped(settings, run, number, group=group)
        step = state_of(run)["step"]
        assert step >= 3
        place = f"after step {step} of 40, with a checkpoint in {run}"
        assert (end, err) == (code, f"spinet: stopped by {name} {place}; run the same command again to resume\n")

        assert spinet("train", settings, "--run", run)[0] == 0
        assert_same_end(tmp_path / "whole", run)


@pytest.fixture
def signal_at(monkeypatch):
    """Return a function that sends this process a signal when a part of the training begins, once."""

    def arrange(owner, name, condition=lambda *_: True, number=signal.SIGTERM):
        original, sent = getattr(owner, name), []

        def sending(*arguments, **more):
            if not sent and condition(*arguments):
                sent.append(True)
                os.kill(os.getpid(), number)
            return original(*arguments, **more)

        monkeypatch.setattr(owner, name, sending)

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 4, 8])
def test_from_python_a_signal_in_a_step_raises_after_saving(plain, tmp_path, signal_at, step):
    train(plain, tmp_path / "whole", quiet=True)
    signal_at(TrainRun, "step", lambda run, _: run.state.step == step - 1)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        KeyboardInterrupt, match=f"stopped by SIGTERM after step {step} of 8, with a checkpoint"
    ) as stop:
        train(plain, tmp_path / "parts", quiet=True)

    assert isinstance(stop.value, Stopped)
    assert stop.value.number == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert state_of(tmp_path / "parts")["step"] == step
    # What is due after the step, its line of metrics and its evaluation, is done when the run is resumed.
    assert step not in steps_of(tmp_path / "parts")
    train(plain, tmp_path / "parts", quiet=True)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_signal_in_an_evaluation_abandons_it_and_resuming_repeats_it(plain, tmp_path, signal_at):
    train(plain, tmp_path / "whole", quiet=True)
    signal_at(Detection, "measure", number=signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C after step 4 of 8"):
        train(plain, tmp_path / "parts", quiet=True)

    assert steps_of(tmp_path / "parts") == [1, 2, 3, 4]
    train(plain, tmp_path / "parts", quiet=True)
    assert steps_of(tmp_path / "parts") == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_kill_after_an_evaluation_that_was_caught_up_on_doubles_no_line(plain, tmp_path, signal_at, stop_at):
    run = tmp_path / "run"
    signal_at(Detection, "measure")
    with pytest.raises(Stopped):
        train(plain, run, quiet=True)
    before = (run / "state.pt").read_bytes()
    stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        train(plain, run, quiet=True)
    stop_at(None)
    assert steps_of(run) == [1, 2, 3, 4, 4]
    (run / "state.pt").write_bytes(before)  # as if the kill had come between the line and the checkpoint

    train(plain, run, quiet=True)
    assert steps_of(run) == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]


@pytest.mark.slow
def test_a_second_signal_waits_for_nothing(plain, tmp_path, signal_at):
    signal_at(TrainRun, "step", number=signal.SIGINT)
    signal_at(TrainRun, "_losses", number=signal.SIGINT)
    with pytest.raises(Stopped, match="stopped at once by Ctrl-C"):
        train(plain, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.slow
def test_a_signal_that_is_ignored_stays_ignored(plain, tmp_path, signal_at):
    signal_at(TrainRun, "step", number=signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert train(replace(plain, epochs=0.5), tmp_path / "run", quiet=True).steps == 2
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_training_outside_the_main_thread_sets_no_handlers(short, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(short, tmp_path / "run", quiet=True)))
    thread.start()
    thread.join()
    assert results[0].steps == 2


def test_a_training_without_a_folder_leaves_signals_to_its_caller(short, signal_at):
    signal_at(TrainRun, "step", number=signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as stop:
        train(short, None, quiet=True)
    assert not isinstance(stop.value, Stopped)
