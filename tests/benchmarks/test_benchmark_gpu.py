"""The script for GPUs runs here too, at tiny sizes."""

import json

import pytest

import gpu


@pytest.mark.slow
@pytest.mark.usefixtures("openvino_in_bf16")
def test_every_part_runs_without_a_gpu_at_tiny_sizes(tmp_path, digits):
    gpu.main(tmp_path / "gpu.json", device="cpu", root=str(digits), rounds=1, smoke=True)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert not [part for part, found in results.items() if "error" in found]
    assert results["losses do not wait for the host"]["checked"] is False
    names = [line["name"] for line in results["training"]["lines"]]
    assert names[:2] == ["tiny", gpu.PEER]
    assert len(names) == 4
