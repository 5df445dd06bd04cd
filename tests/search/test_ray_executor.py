import builtins
import warnings

import pytest
from executor_contract import ExecutorContract

from spinet.errors import SpinetError
from spinet.search.ray_executor import RayExecutor


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine alone, with two CPUs, on loopback."""
    ray = pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
class TestRay(ExecutorContract):
    @pytest.fixture
    def start(self, cluster):
        def executor(workers, timeout=None):
            # Four workers have room on two CPUs because Ray's CPUs are only numbers.
            return RayExecutor(workers, timeout, cpus=1 if workers <= 2 else 0)

        return executor


def test_without_ray_the_error_names_the_extra(monkeypatch):
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SpinetError, match=r"needs Ray: pip install 'spinet\[ray\]'"):
        RayExecutor(1)


@pytest.mark.slow
def test_no_cluster_at_the_address_is_one_sentence():
    pytest.importorskip("ray")
    with pytest.raises(SpinetError, match="there is no Ray cluster at 'nowhere:1'"):
        RayExecutor(1, address="nowhere:1")
