import subprocess
import sys

import pytest

# Third-party packages may import what they like: they are installed for the platform they run on.
PROGRAM = """
import builtins, importlib, pkgutil
import spinet

real = builtins.__import__
def without_unix(name, globals=None, locals=None, fromlist=(), level=0):
    caller = (globals or {}).get("__name__", "")
    if caller.startswith("spinet") and name in {"resource", "fcntl", "termios", "tty", "pty", "pwd", "grp"}:
        raise ModuleNotFoundError(f"{caller} imports {name}", name=name)
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = without_unix

for module in pkgutil.walk_packages(spinet.__path__, "spinet."):
    if module.name != "spinet.__main__":
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name in {"resource", "fcntl", "termios", "tty", "pty", "pwd", "grp"} or "spinet" in error.name:
                raise
"""


@pytest.mark.slow
def test_every_module_imports_without_the_unix_only_modules():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
