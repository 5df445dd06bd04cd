"""Locks on files. A lock belongs to the process that took it, and ends with it, however it ends."""

import os
import sys
from io import FileIO
from weakref import WeakSet

# Windows locks bytes, and nobody else can read a locked one: lock one far behind the end.
_LOCK_BYTE = 1 << 40

_held: WeakSet[FileIO] = WeakSet()


def try_lock(file: FileIO, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; False if another one has locked it.

    Args:
        file: an unbuffered file, open for writing unless `shared`.
        shared: accept other shared locks beside this one.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file.fileno(), _LOCK_BYTE, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    _held.add(file)
    return True


def _let_go() -> None:
    """Give up the parent's locks in a forked process, such as a loader's, which may outlive the parent for seconds."""
    null = os.open(os.devnull, os.O_RDWR)
    for file in _held:
        if not file.closed:
            os.dup2(null, file.fileno(), inheritable=False)
    os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
