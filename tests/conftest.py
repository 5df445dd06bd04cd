"""What every test shares: the number of threads, the command line, and the optional photos and reference outputs."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from spinet import cli
from spinet.data.demo import make_demo_dataset

# The same examples in every run, so that a commit is either good or not; `--hypothesis-profile=default` looks further.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

pytest_plugins = [
    "data_fixtures",
    "engine_fixtures",
    "models_fixtures",
    "run_fixtures",
    "task_fixtures",
]  # tests/support

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, default=1, help="CPU threads of torch, also in subprocesses (default: 1)")


@pytest.fixture(autouse=True, scope="session")
def _threads(pytestconfig: pytest.Config) -> None:
    # One by default: on a busy two-core machine two threads were ten times slower for tiny models.
    threads = pytestconfig.getoption("threads")
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # Shell scripts have what they start in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what outlives a command out of the home folder; subprocesses inherit the variable."""
    os.environ["SPINET_STATE"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True, scope="session")
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep fetched weights out of the home folder; subprocesses inherit the variable."""
    os.environ["SPINET_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _own_compiled_kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A killed run leaves half files in the shared cache, and one with other vector units kernels that give NaN.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))


@pytest.fixture
def openvino_in_bf16() -> None:
    """Skip without OpenVINO, or where its kernels are forbidden what it believes the processor to have."""
    pytest.importorskip("openvino")
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("OpenVINO asks the processor for bf16, whatever ONEDNN_MAX_CPU_ISA leaves to its kernels")


@pytest.fixture(scope="session")
def real_photos():
    """Return a function from the name of a data set of real photos to its folder, or skip with a reason."""

    def folder(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.is_dir():
            pytest.skip(f"the real photos '{name}' are not beside this checkout")
        return path

    return folder


@pytest.fixture(scope="session")
def golden():
    """Return a function from a name to the folder or file of Google's own outputs, or skip with a reason."""

    def place(name: str) -> Path:
        path = SHARED / "golden" / name
        if not path.exists():
            pytest.skip(f"the reference outputs '{name}' are not beside this checkout")
        return path

    return place


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set of 16 + 8 images of 64 px with three classes."""
    return make_demo_dataset(
        tmp_path_factory.mktemp("digits"),
        classes=3,
        train_images=16,
        val_images=8,
        image_size=64,
        object_sizes=(16, 40),
        objects_per_image=(1, 2),
    )


@pytest.fixture
def spinet(monkeypatch, capsys):
    """Return a function that runs a command line in this process and returns (exit code, output, error output)."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["spinet", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        output = capsys.readouterr()
        return code, output.out, output.err

    return run
