"""What fine-tuning gains over training from scratch, on a few images of another dataset.

Each training sees the same number of images, and has the network, image size and batch size of the weights. Subsets of
the train split are drawn by seed and nested; every model is evaluated on the whole val split, with its last weights, so
that nothing is chosen by it. A training is a run folder of its own: the same command resumes, and several processes
with different seeds may share the folder.

usage: python benchmarks/finetune_gain.py --weights RUN --data-root DIR --folder RUNS [--images-seen 1600]
"""

import hashlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from finetune_table import curves, table
from spinet.analysis.records import load_record
from spinet.data.coco import CocoDataset
from spinet.engine.adopt import describe
from spinet.engine.checkpoint import weights_file
from spinet.engine.config import TrainConfig
from spinet.engine.evaluate import EvalOptions, evaluate
from spinet.engine.train import train
from spinet.errors import SpinetError, unknown_name
from spinet.files import write_atomically
from spinet.recipes import RECIPES, start_recipe
from spinet.recipes_published import Settings, change

# Evaluations of each training, for its curve.
POINTS = 6
RECORD, RESULT = "last-val.npz", "result.json"
SCRATCH = "scratch"
# Each method is the recipe finetune-cpu with these settings, but those that start from random weights: small-cpu.
METHODS: dict[str, Settings] = {
    SCRATCH: {},
    f"{SCRATCH}-rate-doubled": {"optim.lr": 2 * RECIPES["small-cpu"].config.optim.lr},
    "finetune": {},
    "rates-by-depth": {"optim.layer_decay": 0.8},
    "new-classes": {"model.class_start": "new"},
    "stem-frozen": {"model.freeze": "stem"},
    "backbone-frozen": {"model.freeze": "backbone"},
    "norms-frozen": {"model.freeze_norm": "statistics"},
    "rate-doubled": {"optim.lr": 2 * RECIPES["finetune-cpu"].config.optim.lr},
    "rate-halved": {"optim.lr": RECIPES["finetune-cpu"].config.optim.lr / 2},
}


@dataclass(frozen=True)
class Unit:
    """One training."""

    method: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its run folder."""
        return f"{self.method}-{self.count}-seed{self.seed}"


def config_of(unit: Unit, weights: Path, data_root: Path, images_seen: int, run: Path) -> TrainConfig:
    """Return the settings of a training."""
    tuned = start_recipe("finetune-cpu", str(weights), run=run)
    epochs = images_seen / unit.count
    if unit.method.startswith(SCRATCH):
        scratch = RECIPES["small-cpu"].config
        fresh = {"weights": "", "new_classes": False, "class_start": "new", "freeze": "none", "freeze_norm": "none"}
        model = replace(tuned.model, **fresh)  # type: ignore[arg-type]
        tuned = replace(scratch, model=model, data=replace(scratch.data, image_size=tuned.data.image_size))
        tuned = change(tuned, {"optim.warmup_fraction": RECIPES["finetune-cpu"].config.optim.warmup_fraction})
    common = {
        "data.root": str(data_root),
        "epochs": epochs,
        "eval_epochs": epochs / POINTS,
        "seed": unit.seed,
        "threads": 1,
        "device": "cpu",
    }
    return change(tuned, {**METHODS[unit.method], **common})


def nested(train_set: CocoDataset, count: int, seed: int) -> CocoDataset:
    """Return `count` images drawn by seed; a larger count has all images of a smaller one."""
    if count > len(train_set):
        raise SpinetError(f"{train_set.root} has {len(train_set)} images for training; {count} were asked for")
    order = np.random.default_rng(seed).permutation(len(train_set))
    return train_set.subset(sorted(int(index) for index in order[:count]))


def measure(unit: Unit, config: TrainConfig, run: Path) -> dict[str, Any]:
    """Train one unit, or finish it, and return its line of the table."""
    root = Path(config.data.root)
    whole = CocoDataset(root, "train", config.data.cache_images)
    val_set = CocoDataset(root, "val", config.data.cache_images)
    started = time.monotonic()
    result = train(config, run, train_set=nested(whole, unit.count, unit.seed), val_set=val_set, quiet=True)
    val_set = val_set.with_classes(whole.category_ids, whole.class_names)
    options = EvalOptions(config.data.image_size, config.batch_size)
    found = evaluate(result.model, val_set, options)
    found.record(result.steps).save(run / RECORD)
    metrics = {name: value for name, value in found.metrics.items() if math.isfinite(value)}
    return {
        **vars(unit),
        "images_seen": result.steps * config.batch_size,
        "steps": result.steps,
        "metrics": {name: round(value, 5) for name, value in metrics.items()},
        "curve": curve(run, config.batch_size),
        "minutes": round((time.monotonic() - started) / 60, 2),
        "network": describe(run).architecture.name,
        "weights": "" if unit.method.startswith(SCRATCH) else digest(Path(config.model.weights)),
        "data": root.resolve().name,
        "torch": str(torch.__version__),
        "commit": commit(),
    }


def digest(weights: Path) -> str:
    """Return the first characters of the SHA-256 of a weights file."""
    return hashlib.sha256(weights_file(weights).read_bytes()).hexdigest()[:12]


def check_weights(folder: Path, weights: Path) -> None:
    """Refuse weights other than those that trainings in a folder started from: one that is trained still changes."""
    others = {line["weights"] for line in results(folder)} - {"", now := digest(weights)}
    if others:
        raise SpinetError(
            f"trainings in {folder} started from other weights ({', '.join(others)}) than {weights} holds now ({now}); "
            "give another --folder"
        )


def curve(run: Path, batch_size: int) -> list[tuple[int, float]]:
    """Return AP after so many images seen, of the evaluations during a training."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"] * batch_size, round(line["val/AP"], 5)) for line in lines if "val/AP" in line]


