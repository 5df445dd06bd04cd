#!/usr/bin/env bash
# ONNX Runtime 1.31.1: with graph optimizations (the default) a Pad with the constant 0 in front of a MaxPool is merged
# into the pool's own padding. The pool pads with minus infinity, so borders of negative features come out too low.
# Guess before running: the merge is made only where it cannot change the result (constant minus infinity).
# Seen: it is made for 0 as well; for 2 it is not. Expected by the ONNX standard: -1 0 0 0.
# A user meets it with networks that follow TensorFlow's "SAME" or torch's F.pad before a max-pool, and activations that
# go below zero (SiLU, GELU, LeakyReLU). Padding with minus infinity is safe.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

OFF, ON = (getattr(onnxruntime.GraphOptimizationLevel, name) for name in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"))
x = -np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)


def model(constant):
    nodes = [
        helper.make_node("Pad", ["x", "pads", "constant"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])]
    pads = helper.make_tensor("pads", TensorProto.INT64, [8], [0, 0, 0, 0, 0, 0, 1, 1])
    graph = helper.make_graph(nodes, "g", inputs, outputs, [pads, helper.make_tensor("constant", 1, [], [constant])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def run(made, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].ravel().tolist()


seen = {}
for constant in (0.0, 2.0, -np.inf):
    made = model(constant)
    standard = ReferenceEvaluator(made).run(None, {"x": x})[0].ravel().tolist()
    seen[constant] = (standard, run(made, OFF), run(made, ON))
    print(f"padded with {constant}: standard {standard}, not optimized {seen[constant][1]}, optimized {seen[constant][2]}")

zero, two, low = [-1.0, 0.0, 0.0, 0.0], [-1.0, 2.0, 2.0, 2.0], [-1.0, -3.0, -9.0, -11.0]
assert seen == {0.0: (zero, zero, low), 2.0: (two, two, two), -np.inf: (low, low, low)}, "the behavior has changed"
print("as recorded: zeros are replaced by minus infinity")
PYTHON
