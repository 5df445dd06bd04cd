import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from spinet.engine import machine
from spinet.engine.machine import describe_machine
from spinet.engine.train import train


def test_the_commit_is_that_of_the_checkout_which_the_code_belongs_to_not_of_one_around_it(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "machine.py"
    package.parent.mkdir()
    package.write_text("")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "somebody else's"], check=True)
    monkeypatch.setattr(machine, "__file__", str(package))

    assert describe_machine(torch.device("cpu"))["commit"] is None

    subprocess.run([*git, "add", str(package)], check=True)
    assert describe_machine(torch.device("cpu"))["commit"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is not to be set here")
@pytest.mark.skipif(os.cpu_count() == 1, reason="one core cannot be divided")
def test_with_one_core_torch_gets_one_thread_and_it_is_said(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    first = min(os.sched_getaffinity(0))
    program = (
        "import os\n"
        "from spinet.engine.machine import choose_threads\n"  # torch has already chosen
        f"os.sched_setaffinity(0, {{{first}}})\n"
        "from spinet.threads import describe_use\n"
        "print(choose_threads(), choose_threads(2), *describe_use(choose_threads()))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == f"1 2 using 1 of {os.cpu_count()} CPU cores (CPU affinity); set threads to change that\n"


@pytest.mark.slow
def test_a_training_says_once_how_many_threads_and_loader_processes_it_uses(short, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)

    train(replace(short, threads=1, data=replace(short.data, workers=2)), tmp_path / "run")

    said = capsys.readouterr().out
    assert said.count("using 1 of 64 CPU cores (threads)") == 1
    assert said.count("loading images in 1 instead of 2 processes, one per CPU core (CPU affinity)") == 1