def commit() -> str:
    """Return the commit of this checkout, with a mark if files differ from it."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude", "*"]
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout[
            :-1
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def results(folder: Path) -> Iterator[dict[str, Any]]:
    """Return the lines of all trainings in a folder that have ended, by images, method and seed."""
    lines = [{"weights": "", **json.loads(file.read_text())} for file in folder.glob(f"*/{RESULT}")]
    order = list(METHODS)
    yield from sorted(lines, key=lambda line: (line["count"], order.index(line["method"]), line["seed"]))


def report(folder: Path, out: Path) -> None:
    """Write the lines of all trainings in a folder and their curves, and print the table."""
    lines = list(results(folder))
    if not lines:
        return
    write_atomically(out, "".join(json.dumps(line) + "\n" for line in lines))
    records = [load_record(folder / Unit(line["method"], line["count"], line["seed"]).name / RECORD) for line in lines]
    text = table(lines, records, SCRATCH)
    write_atomically(out.with_suffix(".md"), text)
    curves(lines, out.with_suffix(".svg"))
    print(text, flush=True)


def main(
    weights: Path,
    data_root: Path,
    folder: Path,
    counts: tuple[int, ...] = (50, 200),
    seeds: tuple[int, ...] = (0, 1, 2),
    methods: tuple[str, ...] = (SCRATCH, "finetune"),
    images_seen: int = 1600,
    out: Path | None = None,
) -> None:
    """Train with each method on each number of images with each seed, and compare; the same call resumes.

    Args:
        weights: weights file or run folder that fine-tuning starts from.
        data_root: dataset to fine-tune on, in COCO format.
        folder: for the run folders; all that have ended there are in the table.
        counts: numbers of training images.
        seeds: of the subsets and of the trainings.
        methods: names of METHODS.
        images_seen: by each training, whatever its number of images.
        out: JSON lines, beside which a table (.md) and curves (.svg) are written; by default finetune-DATA.jsonl in
            `folder`.
    """
    for method in methods:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
    torch.set_num_threads(1)
    out = out or folder / f"finetune-{data_root.resolve().name}.jsonl"
    units = [Unit(method, count, seed) for seed in seeds for count in counts for method in methods]
    for number, unit in enumerate(units, start=1):
        run = folder / unit.name
        if not (run / RESULT).is_file():
            check_weights(folder, weights)
            config = config_of(unit, weights, data_root, images_seen, run)
            line = measure(unit, config, run)
            write_atomically(run / RESULT, json.dumps(line) + "\n")
            said = f"AP {line['metrics'].get('AP', math.nan):.4f}  {line['minutes']:.1f} min"
            print(f"{number}/{len(units)}  {unit.name}  {said}", flush=True)
    report(folder, out)


def fail(arguments: Sequence[str]) -> None:
    """Run the command line; an error of a setting is one sentence."""
    try:
        tyro.cli(main, args=arguments)
    except SpinetError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    fail(sys.argv[1:])
