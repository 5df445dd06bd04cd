"""The script that says what a recorded table of rewards allows to say."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tables import write_table

import analyse_rewards
from reward_table import load_table

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "analyse_rewards.py"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("tables") / "rewards-small.jsonl")


@pytest.fixture(scope="module")
def table(path):
    return load_table(path)


def cells(lines):
    return {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in (line.split("|") for line in lines)}


def test_the_distribution_is_that_of_uniform_draws_alone(table):
    rewards = [value for graph, value in table.column("AP50", 0).items() if graph in table.random]

    row = cells(analyse_rewards.distribution(table))["AP50, rung 0"]

    assert row[:3] == ["40", f"{np.mean(rewards):.4f}", f"{np.std(rewards, ddof=1):.4f}"]
    assert float(row[-1]) == pytest.approx(0.02, rel=0.3)


def test_losses_are_shown_as_they_were(table):
    row = cells(analyse_rewards.distribution(table))["loss, rung 0"]

    assert 1.5 < float(row[1]) < 2


def test_the_fraction_below_a_reward():
    others = [k / 100 for k in range(100)]

    middle, above = analyse_rewards.fraction_below(0.5, others, 0.0), analyse_rewards.fraction_below(2.0, others, 0.0)

    assert middle.value == 0.5
    assert middle.low == pytest.approx(0.4, abs=0.02)
    assert middle.high == pytest.approx(0.6, abs=0.02)
    assert tuple(above) == (1.0, 1.0, 1.0)
    assert analyse_rewards.fraction_below(0.5, others, 0.3).high > 0.75
    assert analyse_rewards.percent(analyse_rewards.fraction_below(0.5, others, math.nan)) == "50% (one seed)"


@pytest.mark.slow
def test_seeds_rungs_and_baselines_are_correlated_over_uniform_draws(table):
    rows = cells(analyse_rewards.correlations(table, repeats=50))

    seeds = rows["rung 0: one seed \N{RIGHTWARDS ARROW} another"]
    assert seeds[0] == "40"
    assert float(seeds[1].split()[0]) > 0.7
    assert rows["reward, rung 0, mean of seeds \N{RIGHTWARDS ARROW} rung 1"][0] == "18"
    assert float(rows["bottlenecks \N{RIGHTWARDS ARROW} rung 0"][1].split()[0]) > 0.5
    low, high = rows["synflow \N{RIGHTWARDS ARROW} rung 0"][1].split("[")[1].rstrip("]").split(",")
    assert float(low) < 0.35
    assert float(high) > -0.35


def test_a_section_is_put_between_its_markers_and_replaced_there():
    once = analyse_rewards.insert("# Results\n\nbefore\n", "rewards-x", "old\n")
    again = analyse_rewards.insert(once + "\nafter\n", "rewards-x", "new\n")

    assert once == "# Results\n\nbefore\n\n<!-- rewards-x: begin -->\nold\n<!-- rewards-x: end -->\n"
    assert again == "# Results\n\nbefore\n\n<!-- rewards-x: begin -->\nnew\n<!-- rewards-x: end -->\n\nafter\n"


@pytest.mark.slow
def test_the_script_prints_every_part_of_the_section(path):
    command = [sys.executable, str(SCRIPT), str(path), "--seeds", "2", "--trials", "12"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    rows = cells(line for line in printed.splitlines() if line.startswith("|"))
    assert {"spinenet49", "hourglass", "random", "evolution", "controller", "factored"} <= set(rows)
    assert "predicts better than chance" in printed
    assert max(map(len, (line for line in printed.splitlines() if not line.startswith("|")))) <= 120


@pytest.mark.slow
def test_a_table_that_is_not_there_is_one_sentence(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "none.jsonl")]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("could not read the table")
    assert "\n" not in done.stderr.strip()
