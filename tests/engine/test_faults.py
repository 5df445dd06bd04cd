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
from spinet.engine.distributed import pick_device
from spinet.engine.faults import explained
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


# As PyTorch says it where its own allocator, which has a class of its own for it, is not the one that fails.
OF_GPUS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB"),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("HIP error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.50 GB, other allocations: 384 KB)"),
]
OF_THE_MACHINE = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("Caught AcceleratorError in pin memory thread for device 0.\nCUDA error: out of memory"),
]


def raised(error):
    def action(*_, **__):
        raise error

    return action


@pytest.mark.parametrize("error", OF_GPUS, ids=str)
def test_short_memory_of_a_gpu_names_the_gpu_and_only_what_helps_there(error):
    with pytest.raises(OutOfMemory) as training, explained(4, 64, torch.device("cuda:1")):
        raise error
    with pytest.raises(OutOfMemory) as evaluation, explained(1, (64, 96), torch.device("cuda:1"), training=False):
        raise error

    assert str(training.value).startswith("4 images of 64 px do not fit into the memory of cuda:1")
    assert str(training.value).endswith(
        "; use a smaller batch_size or data.image_size, or a larger accumulate; earlier checkpoints are intact"
    )
    assert str(evaluation.value).startswith("1 image of 96x64 px does not fit into the memory of cuda:1")
    assert str(evaluation.value).endswith("; use a smaller batch_size or image_size")
    assert "\n" not in str(training.value)
    assert len(str(training.value)) < 350


@pytest.mark.parametrize("error", OF_THE_MACHINE, ids=str)
def test_short_main_memory_is_not_taken_for_that_of_the_gpu(error):
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemory) as caught, explained(4, 64, torch.device("cuda:1")):
        raise error
    assert str(caught.value).startswith("4 images of 64 px do not fit into main memory; use a smaller batch_size")
    assert "data.workers" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasSgemm(handle)`",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    ],
)
def test_other_errors_of_a_gpu_are_left_as_they_are(text):
    with pytest.raises(RuntimeError, match="error") as caught, explained(4, 64, torch.device("cuda")):
        raise RuntimeError(text)
    assert not isinstance(caught.value, SpinetError)


@pytest.mark.parametrize("error", OF_GPUS[:6], ids=str)
def test_a_command_says_which_memory_is_short(spinet, tmp_path, monkeypatch, error):
    monkeypatch.setattr("spinet.predict.open.load", raised(error))
    code, _, said = spinet("predict", tmp_path / "run", tmp_path / "a.png")
    assert (code, said.count("\n")) == (1, 1)
    assert "the GPU's memory is too small" in said
    assert "workers" not in said


def test_a_gpu_without_memory_for_a_context_is_there_but_full(monkeypatch):
    monkeypatch.setattr(torch, "empty", raised(OF_GPUS[1]))
    with pytest.raises(OutOfMemory, match="device 'cuda' has no memory left; other programs hold it"):
        pick_device("cuda")


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
