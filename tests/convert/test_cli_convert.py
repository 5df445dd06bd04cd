import numpy as np
import pytest
from published import random_detector, write_published

from spinet.arch.catalog import load_architecture
from spinet.engine.checkpoint import load_model


@pytest.fixture
def checkpoint(tmp_path):
    tiny = load_architecture("tiny")
    extra = {"global_step": np.array(1, "int64")}
    return write_published(tmp_path / "model.ckpt", random_detector(tiny, "tpu", 3), tiny, "tpu", extra=extra)


@pytest.mark.slow
def test_convert_writes_a_detector_and_says_what_it_found(spinet, checkpoint, tmp_path):
    out = tmp_path / "w.safetensors"
    code, said, _ = spinet("convert", checkpoint, "-o", out, "--arch", "tiny")
    assert code == 0
    model, info = load_model(out)
    assert info.class_names == ("background", "class 1", "class 2")
    parameters = sum(value.numel() for value in model.parameters())
    assert f"tensorflow/tpu: tiny, detector of 3 classes, {parameters:,} parameters" in said
    assert "left out: counters (1): global_step" in said
    assert "activation: relu by default; change it with --activation" in said


@pytest.mark.slow
@pytest.mark.parametrize("corruption", ["flip", "cut", "remove", "index", "graph"])
def test_a_corrupt_checkpoint_is_one_sentence_and_no_file(spinet, checkpoint, tmp_path, corruption):
    data = checkpoint.with_name("model.ckpt.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    if corruption == "flip":
        data.write_bytes(content)
    elif corruption == "cut":
        data.write_bytes(content[:-1])
    elif corruption == "remove":
        data.unlink()
    elif corruption == "index":
        checkpoint.with_name("model.ckpt.index").write_bytes(b"something else entirely" * 9)
    arch = "spinenet49" if corruption == "graph" else "tiny"
    out = tmp_path / "out" / "w.safetensors"
    code, _, error = spinet("convert", checkpoint, "-o", out, "--arch", arch)
    assert code == 1
    assert error.startswith("spinet: error: ")
    assert error.count("\n") == 1
    assert not out.parent.exists()
