import subprocess
import sys

import pytest
import torch
from exportable import SIZE, tiny
from torch.export.passes import move_to_device_pass

from spinet.deploy.formats import capture
from spinet.deploy.graph import create_graph
from spinet.deploy.manifest import Manifest, current_versions
from spinet.deploy.sessions import exported_file, open_session
from spinet.errors import SpinetError

META = torch.device("meta")

PROGRAM = """
import gc
import os
import signal

import torch

from spinet.benchmark.ceilings import matrix_ceilings

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
@pytest.mark.usefixtures("openvino_in_bf16")
def test_signals_are_still_handled_when_openvino_networks_end_in_the_order_they_began(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO needs the extra export")
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", tmp_path / "program.py"], capture_output=True, text=True, timeout=600
    )

    assert done.returncode == 0, done.stderr


def program(head: str) -> torch.export.ExportedProgram:
    model, info = tiny(head)
    graph = create_graph(model)
    return capture(graph, Manifest(info, (SIZE, SIZE), 1, graph.output_names, "fp32", current_versions()))


@pytest.mark.slow
def test_a_program_that_moves_to_another_device_leaves_nothing_behind():
    moved = program("classifier")
    moved = move_to_device_pass(moved, str(META))

    # Tensors of two devices would not be computed with.
    (probabilities,) = moved.module()(torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8, device=META))

    assert probabilities.device == META
    assert probabilities.shape == (1, 3)


@pytest.mark.slow
def test_a_detector_that_moves_makes_its_anchors_there_too():
    moved = move_to_device_pass(program("retinanet"), str(META))

    # Non-maximum suppression is what has no meaning without values; all before it was computed there.
    with pytest.raises(RuntimeError, match="torchvision::nms"):
        moved.module()(torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8, device=META))


def test_files_that_run_on_the_cpu_alone_say_so(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(SpinetError, match=r"a\.onnx runs on the CPU only; the device meta is for \.pt2 files"):
        open_session(tmp_path / "a.onnx", device=META)


def test_a_run_folder_means_its_weights_whatever_was_exported_into_it(tmp_path):
    (tmp_path / "model.xml").write_text("<net/>")
    assert exported_file(tmp_path) == tmp_path / "model.xml"

    (tmp_path / "last.safetensors").write_bytes(b"")
    assert exported_file(tmp_path) is None
    assert exported_file(tmp_path / "model.xml") == tmp_path / "model.xml"


def test_a_corrupt_openvino_file_says_what_is_wrong_and_not_where_in_the_runtime(tmp_path):
    pytest.importorskip("openvino", reason="OpenVINO needs the extra export")
    (tmp_path / "x.xml").write_text("not a model")
    (tmp_path / "x.bin").write_bytes(b"")

    with pytest.raises(SpinetError, match=r"OpenVINO could not read .*x\.xml: Unable to read the model"):
        open_session(tmp_path / "x.xml")
