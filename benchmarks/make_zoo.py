"""Makes a file of the zoo, `src/spinet/zoo/NAME.safetensors`, from a run folder.

usage: python benchmarks/make_zoo.py RUN NAME --data-root DIR --dataset BCCD --licence MIT --repository ADDRESS

Kernels are stored in half precision. The metrics in the file are those of the file itself, evaluated on val; names of
paths are removed from its description.
"""

import math
import tempfile
from pathlib import Path
from typing import Annotated

import tyro

import spinet
from spinet.engine.checkpoint import read_notes, read_weights, save_weights
from spinet.hub.published import ZOO
from spinet.share.settings import shared_info

# Bytes: the wheel carries all of them.
MOST = 6_000_000


def main(
    run: Annotated[Path, tyro.conf.Positional],
    name: Annotated[str, tyro.conf.Positional],
    data_root: Path,
    dataset: str,
    licence: str,
    repository: str,
    note: str = "",
) -> None:
    """Store the best weights of a run with their metrics.

    Args:
        run: the run folder.
        name: of the weights, as in published/NAME.
        data_root: the dataset, for the metrics.
        dataset: its name.
        licence: of the dataset, as an SPDX identifier; the weights have the same.
        repository: where the dataset comes from.
        note: how the weights were trained.
    """
    step, info = read_notes(run)
    tensors, _ = read_weights(run)
    source = {"dataset": dataset, "licence": licence, "repository": repository, "note": note}
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, f"{name}.safetensors")
        save_weights(trial, tensors, shared_info(info), {}, half=True)
        metrics = spinet.evaluate(trial, data_root)
    finite = {key: round(value, 5) for key, value in metrics.items() if math.isfinite(value)}
    path = ZOO / f"{name}.safetensors"
    notes = {"step": step.get("step", math.nan), **finite}
    save_weights(path, tensors, shared_info(info), notes, half=True, source=source)
    size = path.stat().st_size
    if size > MOST:
        path.unlink()
        raise SystemExit(f"{name} has {size:,} bytes; at most {MOST:,} go into the wheel")
    print(f"{path}: {size:,} bytes, AP {metrics.get('AP', math.nan):.4f}, of the run {step.get('AP', math.nan):.4f}")


if __name__ == "__main__":
    tyro.cli(main)
