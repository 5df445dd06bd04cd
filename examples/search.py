"""Search architectures for an objective of your own.

usage: python examples/search.py [FOLDER [TRIALS]]
"""

import sys
from pathlib import Path

import torch

import spinet

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
trials = int(sys.argv[2]) if len(sys.argv) > 2 else 30


def objective(architecture: spinet.Architecture) -> float:
    """Return what should be large: here, minus the millions of parameters. A short training would go here."""
    with torch.device("meta"):
        backbone = spinet.SpineNet(architecture.genotype, architecture.scaling)
    return -sum(parameter.numel() for parameter in backbone.parameters()) / 1e6


# The same call again resumes the search; `spinet search report FOLDER` draws a report of it.
found = spinet.search("spinenet49", objective, folder / "search", trials=trials, strategy="evolution", constraints=[])
print(f"best of {len(found.trials)}: {found.best_reward:.2f}")

# best.json is an architecture file like any other.
print(spinet.load_architecture(str(folder / "search" / "best.json")).genotype.blocks[0])
