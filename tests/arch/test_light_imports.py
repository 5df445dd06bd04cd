import subprocess
import sys

import pytest

PROGRAM = """
import sys
import spinet
from spinet.arch.catalog import load_architecture, names
for name in names():
    genotype = {load}(name).genotype
    assert genotype.live and genotype.merges is not None
print(*sorted({{"torch", "torchvision", "numpy", "PIL"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("load", ["load_architecture", "spinet.load_architecture"])
def test_loading_every_architecture_imports_neither_torch_nor_numpy(load):
    program = PROGRAM.format(load=load)

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
