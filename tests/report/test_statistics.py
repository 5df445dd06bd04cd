import math
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spinet.errors import SpinetError
from spinet.report.statistics import (
    best_of,
    best_of_normal,
    best_so_far,
    bootstrap,
    hypervolume,
    kendall,
    pareto_front,
    precision_at_top,
    regret_of_top1,
    spearman,
)

COLUMN = st.lists(st.integers(0, 6), min_size=3, max_size=12)


@pytest.mark.slow
@given(st.data())
def test_rank_correlations_agree_with_scipy_ties_included(data):
    x = data.draw(COLUMN)
    y = data.draw(st.lists(st.integers(0, 6), min_size=len(x), max_size=len(x)))

    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(spearman(x, y))
        assert math.isnan(kendall(x, y))
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
        assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_two_pairs_are_too_few_to_correlate():
    assert math.isnan(spearman([1, 2], [1, 2]))
    assert math.isnan(kendall([1, 2], [1, 2]))


def test_columns_of_different_lengths_are_rejected():
    with pytest.raises(SpinetError, match=r"one length.*\(3,\) and \(2,\)"):
        spearman([1, 2, 3], [1, 2])


def test_precision_counts_who_is_among_the_best_of_both():
    cheap, costly = list(range(20)), list(range(20))
    costly[19], costly[0] = costly[0], costly[19]  # the best by the cheap measure is the worst in truth

    assert precision_at_top(cheap, costly, fraction=0.1) == 0.5
    assert precision_at_top(cheap, cheap, fraction=0.1) == 1.0


def test_precision_of_a_constant_is_that_of_chance():
    assert precision_at_top([0.0] * 50, range(50), fraction=0.1) == pytest.approx(0.1)


def test_precision_breaks_ties_fairly():
    # One of the three tied ones is taken; two of them are among the costly top two.
    assert precision_at_top([1, 2, 2, 2], [1, 2, 3, 4], fraction=0.25) == pytest.approx(1 / 3)


def test_regret_is_the_mean_over_those_that_tie_for_the_best():
    assert regret_of_top1([1, 1, 0], [0.2, 0.4, 0.9]) == pytest.approx(0.6)


def test_bootstrap_draws_every_row_equally_often_and_columns_together():
    drawn = np.zeros(10)

    def statistic(x, y):
        np.testing.assert_array_equal(y, -x)
        drawn[:] += np.bincount(x.astype(int), minlength=10)
        return x.mean()

    bootstrap(statistic, np.arange(10), -np.arange(10), repeats=1000)

    # 1000 times 10 draws of 10 rows, and once all; the deviation is 30.
    assert drawn.sum() == 10_010
    assert drawn.tolist() == pytest.approx([1001] * 10, abs=150)


@pytest.mark.slow
def test_bootstrap_is_a_function_of_its_seed_and_holds_the_estimate():
    random = np.random.default_rng(0)
    x = random.normal(size=60)
    y = x + random.normal(size=60)

    one, again, other = (bootstrap(spearman, x, y, seed=seed, repeats=300) for seed in (1, 1, 2))

    assert one == again != other
    assert one.low < one.value < one.high
    assert one.value == spearman(x, y)


def test_bootstrap_of_a_mean_has_the_width_that_theory_gives():
    values = np.random.default_rng(3).normal(size=400)

    found = bootstrap(lambda column: float(column.mean()), values, repeats=2000)

    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_an_undefined_interval_is_a_dash():
    assert str(bootstrap(spearman, [1.0], [2.0])) == "\N{EN DASH}"
    assert str(bootstrap(spearman, [1, 2, 3, 4], [1, 2, 3, 5], repeats=50)).startswith("1.00 [")


def test_best_so_far_ignores_failures():
    assert best_so_far([None, 1.0, None, 0.5, 2.0]) == [None, 1.0, 1.0, 1.0, 2.0]


@pytest.mark.parametrize("draws", [1, 2, 3])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_best_of_n_is_the_quantile_of_all_possible_draws(draws, quantile):
    rewards = [0.3, 0.1, 0.4, 0.15, 0.9]
    all_best = sorted(max(drawn) for drawn in product(rewards, repeat=draws))

    expected = all_best[math.ceil(quantile * len(all_best)) - 1]

    assert best_of(rewards, draws, quantile) == expected


def test_best_of_failures_is_a_failure():
    assert best_of([-math.inf, -math.inf, 1.0], 1, 0.5) == -math.inf
    assert best_of([-math.inf, -math.inf, 1.0], 9, 0.5) == 1.0


def test_best_of_normal_is_the_median_of_simulated_maxima():
    maxima = np.random.default_rng(0).normal(5, 2, size=(4000, 30)).max(axis=1)

    assert best_of_normal(5, 2, 30, 0.5) == pytest.approx(np.median(maxima), abs=0.05)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=12))
def test_the_front_is_the_set_of_non_dominated_points(points):
    costs, rewards = zip(*points, strict=True)

    front = pareto_front(costs, rewards)

    def beaten(place):
        cost, reward = points[place]
        return any(c <= cost and r >= reward and (c, r) != (cost, reward) for c, r in points)

    assert {points[place] for place in front} == {p for place, p in enumerate(points) if not beaten(place)}
    assert [costs[place] for place in front] == sorted({costs[place] for place in front})


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=12))
def test_hypervolume_is_the_count_of_dominated_unit_squares(points):
    costs, rewards = zip(*points, strict=True)

    squares = sum(any(c <= x and r >= y + 1 for c, r in points) for x in range(8) for y in range(8))

    assert hypervolume(costs, rewards, worst=(8, 0)) == squares


def test_points_beyond_the_corner_add_nothing():
    assert hypervolume([5, 1], [9, -1], worst=(4, 0)) == 0.0


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)

    with pytest.raises(SpinetError, match=r"needs scipy, which is not installed: pip install 'spinet\[search\]'"):
        spearman([1, 2, 3], [1, 3, 2])
