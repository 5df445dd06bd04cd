"""Processes that start in milliseconds, forked from one that has imported what takes seconds and done nothing else."""

import atexit
import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from spinet import cli

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["spinet.api", "spinet.cli", "spinet.engine.train", "spinet.predict.open"])


def start(target: Callable[..., Any], *arguments: Any, output: Path, **variables: str) -> BaseProcess:
    """Call a function of a module in a process of its own, with these arguments.

    It has this process's environment, changed by `variables`, and folder, but neither its modules nor its open files.
    What it prints goes to the file `output`.
    """
    environment = {**os.environ, **variables}
    process = _context.Process(target=_run, args=(target, arguments, output, Path.cwd(), environment))
    process.start()
    return process


def done(target: Callable[..., Any], *arguments: Any, output: Path, **variables: str) -> str:
    """Do the same to the end, assert that it went well, and return what was printed."""
    process = start(target, *arguments, output=output, **variables)
    process.join()
    assert process.exitcode == 0, output.read_text()
    return output.read_text()


def group(target: Callable[..., Any], *arguments: Any, output: Path, count: int = 2) -> None:
    """Call a function in so many processes that train together, as `torchrun` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    ranks = [
        start(target, *arguments, output=output.with_suffix(f".{rank}"), RANK=str(rank), LOCAL_RANK=str(rank), **common)
        for rank in range(count)
    ]
    running = {process.sentinel: rank for rank, process in enumerate(ranks)}
    try:
        while running:
            for sentinel in wait(list(running)):
                rank = running.pop(sentinel)
                ranks[rank].join()
                assert ranks[rank].exitcode == 0, output.with_suffix(f".{rank}").read_text()
    finally:
        for process in ranks:  # the others would wait for one that has failed
            process.kill()
            process.join()


def command(*arguments: Any) -> None:
    """Run the command line."""
    sys.argv = ["spinet", *map(str, arguments)]
    cli.main()


def script(path: Path, *arguments: str) -> None:
    """Run a file of Python."""
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def code(text: str) -> None:
    """Run lines of Python."""
    exec(compile(text, "<lines>", "exec"), {"__name__": "__main__"})


def _run(
    target: Callable[..., Any], arguments: tuple[Any, ...], output: Path, folder: Path, environment: Mapping[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        target(*arguments)
    finally:
        # `multiprocessing` ends its children by os._exit, and Python has no public way to do what its own end would do:
        # among others to end loader processes, for which `multiprocessing` would otherwise wait.
        atexit._run_exitfuncs()
