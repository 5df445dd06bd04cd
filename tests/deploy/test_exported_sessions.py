import subprocess
import sys

import numpy as np
import pytest
import torch
from exportable import SIZE, tiny
from PIL import Image
from torch.export.passes import move_to_device_pass

from spinet.arch.catalog import load_architecture
from spinet.deploy.formats import capture, onnx_bytes, save_openvino, to_openvino
from spinet.deploy.graph import create_graph
from spinet.deploy.manifest import Manifest, current_versions
from spinet.deploy.sessions import exported_file, open_session
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.predict.open import load

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


def foreign(folder, kind, **outputs):
    """Write a file that gives the same outputs for any image, with a manifest of three classes; return its path."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[kind])
    types = {name: onnx.helper.np_dtype_to_tensor_dtype(values.dtype) for name, values in outputs.items()}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(values))
            for name, values in outputs.items()
        ]
        + [onnx.helper.make_node("Identity", ["images"], ["seen"])],  # OpenVINO drops an input that is not used
        "foreign",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, (1, SIZE, SIZE, 3))],
        [
            *(onnx.helper.make_tensor_value_info(name, types[name], values.shape) for name, values in outputs.items()),
            onnx.helper.make_tensor_value_info("seen", onnx.TensorProto.UINT8, (1, SIZE, SIZE, 3)),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    head = "classifier" if "probabilities" in outputs else "retinanet"
    info = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny", head=head), ("a", "b", "c"), (1, 2, 3), SIZE)
    manifest = Manifest(info, (SIZE, SIZE), 1, tuple(outputs), "fp32", current_versions())
    onnx.helper.set_model_props(model, {"spinet": manifest.to_json()})
    if kind == "openvino":
        return save_openvino(to_openvino(onnx_bytes(model), manifest), folder, "x")[-1]
    (folder / "x.onnx").write_bytes(onnx_bytes(model))
    return folder / "x.onnx"


def objects(*labels):
    count = len(labels)
    boxes = np.tile(np.array([4, 4, 20, 30], np.float32), (1, count, 1))
    return {"boxes": boxes, "scores": np.full((1, count), 0.5, np.float32), "labels": np.array([labels], np.int64)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (objects(0, 12), "predicts label 12, but its manifest has 3 classes: labels 0 to 2"),
        (objects(3), "predicts label 3, but its manifest has 3 classes: labels 0 to 2"),
        ({"probabilities": np.full((1, 5), 0.2, np.float32)}, "predicts label 3, but its manifest has 3 classes"),
    ],
)
def test_labels_beyond_the_classes_of_a_file_are_one_sentence(tmp_path, spinet, kind, outputs, sentence):
    path = foreign(tmp_path, kind, **outputs)
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "a.png")

    code, _, error = spinet("predict", path, tmp_path / "a.png", "-o", tmp_path / "out")

    assert (code, error.count("\n")) == (1, 1)
    assert f"{path} {sentence}" in error


@pytest.mark.slow
def test_a_file_written_by_another_tool_predicts_if_its_labels_are_those_of_its_classes(tmp_path):
    found = load(foreign(tmp_path, "onnx", **objects(2, 0, -1))).predict(Image.new("RGB", (SIZE, SIZE)))

    assert found.class_names == ("c", "a")
