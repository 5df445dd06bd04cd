"""Output of a run: metrics.jsonl and TensorBoard, and the warning of a long training."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean

import torch

from spinet.engine.run_folder import check_present
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.text import duration
from spinet.timing import finish
from spinet.track.trackers import Trackers


class RunLog:
    """Writes the metrics of a run, and first drops the lines that will be written again, from `first_step` on.

    `pending` is what is still to be done after that step, see `TrainState`. `trackers` get a copy.
    """

    def __init__(self, run: Path, first_step: int, pending: str = "", trackers: Trackers | None = None) -> None:
        # Imported late: it takes a second, and a run without a folder does not need it.
        from torch.utils.tensorboard import SummaryWriter

        self._file, self._trackers = run / "metrics.jsonl", trackers
        kept = [line for line in _whole_lines(self._file) if _is_kept(line, first_step, pending)]
        write_atomically(self._file, "".join(f"{line}\n" for line in kept))
        try:
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1)
        except OSError as error:
            raise SpinetError(f"could not write to {run / 'tensorboard'}: {error.strerror}") from None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line, without values that are not finite: JSON has no NaN."""
        check_present(self._file.parent)
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        try:
            with self._file.open("a") as file:
                file.write(json.dumps({"step": step, **finite}) + "\n")
            for name, value in finite.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:
            raise SpinetError(f"could not write metrics to {self._file.parent}: {error.strerror}") from error
        if self._trackers:
            self._trackers.log(step, finite)

    def close(self) -> None:
        """Flush TensorBoard; errors are ignored, because metrics.jsonl has everything."""
        with suppress(OSError):
            self._board.close()


class Pace:
    """Warns once, after the first few steps of a training, of more than an hour of further ones."""

    # Steps that do not count, in which memory and kernels are set up, and those that do.
    WARM_UP, MEASURED = 2, 4
    LONG = 3600

    def __init__(self, steps: int, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._device, self._clock = steps, device, clock
        self._seconds: list[float] = []
        self._is_said = False

    @property
    def _is_known(self) -> bool:
        return len(self._seconds) >= self.WARM_UP + self.MEASURED

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure a step, if it is one of the first; on a GPU that waits for its end."""
        if self._is_known:
            yield
            return
        start = self._clock()
        yield
        finish(self._device)
        self._seconds.append(self._clock() - start)

    def warning(self, step: int) -> str:
        """Return the warning after the step at which it is due, if it is; otherwise an empty string."""
        if not self._is_known or self._is_said:
            return ""
        self._is_said = True
        each = fmean(self._seconds[self.WARM_UP :])
        left = each * (self._steps - step)
        if left <= self.LONG:
            return ""
        return (
            f"warning: {self._steps - step:,} more steps of {each:.1f} s take about {duration(left)}, evaluations not "
            "counted; shorter with fewer epochs, a lower data.image_size, or a smaller network (model.arch, "
            "model.scaling)"
        )


def memory_gib(device: torch.device) -> float:
    """Peak memory of this process so far, in GiB: GPU memory on CUDA, else the resident set; NaN on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:
        return math.nan
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _is_kept(text: str, first_step: int, pending: str) -> bool:
    """Whether a line of metrics stays when a run is resumed; invalid ones are dropped."""
    try:
        line = json.loads(text)
        step = int(line["step"])
    except (ValueError, KeyError, TypeError):
        return False
    is_again = pending == "line" or (pending == "evaluation" and any(name.startswith("val/") for name in line))
    return step < first_step or (step == first_step and not is_again)


def _whole_lines(file: Path) -> list[str]:
    """Return the lines of a file, without an incomplete last one."""
    if not file.is_file():
        return []
    text = file.read_text()
    return text[: text.rfind("\n") + 1].splitlines()
