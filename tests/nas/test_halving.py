import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_spaces import TINY, done, trial_of

from spinet.nas.halving import Halving
from spinet.nas.settings import EvolutionSettings, HalvingSettings, RandomSettings
from spinet.nas.strategies import create_strategy
from spinet.nas.trial import Outcome, Proposal, ask_random


class Counting:
    """Proposes (0,), (1,), (2,) ... and records the outcomes."""

    def __init__(self):
        self.count, self.told = 0, []

    def ask(self, random):
        return Proposal((self.count,), notes={"from": "inner"})

    def asked(self, trial):
        self.count += 1

    def tell(self, trial, outcome):
        self.told.append((trial.choices, outcome.reward))


def tell_first_rung(halving, rewards, statuses=None):
    for number, reward in enumerate(rewards):
        trial = trial_of(number, (number,))
        halving.asked(trial)
        halving.tell(trial, Outcome((statuses or {}).get(number, "done"), reward))


def promotions(halving, limit=1000):
    """Ask until nothing is promoted any more; return the promotions."""
    found = []
    while len(found) < limit and (proposal := halving.ask(ask_random(0, 0))).rung:
        halving.asked(trial_of(len(found), proposal.choices, rung=proposal.rung))
        found.append((proposal.choices[0], proposal.rung))
    return found


def test_without_results_it_proposes_what_the_inner_strategy_does():
    halving = Halving(Counting(), eta=3, rungs=2)

    assert halving.ask(ask_random(0, 0)) == Proposal((0,), 0, {"from": "inner"})


def test_the_best_third_is_promoted_best_first():
    halving = Halving(Counting(), eta=3, rungs=2)

    tell_first_rung(halving, [0.5, 0.1, 0.9, 0.2, 0.7, 0.3, 0.0, 0.4])

    assert promotions(halving) == [(2, 1), (4, 1)]


def test_a_rejected_promotion_is_proposed_again():
    halving = Halving(Counting(), eta=3, rungs=2)
    tell_first_rung(halving, [0.5, 0.1, 0.9])

    first = halving.ask(ask_random(0, 0))

    assert halving.ask(ask_random(0, 1)) == first == Proposal((2,), 1)


def test_the_best_of_the_second_rung_is_promoted_to_the_third_and_no_further():
    halving = Halving(Counting(), eta=2, rungs=3)
    tell_first_rung(halving, [0.1, 0.2, 0.3, 0.4])
    assert promotions(halving) == [(3, 1), (2, 1)]

    halving.tell(trial_of(4, (3,), rung=1), done(0.5))
    halving.tell(trial_of(5, (2,), rung=1), done(0.6))
    to_third = promotions(halving)
    halving.tell(trial_of(6, (2,), rung=2), done(0.9))
    halving.tell(trial_of(7, (3,), rung=2), done(0.8))

    assert to_third == [(2, 2)]
    assert promotions(halving) == []


def test_failures_are_never_promoted_and_do_not_count():
    halving = Halving(Counting(), eta=2, rungs=2)

    tell_first_rung(halving, [0.1, None, None, 0.2], {1: "oom", 2: "timeout"})

    assert promotions(halving) == [(3, 1)]


def test_nan_counts_as_worse_than_anything_and_is_never_promoted():
    halving = Halving(Counting(), eta=2, rungs=2)

    tell_first_rung(halving, [-5.0, -5.0, -5.0, -9.0], {0: "nan", 1: "nan", 2: "nan"})

    assert promotions(halving) == [(3, 1)]


def test_a_graph_is_promoted_once_whatever_choices_it_came_from():
    halving = Halving(Counting(), eta=2, rungs=2)
    for number, graph in enumerate(["same", "same", "worse", "worst"]):
        halving.tell(trial_of(number, (number,), graph=graph), done(-number))

    proposal = halving.ask(ask_random(0, 0))
    halving.asked(trial_of(4, proposal.choices, rung=1, graph="same"))

    assert (proposal.choices, proposal.rung) == ((0,), 1)
    assert halving.ask(ask_random(0, 0)).rung == 0  # three graphs are known, one of them is a half of that


def test_replicates_of_a_graph_count_by_their_mean_and_duplicates_are_not_replicates():
    halving = Halving(Counting(), eta=2, rungs=2)
    told = [("lucky", 0, 0.9), ("steady", 0, 0.6), ("lucky", 1, 0.1), ("steady", 1, 0.6), *[("lucky", 0, 0.9)] * 3]
    for number, (graph, replicate, reward) in enumerate(told):
        halving.tell(trial_of(number, (number,), graph=graph, replicate=replicate), done(reward))

    assert halving.ask(ask_random(0, 0)) == Proposal((1,), 1)


def test_the_inner_strategy_learns_from_the_first_rung_only():
    halving = Halving(inner := Counting(), eta=2, rungs=2)
    tell_first_rung(halving, [0.1, 0.2])

    promoted = trial_of(2, (1,), rung=1)
    halving.asked(promoted)
    halving.tell(promoted, done(0.9))

    assert inner.told == [((0,), 0.1), ((1,), 0.2)]
    assert inner.count == 2


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=40), st.integers(2, 4))
def test_in_the_end_all_of_the_best_are_promoted_and_nothing_else(rewards, eta):
    halving = Halving(Counting(), eta, rungs=2)
    tell_first_rung(halving, rewards)

    promoted = [choices for choices, _ in promotions(halving)]

    best = sorted(range(len(rewards)), key=lambda number: (-rewards[number], number))
    assert promoted == best[: len(rewards) // eta]


def test_the_inner_strategy_decides_whether_duplicates_are_avoided():
    around = [HalvingSettings(inner=inner) for inner in (RandomSettings("random"), EvolutionSettings("evolution"))]

    assert [create_strategy(settings, TINY).avoid_duplicates for settings in around] == [False, True]


def test_settings_are_json_with_those_of_the_inner_strategy():
    settings = HalvingSettings(inner=EvolutionSettings("mine", 7, 3), eta=4, rungs=3)

    assert json.loads(json.dumps(settings.to_dict())) == {
        "name": "halving",
        "inner": {"name": "mine", "population": 7, "sample": 3},
        "eta": 4,
        "rungs": 3,
    }


@pytest.mark.parametrize("wrong", [{"eta": 1}, {"rungs": 0}])
def test_settings_out_of_range_are_rejected(wrong):
    with pytest.raises(ValueError, match=rf"strategy 'halving': {next(iter(wrong))} must be an integer >= ., got ."):
        HalvingSettings(inner=RandomSettings("random"), **wrong)
