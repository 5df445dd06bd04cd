"""Short memory and killed loader processes end in one sentence that says what to lower."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spinet.data.coco import CocoDataset
from spinet.engine.task import Detection
from spinet.engine.train import train
from spinet.errors import OutOfMemory, SpinetError, is_out_of_memory
from spinet.models.retinanet import RetinaNet

FAR_TOO_MANY = 2**50


def failure(action):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever the library raises)
        action()
    return caught.value


@pytest.mark.parametrize(
    "action",
    [
        lambda: torch.empty(FAR_TOO_MANY),
        lambda: np.empty(FAR_TOO_MANY),
        lambda: bytearray(FAR_TOO_MANY),
        lambda: (_ for _ in ()).throw(OSError(errno.ENOMEM, "Cannot allocate memory")),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA")),
        lambda: (_ for _ in ()).throw(RuntimeError("can't start new thread")),
    ],
)
def test_short_memory_is_recognised_however_it_is_said(action):
    assert is_out_of_memory(failure(action))


@pytest.mark.parametrize(
    "action",
    [
        lambda: torch.ones(2) @ torch.ones(3),
        lambda: torch.ones(2).view(3),
        lambda: Path("/nowhere/at/all").read_text(),
        lambda: int("no"),
    ],
)
def test_other_errors_are_not_taken_for_it(action):
    assert not is_out_of_memory(failure(action))


def exhausted(*_, **__):
    return torch.empty(FAR_TOO_MANY)


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name"), [(RetinaNet, "losses"), (Detection, "measure"), (CocoDataset, "image")])
def test_a_training_that_does_not_fit_into_main_memory_says_what_to_lower(short, tmp_path, monkeypatch, owner, name):
    monkeypatch.setattr(owner, name, exhausted)
    short = replace(short, data=replace(short.data, cache_images=False))
    with pytest.raises(OutOfMemory, match="4 images.* main memory; use a smaller batch_size or") as error:
        train(short, tmp_path / "run", quiet=True)
    assert "workers" in str(error.value)
    assert len(str(error.value)) < 300


def test_loader_processes_send_short_memory_as_a_sentence(short, tmp_path, monkeypatch):
    monkeypatch.setattr(CocoDataset, "image", exhausted)
    with pytest.raises(OutOfMemory, match="the process that loads 4 images has too little main memory"):
        train(replace(short, data=replace(short.data, workers=1)), tmp_path / "run", quiet=True)


def test_errors_of_unknown_cause_keep_their_traceback(short, tmp_path, monkeypatch):
    monkeypatch.setattr(RetinaNet, "losses", lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size") as error:
        train(short, tmp_path / "run", quiet=True)
    assert not isinstance(error.value, SpinetError)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the loader processes in /proc")
def test_a_killed_loader_process_is_one_sentence_and_the_run_resumes(config, tmp_path):
    run, file = tmp_path / "run", tmp_path / "settings.json"
    file.write_text(replace(config, epochs=400, eval_epochs=0, data=replace(config.data, workers=1)).to_json())
    command = [sys.executable, "-m", "spinet", "train", file, "--run", run]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (run / "state.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)

    _, err = process.communicate()

    assert process.returncode == 1
    # PyTorch notices by the signal of its end or by the silence, whichever comes first.
    assert re.match(r"spinet: error: a process that loads images (was killed|exited unexpectedly)", err)
    assert len(err.splitlines()) == 1
    step = torch.load(run / "state.pt", weights_only=True)["state"]["step"]
    assert step >= 1
