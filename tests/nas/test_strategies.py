import json
import subprocess
import sys
from dataclasses import replace

import pytest
from small_spaces import EVERY_PHASE, SMALL, Search, done, replay, trial_of

from spinet.errors import SpinetError
from spinet.nas.settings import STRATEGIES, EvolutionSettings, HalvingSettings, PolicySettings
from spinet.nas.spaces import SPACES
from spinet.nas.strategies import create_strategy
from spinet.nas.trial import Outcome, ask_random

ALL = {
    **STRATEGIES,
    **{f"halving-{name}": HalvingSettings(inner=STRATEGIES[name]) for name in ("random", "evolution", "controller")},
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("settings", STRATEGIES.values(), ids=STRATEGIES)
def test_every_strategy_proposes_points_of_every_space(settings, space):
    strategy = create_strategy(settings, space)

    for number in range(3):
        space.decode(strategy.ask(ask_random(0, number)).choices)  # raises if it is none


@pytest.mark.slow
@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_proposals_depend_on_events_and_number_alone(settings):
    one, two = (Search(create_strategy(settings, SMALL)).go(60) for _ in range(2))

    assert one == two
    assert len({proposal.choices for proposal in one}) > 30


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
@pytest.mark.parametrize("stop", [1, 57])
@pytest.mark.slow
def test_a_search_replayed_from_its_events_continues_like_an_uninterrupted_one(settings, stop):
    unbroken = Search(create_strategy(settings, EVERY_PHASE)).go(120)
    broken = Search(create_strategy(settings, EVERY_PHASE))
    before = broken.go(stop)

    replay(fresh := create_strategy(settings, EVERY_PHASE), broken.events)
    after = Search(fresh, stop, broken.running).go(120 - stop)

    assert before + after == unbroken


def evolution(population=10, sample=10):
    return create_strategy(EvolutionSettings("evolution", population, sample), SMALL)


def fill(strategy, rewards, points):
    for number, (reward, choices) in enumerate(zip(rewards, points, strict=True)):
        strategy.asked(trial_of(number, choices))
        strategy.tell(trial_of(number, choices), done(reward))


def points(count):
    return [SMALL.sample(ask_random(1, number)) for number in range(count)]


def differences(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_the_first_population_is_random():
    strategy = evolution()
    fill(strategy, range(9), points(9))

    tenth = strategy.ask(ask_random(0, 9))
    strategy.asked(trial_of(9))
    eleventh = strategy.ask(ask_random(0, 10))

    assert tenth.choices == SMALL.sample(ask_random(0, 9))
    assert (tenth.notes, eleventh.notes) == ({"random": True}, {})


def test_a_child_is_one_mutation_away_from_the_best_of_the_tournament():
    strategy = evolution()
    fill(strategy, [0, 1, 2, 9, 4, 5, 6, 7, 8, 3], parents := points(10))

    children = [strategy.ask(ask_random(0, number)).choices for number in range(20)]

    assert all(1 <= differences(child, parents[3]) <= 2 for child in children)  # 2: in the ordering, blocks swap
    assert len(set(children)) > 5


def test_a_small_tournament_is_not_always_won_by_the_best():
    strategy = evolution(sample=2)
    fill(strategy, range(10), parents := points(10))

    children = [strategy.ask(ask_random(0, number)).choices for number in range(30)]
    winners = {min(range(10), key=lambda each: differences(child, parents[each])) for child in children}

    assert len(winners) > 3


def test_the_oldest_leaves_the_population_however_good_it_is():
    strategy = evolution()
    fill(strategy, [100, 50, *[0] * 8, 1], parents := points(11))

    child = strategy.ask(ask_random(0, 11)).choices

    assert differences(child, parents[1]) <= 2
    strategy.tell(trial_of(12, parents[0]), done(2))
    assert differences(strategy.ask(ask_random(0, 11)).choices, parents[0]) <= 2  # told last, it is the youngest


def test_failures_do_not_join_the_population():
    strategy = evolution(population=2, sample=2)
    for number, choices in enumerate(points(2)):
        strategy.asked(trial_of(number, choices))
        strategy.tell(trial_of(number, choices), Outcome("oom", None))

    assert strategy.ask(ask_random(0, 2)).choices == SMALL.sample(ask_random(0, 2))


def test_evolution_avoids_duplicates():
    assert evolution().avoid_duplicates


@pytest.mark.parametrize("name", STRATEGIES)
def test_settings_are_json_under_their_name(name):
    plain = json.loads(json.dumps(STRATEGIES[name].to_dict()))

    assert type(STRATEGIES[name])(**plain) == STRATEGIES[name]
    assert plain["name"] == name


def test_an_unknown_name_is_rejected_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown strategy 'controler', did you mean 'controller'"):
        create_strategy("controler", SMALL)


@pytest.mark.parametrize(
    ("settings", "wrong", "sentence"),
    [
        ("evolution", {"population": 0}, "strategy 'evolution': population must be an integer >= 1, got 0"),
        ("evolution", {"sample": 101}, "strategy 'evolution': sample must be at most the population 100, got 101"),
        ("controller", {"lr": 0}, "strategy 'controller': lr must be a number > 0, got 0"),
        ("controller", {"clip": -0.1}, "clip must be a number > 0, got -0.1"),
        ("controller", {"batch": 1}, "batch must be at least 2 to standardize rewards, got 1"),
        ("controller", {"network": "gru"}, "unknown network in strategy 'controller' 'gru'"),
        ("controller-paper", {"advantage": "mean"}, "unknown advantage in strategy 'controller-paper' 'mean'"),
    ],
)
def test_settings_out_of_range_are_rejected(settings, wrong, sentence):
    with pytest.raises(SpinetError, match=sentence):
        replace(STRATEGIES[settings], **wrong)


def test_a_moving_average_can_learn_from_single_trials():
    assert PolicySettings("single", advantage="moving", batch=1).batch == 1


@pytest.mark.slow
def test_strategies_without_a_network_do_not_import_torch():
    program = """
import sys
from spinet.nas import halving, settings, space, strategies
from spinet.nas.spaces import SPACES
for chosen in ("random", "evolution", settings.HalvingSettings(inner=settings.STRATEGIES["evolution"])):
    strategies.create_strategy(chosen, SPACES["spinenet49"])
print(*sorted({"torch", "numpy", "scipy"} & set(sys.modules)))
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
