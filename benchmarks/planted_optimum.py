"""How near the strategies come to a planted optimum, SpineNet-49, by noisy rewards (tests/support/planted.py).

usage: python benchmarks/planted_optimum.py [--samples 2000] [--seeds 5] [--in-flight 1] [STRATEGY ...]

Prints z, in standard deviations of the space above its mean, of the best true reward among the ten best observed;
1.0, the optimum, is z of 13.6. This tests the machinery: the reward is synthetic and says nothing about AP.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

from spinet.nas.settings import STRATEGIES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from planted import best_of, reward_statistics, search_planted, settings_of


def main() -> None:
    """Run every strategy with every seed and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategies", nargs="*", metavar="STRATEGY", help=", ".join(STRATEGIES))
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    mean, deviation = reward_statistics()
    stops = [stop for stop in (100, 300, 1000, 2000, 5000, 14000) if stop < options.samples] + [options.samples]
    print(f"mean {mean:.4f}, SD {deviation:.4f}, optimum at z = {(1 - mean) / deviation:.2f}")
    print(f"{options.seeds} seeds from 0, {options.in_flight} in flight\n")
    print("| strategy |", " | ".join(f"z @{stop}" for stop in stops), "| each seed at the end | SD | CPU s per seed |")
    print("|---|" + "---|" * (len(stops) + 3))
    for name in options.strategies or STRATEGIES:
        outcomes, start = [], time.process_time()
        for seed in range(options.seeds):
            outcomes.append(search_planted(settings_of(name, seed), seed, options.samples, options.in_flight))
        seconds = (time.process_time() - start) / options.seeds
        means = [statistics.fmean(best_of(rewards[:stop]) for rewards in outcomes) for stop in stops]
        ends = [best_of(rewards) for rewards in outcomes]
        spread = statistics.stdev(ends) if len(ends) > 1 else 0.0
        columns = [*(f"{z:.2f}" for z in means), " ".join(f"{z:.1f}" for z in ends), f"{spread:.2f}", f"{seconds:.1f}"]
        print(f"| {name} |", " | ".join(columns), "|", flush=True)


if __name__ == "__main__":
    main()
