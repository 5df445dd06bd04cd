import os
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    # PYTHONPATH may name the checkout, which would hide what the wheel lacks.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `bin` folder of an environment with the wheel and, without a download, the packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    run(binaries / "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    packages = run(binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    # Paths of a .pth file are searched last, and the .pth files inside them, of an editable install, are not read.
    Path(packages.strip(), "host.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return binaries


def test_the_wheel_contains_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("spinet/")}
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("spinet/**/*") if path.is_file()}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert {"spinet/py.typed", "spinet/arch/genotypes/spinenet49.json"} <= packed


def test_the_installed_package_is_the_wheels(installed):
    program = "import spinet; print(spinet.__file__); print(spinet.load_architecture('spinenet49').name)"
    file, name = run(installed / "python", "-c", program, cwd=installed).split()
    assert Path(file).is_relative_to(installed.parent)
    assert name == "spinenet49"


def test_the_installed_command_lists_and_shows_architectures(installed):
    assert "spinenet49" in run(installed / "spinet", "list", cwd=installed)
    assert "bottleneck" in run(installed / "spinet", "show", "spinenet49", cwd=installed)


def test_the_installed_command_draws_and_builds_a_network(installed, tmp_path):
    run(installed / "spinet", "draw", "spinenet49", "-o", tmp_path / "graph.svg", cwd=tmp_path)
    assert (tmp_path / "graph.svg").stat().st_size > 0
    program = "import spinet as s; print(type(s.create_retinanet(s.load_architecture('tiny'), 3)).__name__)"
    assert run(installed / "python", "-c", program, cwd=tmp_path) == "RetinaNet\n"
