import subprocess
import sys

PROGRAM = """
import sys
import spinet.nas.run, spinet.nas.status, spinet.workers.processes, spinet.workers.ray_executor
print(*sorted({"torch", "numpy", "ray"} & set(sys.modules)))
"""


def test_the_engine_of_the_search_imports_neither_torch_nor_ray():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
