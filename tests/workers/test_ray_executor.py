import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from executor_contract import ExecutorContract

from spinet.errors import SpinetError
from spinet.workers.ray_executor import RayExecutor


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine alone, with two CPUs, on loopback."""
    ray = pytest.importorskip("ray")
    # Actors get the environment of the cluster, and must find the jobs of the tests.
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1] / "support"), *filter(None, [before])])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
        except Exception as error:  # Ray gives its own agent 15 s, too few on a machine that others keep busy
            pytest.skip(f"Ray did not start on this machine: {' '.join(str(error).split())[:200]}")
    yield ray
    ray.shutdown()
    os.environ["PYTHONPATH"] = before


@pytest.mark.slow
class TestRay(ExecutorContract):
    @pytest.fixture
    def start(self, cluster):
        def executor(workers, timeout=None):
            # Four workers have room on two CPUs because Ray's CPUs are only numbers.
            return RayExecutor(workers, timeout, cpus=1 if workers <= 2 else 0)

        return executor


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpinetError, match=r"needs ray, which is not installed: pip install 'spinet\[ray\]'"):
        RayExecutor(1)


def run_script(*lines):
    """Run lines in a process of its own, which the cluster of these tests does not know."""
    pytest.importorskip("ray")
    script = "\n".join(["import os", "from spinet.workers.ray_executor import RayExecutor", *lines])
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_no_cluster_at_the_address_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_script(f"RayExecutor(1, address={address!r})")
    assert f"SpinetError: there is no Ray cluster at '{address}'" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_cluster_that_was_started_here_ends_with_the_executor():
    done = run_script(
        "with RayExecutor(1) as executor:",
        "    assert executor.submit(os.getpid).result() != os.getpid()",
        "import ray",
        "print(ray.is_initialized())",
    )
    if "Ray did not start on this machine" in done.stderr:
        pytest.skip("Ray did not start on this machine")
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr
