"""How many CPU cores this process may use, and how its threads wait for each other. Knows nothing of torch.

A machine is often divided: by affinity (taskset, Slurm), by quotas of control groups (containers, Kubernetes), or by
OMP_NUM_THREADS. More threads than cores make PyTorch many times slower, because its threads wait for one another.
"""

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# How often a waiting thread of OpenMP (libgomp, in PyTorch's wheels for Linux) looks before it sleeps. By default that
# takes milliseconds, in which it keeps a core from the thread that it waits for, if something else runs there too.
SPIN_COUNT = 10_000


class Cores(NamedTuple):
    """Cores that this process may use.

    Attributes:
        number: at least 1.
        limit: what makes them fewer than the machine has: "CPU affinity", "CPU quota" or "OMP_NUM_THREADS"; else "".
    """

    number: int
    limit: str


def available_cores(process: Path = Path("/proc/self"), environment: Mapping[str, str] = os.environ) -> Cores:
    """Return the cores that this process may use, and why they are fewer than the machine's.

    Args:
        process: its folder in /proc.
        environment: its environment variables.
    """
    machine = os.cpu_count() or 1
    limits = {"": float(machine)}
    if hasattr(os, "sched_getaffinity"):
        limits["CPU affinity"] = len(os.sched_getaffinity(0))
    limits["CPU quota"] = min(_quotas(process), default=machine)
    asked = environment.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list is for nested regions
    if asked.isdigit() and int(asked):
        limits["OMP_NUM_THREADS"] = int(asked)
    # Of equal limits the first one: a machine that is not divided has none.
    limit = min(limits, key=lambda name: limits[name])
    return Cores(max(1, int(limits[limit])), limit)


def affordable(processes: int) -> int:
    """Return how many of so many processes to start: on a divided machine no more than this one has cores."""
    cores = available_cores(environment={})
    return min(processes, cores.number) if cores.limit else processes


def describe_use(number: int, asked: int = 0, processes: int = 0) -> list[str]:
    """Say how much of the machine is used and why, where that is not all of it or not what was asked for.

    Args:
        number: threads that compute.
        asked: the same as the user set it; 0 if it was chosen.
        processes: that the user wants to load images.
    """
    machine, cores, allowed = os.cpu_count() or 1, available_cores(environment={}), available_cores()
    limit = f" ({cores.limit})" if cores.limit else ""
    said = []
    if number > cores.number:
        of = f"{cores.number} of {machine} CPU cores{limit}" if limit else f"{machine} CPU cores"
        said.append(f"using {number} threads on {of}; more threads than cores are slow")
    elif number < machine and asked:
        said.append(f"using {number} of {machine} CPU cores (threads)")
    elif number < machine and allowed.limit:
        why = allowed.limit if number == allowed.number else "PyTorch's number of threads"
        said.append(f"using {number} of {machine} CPU cores ({why}); set threads to change that")
    if (most := affordable(processes)) < processes:
        said.append(f"loading images in {most} instead of {processes} processes, one per CPU core{limit}")
    return said


def bound_spinning(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let waiting threads of OpenMP sleep soon, in this process and those that it starts.

    It is read when torch is imported, and has no effect later. What the user has set is kept.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))


def _quotas(process: Path) -> Iterator[float]:
    """Yield the quotas, in cores, of this process's control groups and all groups around them."""
    if sys.platform != "linux":
        return
    try:
        groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        mounts = [_mount(line) for line in (process / "mountinfo").read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return
    for _, controllers, path in (group for group in groups if len(group) == 3):
        for mount in mounts:
            if mount is None or (mount.controllers is None) != (controllers == ""):
                continue
            if mount.controllers is None or {"cpu"} & mount.controllers & set(controllers.split(",")):
                yield from filter(None, map(_quota, _folders(mount, path)))


class _Mount(NamedTuple):
    root: str  # of the hierarchy, as it is mounted
    folder: Path
    controllers: frozenset[str] | None  # of version 1; None for version 2


def _mount(line: str) -> _Mount | None:
    """Return a mounted hierarchy of control groups from its line in mountinfo; None for other file systems."""
    before, _, after = line.partition(" - ")
    fields, kind = before.split(), after.split()
    if len(fields) < 5 or len(kind) < 1 or kind[0] not in ("cgroup", "cgroup2"):
        return None
    controllers = frozenset(kind[-1].split(",")) if kind[0] == "cgroup" else None
    return _Mount(fields[3], Path(fields[4]), controllers)


def _folders(mount: _Mount, path: str) -> list[Path]:
    """Return the folder of a group and those of the groups around it, as far as they are mounted."""
    whole = PurePosixPath(path)
    # In a container its own group may be the root of what it sees, under another name.
    inside = whole.relative_to(mount.root if whole.is_relative_to(mount.root) else "/")
    return [mount.folder / part for part in (inside, *inside.parents) if ".." not in part.parts]


def _quota(folder: Path) -> float | None:
    """Return the quota of a group in cores; None without one."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            cores = float(quota) / float(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
        return cores if cores > 0 else None
    return None
