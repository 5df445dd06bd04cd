"""The script for GPUs runs here too, at tiny sizes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_every_part_runs_without_a_gpu_at_tiny_sizes(tmp_path, digits):
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["gpu"] = script
    spec.loader.exec_module(script)
    script.main(tmp_path / "gpu.json", device="cpu", root=str(digits), rounds=1, smoke=True)
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert not [part for part, found in results.items() if "error" in found]
    assert results["losses do not wait for the host"]["checked"] is False
    names = [line["name"] for line in results["training"]["lines"]]
    assert names[:2] == ["tiny", script.PEER]
    assert len(names) == 4
