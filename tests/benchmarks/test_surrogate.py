from random import Random

import numpy as np
import pytest

import surrogate
from spinet.arch.budgets import BUDGETS
from spinet.arch.catalog import load_architecture
from spinet.errors import SpinetError
from spinet.nas.spaces import SPACES
from surrogate import cross_validated, depth, features, fit_surrogate, graph_features, skill

SPACE = SPACES["spinenet49"]


def planted(count=80, noise=0.1, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 6)) * [1, 10, 0.1, 5, 1, 1] + 3
    return x, x[:, 0] - 0.2 * x[:, 1] + noise * random.normal(size=count)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ridge", "neighbours"])
def test_what_is_in_the_features_is_found(kind):
    x, y = planted()

    assert skill(kind, x, y).low > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ridge", "neighbours"])
def test_nothing_is_found_where_there_is_nothing(kind):
    x, _ = planted()
    y = np.random.default_rng(9).normal(size=len(x))

    found = skill(kind, x, y)

    assert found.low < 0.1


def test_ridge_with_little_noise_is_least_squares():
    x, y = planted(noise=1e-6)

    model = fit_surrogate("ridge", x, y)

    assert model.predict(x + 1.0) == pytest.approx(y + 1.0 - 0.2, abs=0.02)


def test_leaving_one_out_is_what_fitting_without_the_row_gives():
    x, y = planted(count=20)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    penalty, total = 10.0, 0.0
    for row in range(len(z)):
        others = np.delete(np.arange(len(z)), row)
        # As in the closed form: with an intercept that is not penalised.
        design = np.column_stack([np.ones(len(others)), z[others]])
        gram = design.T @ design + penalty * np.diag([0.0] + [1.0] * z.shape[1])
        weights = np.linalg.solve(gram, design.T @ y[others])
        total += (weights[0] + z[row] @ weights[1:] - y[row]) ** 2

    assert surrogate._ridge_error(z, y, penalty) == pytest.approx(total)


def test_neighbours_give_the_mean_of_the_nearest_rewards():
    x = np.array([[0.0], [1.0], [10.0], [11.0], [20.0], [21.0]])
    y = np.array([0.0, 0.2, 5.0, 5.2, 9.0, 9.2])

    model = fit_surrogate("neighbours", x, y)

    assert model.setting == 1
    assert model.predict([[10.2], [19.0]]) == pytest.approx([5.0, 9.0])


def test_a_row_never_takes_part_in_its_own_prediction():
    x, y = planted(count=30)
    changed = y.copy()
    changed[7] += 1000.0

    one, other = (cross_validated("ridge", x, each, folds=30) for each in (y, changed))

    assert one[7] == pytest.approx(other[7])


def test_too_few_rows_are_refused():
    with pytest.raises(SpinetError, match="four architectures or more, found 3"):
        fit_surrogate("ridge", np.zeros((3, 2)), np.zeros(3))


def test_descriptions_have_the_same_numbers_for_every_graph_and_are_what_they_say():
    genotype = load_architecture("spinenet49").genotype
    about = graph_features(genotype, SPACE.scaling)

    assert about["bottlenecks"] == sum(block.kind == "bottleneck" for block in genotype.blocks) / 15
    assert about["blocks of level 7"] == sum(block.level == 7 for block in genotype.blocks)
    assert about["merged blocks"] == 1  # node 11 joins output 14
    assert about["to finer"] + about["to coarser"] < 1
    drawn = SPACE.decode(SPACE.sample(Random(0)))
    assert len(features(drawn, SPACE.scaling)) == len(about)


def test_the_chain_is_the_deepest_graph():
    chain = BUDGETS["spinenet49"].chain()

    assert depth(chain) == pytest.approx(sum(range(13, 18)) / 5)  # all 17 blocks in a row, five of them endpoints
