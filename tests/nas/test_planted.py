"""Do the strategies find what was planted? (benchmarks/planted_optimum.py has the table)."""

import pytest
from planted import SPACE, best_of, planted_reward, search_planted, settings_of

from spinet.arch.catalog import load_architecture
from spinet.nas.encoding import encode


def test_the_planted_optimum_is_spinenet49_and_worth_one():
    assert planted_reward(encode(SPACE, load_architecture("spinenet49").genotype)) == pytest.approx(1)


@pytest.mark.slow
def test_300_noisy_samples_are_enough_to_beat_random_search():
    found = {name: best_of(search_planted(settings_of(name, 0), 0, 300)) for name in ("random", "controller")}

    assert found["random"] < 4
    assert found["controller"] > 4.5


@pytest.mark.slow
def test_the_controller_comes_near_the_optimum_in_2000_noisy_samples():
    assert best_of(search_planted(settings_of("controller", 0), 0, 2000)) >= 9
