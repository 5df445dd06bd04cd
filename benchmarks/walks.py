"""Count how often five journeys through the code change files, and how often they come back to one already left.

usage: python benchmarks/walks.py

A journey runs for real. Its functions are listed in the order of their first calls; a stay is a run of neighbours from
one file, a return is a stay in a file that was left before. The fewer returns, the easier the code is to follow.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from PIL import Image

import spinet
from spinet import cli
from spinet.data.demo import make_demo_dataset

SOURCE = str(Path(spinet.__file__).parent)
TRAIN = "small-cpu --epochs 0.1 --model.arch tiny --data.image-size 64 --batch-size 4 --data.workers 0 --device cpu"


@dataclass
class Walk:
    """The files that functions lie in, in the order of their first calls, between two functions of these names."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    files: list[str] = field(default_factory=list)
    done: bool = False
    _seen: set[Any] = field(default_factory=set)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Take note of a call; for `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or self.done or not code.co_filename.startswith(SOURCE) or code in self._seen:
            return
        # Bodies of modules and classes are imports; comprehensions belong to their function.
        if code.co_name.startswith("<") or ("." in code.co_qualname and code.co_name == code.co_qualname.split(".")[0]):
            return
        if not self.files and self.first and code.co_qualname not in self.first:
            return
        self._seen.add(code)
        self.files.append(code.co_filename.removeprefix(SOURCE + "/"))
        self.done = code.co_qualname in self.last

    @property
    def stays(self) -> list[str]:
        """The files, each run of one file once."""
        return [name for name, _ in groupby(self.files)]


@contextlib.contextmanager
def recorded(first: tuple[str, ...] = (), last: tuple[str, ...] = ()) -> Iterator[Walk]:
    """Record the calls of a block, from the first function in `first` to the first one in `last`."""
    walk = Walk(first, last)
    sys.setprofile(walk)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield walk
    finally:
        sys.setprofile(None)


def command(line: str) -> None:
    """Run the command line in this process."""
    with mock.patch.object(sys, "argv", ["spinet", *line.split()]), contextlib.suppress(SystemExit):
        cli.main()


def journeys(folder: Path) -> dict[str, Callable[[], Walk]]:
    """Each journey by its name."""
    data = make_demo_dataset(folder, classes=3, train_images=16, val_images=4, image_size=64, object_sizes=(16, 32))
    run = folder / "run"
    with recorded():
        command(f"train {TRAIN} --data.root {data} --run {run}")
        command(f"export {run} -o {folder}/file.onnx --image-size 64")
    Image.new("RGB", (80, 60), "gray").save(folder / "image.png")

    def anchor_scale() -> Walk:
        with recorded(last=("RetinaNet.__init__",)) as walk:
            command(f"train {TRAIN} --model.anchor-scale 4 --data.root {data} --run {folder}/anchors")
        return walk

    def genotype() -> Walk:
        with recorded() as walk:
            spinet.create_backbone("spinenet49-quarter")
        return walk

    def loss() -> Walk:
        with recorded(("read_image",), ("focal_loss",)) as walk:
            command(f"train {TRAIN} --data.root {data} --run {folder}/loss")
        return walk

    def detection() -> Walk:
        with recorded() as walk:
            command(f"predict {folder}/file.onnx {folder}/image.png -o {folder}/out")
        return walk

    def trial() -> Walk:
        path = folder / "search"
        with recorded(("Policy.ask", "RandomSearch.ask")) as walk:
            command(
                f"search spinenet49 --data.root {data} --trials 1 --strategy random --run {path} "
                f"--scaling tiny --proxy tiny"
            )
        # What happens between the two is a training: not this journey.
        walk.files = [name for name in walk.files if name.startswith(("nas/", "workers/", "search/"))]
        return walk

    return {
        "anchor_scale, from the command line to the network": anchor_scale,
        "genotype to network": genotype,
        "image to loss": loss,
        "image to a detection of an exported file": detection,
        "trial to journal": trial,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        print("| journey | stays | files | returns |\n|---|---|---|---|")
        for title, journey in journeys(Path(name)).items():
            stays = journey().stays
            print(f"| {title} | {len(stays)} | {len(set(stays))} | {len(stays) - len(set(stays))} |")
            if "-v" in sys.argv:
                print("\n".join(f"    {name}" for name in stays))
