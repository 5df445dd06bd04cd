import subprocess
import sys

import pytest

PROGRAM = """
import gc
import os
import signal

import torch

from spinet.tools.benchmark_ceilings import matrix_ceilings

caught = []
signal.signal(signal.SIGCHLD, lambda *_: caught.append(True))
products = {
    precision: list(matrix_ceilings(precision, torch.device("cpu"), 1, side=16))[-1]
    for precision in ("fp32", "bf16", "int8")
}
for precision in ("fp32", "int8", "bf16"):
    products.pop(precision).run()
    gc.collect()
os.kill(os.getpid(), signal.SIGCHLD)
assert caught == [True]
"""


@pytest.mark.slow
def test_signals_are_still_handled_when_openvino_networks_end_in_the_order_they_began(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO needs the extra export")
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", tmp_path / "program.py"], capture_output=True, text=True, timeout=600
    )

    assert done.returncode == 0, done.stderr
