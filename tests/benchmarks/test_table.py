import json

import pytest
from tables import write_table

from reward_table import load_table
from spinet.errors import SpinetError


@pytest.fixture
def path(tmp_path):
    return write_table(tmp_path / "table.jsonl", count=12, upper=6)


def test_references_are_told_from_uniform_draws(path):
    table = load_table(path)

    assert [table.names[graph] for graph in table.references] == ["spinenet49", "hourglass"]
    assert [table.names[graph] for graph in table.random] == [f"random-{k:03}" for k in range(12)]
    assert (table.rungs, table.seeds(0), table.seeds(1)) == ([0, 1], [0, 1], [0, 1])


def test_a_column_is_the_mean_over_seeds_and_losses_are_turned_round(path):
    table = load_table(path)
    graph = table.random[0]

    one, other = (table.column("reward", 0, seed)[graph] for seed in (0, 1))

    assert table.column("reward", 0)[graph] == pytest.approx((one + other) / 2)
    assert table.column("loss", 0)[graph] == pytest.approx((one + other) / 2 - 2)
    assert len(table.column("reward", 1)) == 6
    assert table.seed_differences([graph]) == [pytest.approx(one - other)]
    assert "zero_cost.synflow" in table.measures(0)


def test_costs_are_those_of_the_full_scale(path):
    table = load_table(path)

    cost = table.full_scale(table.references[0])

    assert cost == {"MACs": 85281555200.0, "parameters": 28543383.0}


def test_a_torn_last_line_is_passed_over_and_failures_are_kept_in_words(path):
    before = load_table(path)
    failure = {"name": "random-900", "graph": "x", "space": "spinenet49", "rung": 0, "seed": 0}
    with path.open("a") as file:
        file.write(json.dumps(failure | {"failure": "NotFinite", "reason": "the loss"}) + '\n{"name": "ran')

    table = load_table(path)

    assert table.rows == before.rows
    assert table.failures == ("random-900, rung 0, seed 0: NotFinite, the loss",)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("no json", "line 1 is corrupt"),
        ('{"name": "a"}', "line 1 is corrupt: KeyError: 'rung'"),
        ("[]", "line 1 is corrupt"),
        ('{"name": "a", "graph": "b", "rung": 0, "seed": 0}', "line 1 is corrupt: KeyError: 'reward'"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, why):
    path = tmp_path / "table.jsonl"
    path.write_text(line + "\n")

    with pytest.raises(SpinetError, match=why):
        load_table(path)


def test_tables_that_are_missing_or_empty_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").touch()

    with pytest.raises(SpinetError, match="could not read the table"):
        load_table(tmp_path / "none.jsonl")
    with pytest.raises(SpinetError, match="found 0 of none"):
        load_table(tmp_path / "empty.jsonl")
