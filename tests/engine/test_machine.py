import subprocess

import torch

from spinet.engine import machine
from spinet.engine.machine import describe_machine


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
