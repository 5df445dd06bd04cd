import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from tables import SPACE, write_table

from replay import ModelWorld, PoolWorld, Seen, first_above, fit_landscape, picked, replay_search
from reward_table import load_table
from spinet.errors import SpinetError
from spinet.nas.settings import STRATEGIES
from spinet.nas.strategies import create_strategy

RECORDED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("rewards-*.jsonl"))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return fit_landscape(load_table(write_table(tmp_path_factory.mktemp("tables") / "table.jsonl")))


def test_the_landscape_has_mean_spread_and_noise_of_the_table(fitted):
    assert fitted.mean == pytest.approx(np.mean([np.mean(each) for each in fitted.single]))
    assert math.sqrt((fitted.noise**2).mean()) == pytest.approx(0.02, rel=0.4)
    assert fitted.residual < 0.5 * fitted.deviation  # the rewards of this table were made from the features


@pytest.mark.slow
def test_the_model_spreads_as_widely_as_the_table(fitted):
    world, random = ModelWorld(fitted, seed=0), Random(0)

    seen = [world.look(SPACE.sample(random)) for _ in range(500)]

    true = [each.true for each in seen]
    assert np.std(true) == pytest.approx(fitted.deviation, rel=0.2)
    assert np.mean(true) == pytest.approx(fitted.mean, abs=0.5 * fitted.deviation)
    noise = np.std([each.observed - each.true for each in seen])
    assert noise == pytest.approx(math.sqrt((fitted.noise**2).mean()), rel=0.15)


def test_a_graph_is_measured_once_whatever_its_choices(fitted):
    world, again, other = ModelWorld(fitted, 0), ModelWorld(fitted, 0), ModelWorld(fitted, 1)
    choices = SPACE.sample(Random(3))

    assert world.look(choices) == world.look(choices) == again.look(choices) != other.look(choices)


def test_a_pool_gives_each_of_its_architectures_once_with_recorded_rewards(fitted):
    trials = replay_search(create_strategy("random", SPACE), SPACE, PoolWorld(fitted, 0), 1000, seed=0)

    assert len(trials) == len(fitted.graphs) == 40
    assert sorted(seen.true for seen in trials) == pytest.approx(sorted(fitted.rewards))
    assert {seen.observed for seen in trials} <= {reward for rewards in fitted.single for reward in rewards}


def test_an_architecture_of_the_pool_is_its_own_nearest(fitted):
    table_graph = 11
    genotype_choices = None
    random = Random(0)
    for _ in range(table_graph + 1):
        genotype_choices = SPACE.sample(random)  # as tables.py draws them

    seen = PoolWorld(fitted, 0).look(genotype_choices)

    assert seen.true == pytest.approx(fitted.rewards[table_graph])


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_replayed_and_replays_alike(fitted, name):
    one, again = (
        replay_search(create_strategy(name, SPACE), SPACE, ModelWorld(fitted, 0), 25, seed=0) for _ in range(2)
    )

    assert len(one) == 25
    assert one == again


@pytest.mark.slow
def test_evolution_climbs_a_landscape_that_random_search_does_not(tmp_path):
    clear = fit_landscape(load_table(write_table(tmp_path / "table.jsonl", count=60, noise=0.001)))
    ends = {
        name: picked(replay_search(create_strategy(name, SPACE), SPACE, ModelWorld(clear, 0), 250, seed=0))[-1]
        for name in ("random", "evolution-small")
    }

    assert ends["evolution-small"] > ends["random"] + clear.deviation


def test_what_one_would_pick_follows_the_rewards_told_not_the_true_ones():
    trials = [Seen(0.5, 0.1), Seen(0.4, 0.9), Seen(0.6, 0.3)]

    assert picked(trials) == [0.1, 0.1, 0.3]
    assert first_above(trials, 0.2) == 2
    assert first_above(trials, 0.95) == math.inf


def test_a_table_of_few_draws_is_refused(tmp_path):
    table = load_table(write_table(tmp_path / "table.jsonl", count=3))

    with pytest.raises(SpinetError, match="four architectures or more"):
        fit_landscape(table)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_shipped_table_replays(path):
    table = load_table(path)

    fitted = fit_landscape(table)
    trials = replay_search(create_strategy("random", table.space), table.space, PoolWorld(fitted, 0), 10**6, seed=0)

    assert len(table.names) >= 100
    assert {"spinenet49", "hourglass", "fish", "chain"} <= {table.names[graph] for graph in table.references}
    assert len(trials) == len(fitted.graphs) == len(table.random)
    assert first_above(trials, float(np.quantile(fitted.rewards, 0.9))) < len(trials)
