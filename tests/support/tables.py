"""Small tables of rewards that were never measured: real architectures, planted rewards."""

import json
from pathlib import Path
from random import Random

from spinet.arch.catalog import load_architecture
from spinet.arch.graph_hash import graph_hash
from spinet.nas.spaces import SPACES
from surrogate import graph_features

SPACE = SPACES["spinenet49"]


def write_table(path: Path, *, count: int = 40, noise: float = 0.02, seeds: int = 2, upper: int = 20) -> Path:
    """References and `count` random architectures; rewards rise with the fraction of bottlenecks and with depth."""
    random = Random(0)
    genotypes = {name: load_architecture(name).genotype for name in ("spinenet49", "hourglass")}
    genotypes |= {f"random-{k:03}": SPACE.decode(SPACE.sample(random)) for k in range(count)}
    lines = []
    for rung in (0, 1):
        for seed in range(seeds):
            for name, genotype in [*genotypes.items()][: None if rung == 0 else upper]:
                about = graph_features(genotype, SPACE.scaling)
                true = 0.3 + 0.4 * (about["bottlenecks"] - 0.5) + 0.02 * (about["depth"] - 6) + 0.2 * rung
                reward = true + random.gauss(0.0, noise)
                lines.append(
                    {
                        "name": name,
                        "graph": graph_hash(genotype),
                        "space": "spinenet49",
                        "rung": rung,
                        "epochs": 4.0 * 4**rung,
                        "seed": seed,
                        "reward": reward,
                        "AP": reward / 2,
                        "AP50": reward,
                        "loss": 2 - reward,
                        "train_loss": 2 - true,
                        "zero_cost": {"synflow": random.random()},
                        "seconds": 20.0,
                        "genotype": genotype.to_dict(),
                        "data": "bccd",
                        "device": "cpu",
                        "hardware": "a processor",
                        "commit": "0123abc",
                        "proxy": {"name": "tiny", "reward": "AP50", "rungs": [4, 16]},
                    }
                )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
