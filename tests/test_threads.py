"""How many cores a process may use, on machines that are divided in every usual way."""

import os
import subprocess
import sys

import pytest

from spinet.threads import Cores, affordable, available_cores, bound_spinning, describe_use

MACHINE = os.cpu_count()


@pytest.fixture
def process(tmp_path):
    """Return a function that makes a process's folder in /proc, and the files of its control groups."""

    def make(group, mounts, files):
        folder = tmp_path / "proc"
        folder.mkdir()
        (folder / "cgroup").write_text(group + "\n")
        lines = [
            f"30 23 0:26 {root} {tmp_path / place} rw - {kind} cgroup {more}" for root, place, kind, more in mounts
        ]
        (folder / "mountinfo").write_text("\n".join(["22 1 8:1 / / rw - ext4 /dev/root rw", *lines]) + "\n")
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        return folder

    return make


@pytest.fixture
def many(monkeypatch):
    """A machine of 64 cores, all of which the affinity gives to this process."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


V2 = ("/", "v2", "cgroup2", "rw,nsdelegate")
V1 = ("/", "v1", "cgroup", "rw,cpu,cpuacct")


@pytest.mark.usefixtures("many")
@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.parametrize(
    ("group", "mounts", "files", "cores"),
    [
        ("0::/", [V2], {}, Cores(64, "")),
        ("0::/a/b", [V2], {"v2/a/b/cpu.max": "max 100000", "v2/a/cpu.max": "max 100000"}, Cores(64, "")),
        ("0::/a/b", [V2], {"v2/a/b/cpu.max": "200000 100000"}, Cores(2, "CPU quota")),
        ("0::/a/b", [V2], {"v2/a/b/cpu.max": "max 100000", "v2/a/cpu.max": "350000 100000"}, Cores(3, "CPU quota")),
        ("0::/a/b", [V2], {"v2/a/b/cpu.max": "800000 100000", "v2/a/cpu.max": "50000 100000"}, Cores(1, "CPU quota")),
        ("0::/", [V2], {"v2/cpu.max": "100000 100000"}, Cores(1, "CPU quota")),
        # What lies outside of the namespace of a container is not seen.
        ("0::/../other", [V2], {"v2/cpu.max": "300000 100000"}, Cores(3, "CPU quota")),
        ("0::/docker/4f", [("/docker/4f", *V2[1:])], {"v2/cpu.max": "400000 100000"}, Cores(4, "CPU quota")),
        (
            "3:cpu,cpuacct:/a\n2:cpuset:/a\n0::/",
            [V1, V2],
            {"v1/a/cpu.cfs_quota_us": "250000", "v1/a/cpu.cfs_period_us": "100000"},
            Cores(2, "CPU quota"),
        ),
        (
            "3:cpu:/a/b",
            [("/", "v1", "cgroup", "rw,cpu")],
            {
                "v1/a/b/cpu.cfs_quota_us": "-1",
                "v1/a/b/cpu.cfs_period_us": "100000",
                "v1/a/cpu.cfs_quota_us": "50000",
                "v1/a/cpu.cfs_period_us": "10000",
            },
            Cores(5, "CPU quota"),
        ),
        (
            "3:cpu,cpuacct:/docker/4f",
            [V1],
            {"v1/cpu.cfs_quota_us": "100000", "v1/cpu.cfs_period_us": "100000"},
            Cores(1, "CPU quota"),
        ),
        ("3:memory:/a", [("/", "v1", "cgroup", "rw,memory")], {"v1/a/cpu.max": "100000 100000"}, Cores(64, "")),
        ("0::/a", [V2], {"v2/a/cpu.max": "99900000 100000"}, Cores(64, "")),
        ("0::/a", [V2], {"v2/a/cpu.max": "nonsense"}, Cores(64, "")),
        ("0::/a", [V2], {"v2/a/cpu.max": "100000 0"}, Cores(64, "")),
        ("nonsense", [V2], {"v2/cpu.max": "100000 100000"}, Cores(64, "")),
    ],
)
def test_a_quota_of_the_group_or_a_group_around_it_limits_the_cores(process, group, mounts, files, cores):
    assert available_cores(process(group, mounts, files), {}) == cores


@pytest.mark.usefixtures("many")
def test_a_system_without_proc_has_no_quota(tmp_path):
    assert available_cores(tmp_path / "none", {}) == Cores(64, "")


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("3", Cores(3, "OMP_NUM_THREADS")),
        ("4,2", Cores(4, "OMP_NUM_THREADS")),
        ("99", Cores(64, "")),
        ("0", Cores(64, "")),
        ("many", Cores(64, "")),
    ],
)
def test_the_variable_of_openmp_limits_the_cores(tmp_path, text, cores):
    assert available_cores(tmp_path, {"OMP_NUM_THREADS": text}) == cores


def test_a_divided_machine_gets_no_more_processes_than_cores_and_another_one_all(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert [affordable(number) for number in (0, 2, 9)] == [0, 2, 9]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert [affordable(number) for number in (0, 2, 9)] == [0, 1, 1]


@pytest.mark.parametrize(
    ("cores", "variable", "use", "said"),
    [
        (64, "", (64, 0, 9), []),
        (64, "", (32, 0, 9), []),  # PyTorch's own number on processors with two threads in each core
        (64, "", (64, 64, 0), []),
        (64, "", (3, 3, 0), ["using 3 of 64 CPU cores (threads)"]),
        (64, "5", (5, 0, 9), ["using 5 of 64 CPU cores (OMP_NUM_THREADS); set threads to change that"]),
        (64, "5", (3, 3, 0), ["using 3 of 64 CPU cores (threads)"]),
        (64, "5", (7, 0, 0), ["using 7 of 64 CPU cores (PyTorch's number of threads); set threads to change that"]),
        (4, "", (4, 0, 4), ["using 4 of 64 CPU cores (CPU affinity); set threads to change that"]),
        (4, "2", (2, 0, 0), ["using 2 of 64 CPU cores (OMP_NUM_THREADS); set threads to change that"]),
        (4, "9", (4, 0, 0), ["using 4 of 64 CPU cores (CPU affinity); set threads to change that"]),
        (4, "", (8, 8, 0), ["using 8 threads on 4 of 64 CPU cores (CPU affinity); more threads than cores are slow"]),
        (64, "", (65, 65, 0), ["using 65 threads on 64 CPU cores; more threads than cores are slow"]),
        (
            4,
            "",
            (2, 2, 8),
            [
                "using 2 of 64 CPU cores (threads)",
                "loading images in 4 instead of 8 processes, one per CPU core (CPU affinity)",
            ],
        ),
    ],
)
def test_what_is_used_of_the_machine_is_said_with_the_reason(monkeypatch, cores, variable, use, said):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert describe_use(*use) == said


PROGRAM = "from spinet.threads import available_cores; print(*available_cores(environment={}), sep=', ')"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is not to be set here")
@pytest.mark.skipif(MACHINE == 1, reason="one core cannot be divided")
def test_the_affinity_limits_the_cores():
    first = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{first}}}); {PROGRAM}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1, CPU affinity\n"


def test_what_the_user_set_about_waiting_is_kept():
    for given in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "5"}):
        environment = dict(given)
        bound_spinning(environment)
        assert environment == given
    environment = {}
    bound_spinning(environment)
    assert int(environment["GOMP_SPINCOUNT"]) > 0


@pytest.mark.slow
def test_the_command_line_bounds_spinning_before_torch_is_imported():
    program = (
        "import os, sys; sys.argv = ['spinet', 'show', 'tiny']; os.environ.pop('GOMP_SPINCOUNT', None)\n"
        "os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "from spinet.cli import main; main()\n"
        "assert os.environ['GOMP_SPINCOUNT']; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
