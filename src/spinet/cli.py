"""The `spinet` command: runs a subcommand, and turns errors into one sentence and an exit code."""

import errno
import os
import signal
import sys
from collections.abc import Callable

from spinet.commands.app import app_command
from spinet.commands.benchmark import benchmark_command
from spinet.commands.compare import compare_command
from spinet.commands.console import say, warn
from spinet.commands.convert import convert_command
from spinet.commands.crop_boxes import crop_boxes_command
from spinet.commands.doctor import doctor_command
from spinet.commands.draw import draw_command
from spinet.commands.evaluate import evaluate_command
from spinet.commands.export import export_command
from spinet.commands.leaderboard import leaderboard_command
from spinet.commands.pack import pack_command
from spinet.commands.predict import predict_command
from spinet.commands.pull import pull_command
from spinet.commands.push import push_command
from spinet.commands.report import report_command
from spinet.commands.search import search_command
from spinet.commands.show import list_command, show_command
from spinet.commands.split import split_command
from spinet.commands.status import status_command
from spinet.commands.train import demo_command, train_command
from spinet.commands.weights import weights_command
from spinet.errors import NotTrusted, SpinetError, first_line, is_out_of_device_memory, is_out_of_memory, unknown_name
from spinet.stop import stopped_by_sigterm
from spinet.threads import bound_spinning

COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": list_command,
    "show": show_command,
    "draw": draw_command,
    "search": search_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "status": status_command,
    "report": report_command,
    "compare": compare_command,
    "leaderboard": leaderboard_command,
    "predict": predict_command,
    "app": app_command,
    "export": export_command,
    "pack": pack_command,
    "push": push_command,
    "pull": pull_command,
    "benchmark": benchmark_command,
    "doctor": doctor_command,
    "split": split_command,
    "crop-boxes": crop_boxes_command,
    "weights": weights_command,
    "convert": convert_command,
    "demo": demo_command,
}


def main() -> None:
    """Run the command line; a `SpinetError` becomes one sentence and exit code 1."""
    args = sys.argv[1:]
    if not args or args[0] in ("-h", "--help"):
        say("SpineNet in PyTorch: build, search, train and ship scale-permuted backbones.\n")
        say("\n".join(f"  spinet {name:12}{function.__doc__}" for name, function in COMMANDS.items()))
        say("\nRun `spinet COMMAND --help` for the options of a command.")
        raise SystemExit(0 if args else 2)
    try:
        if args[0] not in COMMANDS:
            raise unknown_name("command", args[0], COMMANDS)
        bound_spinning()  # before torch is imported
        with stopped_by_sigterm():
            COMMANDS[args[0]](args[1:])
    except SpinetError as error:
        warn(f"error: {error}{' (--trust)' if isinstance(error, NotTrusted) else ''}")
        raise SystemExit(1) from None
    except BrokenPipeError:
        # The reader of the output has closed it, as `head` does; flushing it again at exit would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (MemoryError, RuntimeError, OSError) as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        warn(f"error: {sentence}")
        raise SystemExit(1) from None
    except KeyboardInterrupt as error:
        resume = "run the same command again to resume a training from its last checkpoint"
        text = str(error) or "stopped by Ctrl-C"
        warn(text if "resume" in text or args[0] not in ("train", "demo") else f"{text}; {resume}")
        raise SystemExit(128 + getattr(error, "number", signal.SIGINT)) from None


def _sentence(error: Exception) -> str | None:
    """Explain an error of the system that a user can do something about, wherever it comes from."""
    if is_out_of_device_memory(error):
        return f"the GPU's memory is too small for this ({first_line(error)}); lower the batch size or the image size"
    if is_out_of_memory(error):
        return "memory is too small for this; lower the batch size, the image size or the number of workers"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"a name is too long for this system: {str(error.filename)[:40]}..."
    return None
