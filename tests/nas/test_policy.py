import json
import math
import random
import subprocess
import sys
from collections import Counter

import pytest
import torch
from small_spaces import EVERY_PHASE, SMALL, TINY, Search, done, every_point, learnt, trial_of

from spinet.nas.policy import Policy
from spinet.nas.settings import STRATEGIES, PolicySettings
from spinet.nas.spaces import SPACES
from spinet.nas.strategies import create_strategy
from spinet.nas.trial import Outcome, ask_random

NETWORKS = ("lstm", "factored")
POLICIES = [name for name, settings in STRATEGIES.items() if isinstance(settings, PolicySettings)]


def learned(space, network, trials=80, **settings):
    """A policy after some updates by rewards that prefer high options, far from uniform."""
    policy = Policy(space, PolicySettings("test", network, **{"lr": 0.05, "max_staleness": 99, **settings}))
    Search(policy).go(trials)
    return policy


def p_value(drawn, possible):
    """Of the chi-square test that all that is possible is equally probable."""
    special = pytest.importorskip("scipy.special")
    counts, expected = Counter(drawn), len(drawn) / len(possible)
    assert set(counts) <= possible
    statistic = sum((counts[each] - expected) ** 2 / expected for each in possible)
    return special.chdtrc(len(possible) - 1, statistic)


@pytest.mark.parametrize("draw", ["space", *NETWORKS])
@pytest.mark.slow
def test_before_any_reward_every_point_is_drawn_equally_often(draw):
    strategy = create_strategy("random" if draw == "space" else PolicySettings("test", draw), TINY)

    drawn = [strategy.ask(ask_random(0, number)).choices for number in range(1800)]

    for part in (slice(0, -1), slice(-2, None)):  # 60 and 150 cells, so that there are enough draws for each
        possible = {point[part] for point in every_point(TINY)}
        assert p_value([choices[part] for choices in drawn], possible) > 0.01


def test_the_chi_square_test_would_notice_equal_weights_in_the_ordering():
    drawn = []
    for number in range(1800):
        random, choices = ask_random(0, number), ()
        for _ in TINY.decisions:
            legal = [option for option, weight in enumerate(TINY.weights(choices)) if weight]
            choices = (*choices, random.choice(legal))
        drawn.append(choices[:-1])

    assert p_value(drawn, {point[:-1] for point in every_point(TINY)}) < 1e-6


@pytest.mark.parametrize("network", NETWORKS)
def test_before_any_reward_every_point_has_the_same_probability(network):
    policy = Policy(SMALL, PolicySettings("test", network))

    log_probs, _ = policy.log_probs(every_point(SMALL)[::16])

    expected = torch.full((len(log_probs),), -math.log(SMALL.size()))
    torch.testing.assert_close(log_probs.sum(1), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("space", [TINY, EVERY_PHASE], ids=lambda space: space.name)
@torch.no_grad()
def test_probabilities_of_all_points_sum_to_one_before_and_after_updates(space, network):
    points = every_point(space)
    assert len(set(points)) == space.size()

    with torch.enable_grad():
        policies = Policy(space, PolicySettings("test", network)), learned(space, network)
    before, after = (policy.log_probs(points)[0].sum(1).double().exp() for policy in policies)

    assert before.sum() == pytest.approx(1, abs=1e-5)
    assert after.sum() == pytest.approx(1, abs=1e-5)
    assert after.max() > 10 * before.max()  # it did learn


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("space", [EVERY_PHASE, SPACES["spinenet49"]], ids=lambda space: space.name)
@pytest.mark.slow
def test_proposals_note_the_probabilities_and_the_entropy_that_learning_computes(space, network):
    policy = learned(space, network)

    proposals = [policy.ask(ask_random(0, 1000 + number)) for number in range(5)]

    log_probs, entropies = policy.log_probs([proposal.choices for proposal in proposals])
    noted = torch.tensor([proposal.notes["log_probs"] for proposal in proposals])
    torch.testing.assert_close(noted, log_probs, rtol=1e-4, atol=1e-4)
    expected = entropies.sum(1).tolist()
    assert [proposal.notes["entropy"] for proposal in proposals] == pytest.approx(expected, rel=1e-3, abs=2e-3)


@pytest.mark.slow
def test_the_first_entropy_is_that_of_the_uniform_distribution_over_every_decision():
    policy = Policy(TINY, PolicySettings("test"))

    total = [policy.ask(ask_random(0, number)).notes["entropy"] for number in range(200)]

    assert all(0 < each < 8 for each in total)
    # H(point) = E[sum of the entropies on the way], and uniform over 900 points it is log 900 = 6.80.
    assert sum(total) / 200 == pytest.approx(6.80, abs=0.06)


@pytest.mark.slow
def test_notes_are_small_and_survive_the_journal_to_the_bit():
    notes = learned(SPACES["spinenet49"], "lstm", trials=20).ask(ask_random(0, 0)).notes

    text = json.dumps(notes)

    assert len(text) < 1000
    assert json.loads(text) == notes
    in_float32 = torch.tensor(notes["log_probs"])
    assert [float(f"{each:.9g}") for each in in_float32.tolist()] == notes["log_probs"]


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_masked_options_are_never_drawn_however_much_the_network_wants_them(network):
    space = SPACES["spinenet49"]
    policy = Policy(space, PolicySettings("test", network))
    with torch.no_grad():
        if network == "lstm":
            for head in policy.network.heads.values():
                head.bias[-1] = head.bias[0] = 80.0  # the last option of many blocks' parents does not exist
        else:
            policy.network.table[:, 0] = policy.network.table[:, -1] = 80.0

    drawn = [policy.ask(ask_random(0, number)).choices for number in range(100)]

    for choices in drawn:
        space.decode(choices)  # raises if a level is used up or a pair is out of reach
    assert {choices[0] for choices in drawn} <= {0, 3}  # what it wants it gets, while it lasts


def gradients(policy, loss):
    return torch.autograd.grad(loss, list(policy.network.parameters()), retain_graph=True)


def batch_of(policy, count=6):
    proposals = [policy.ask(ask_random(5, number)) for number in range(count)]
    points = [proposal.choices for proposal in proposals]
    behaviour = torch.tensor([proposal.notes["log_probs"] for proposal in proposals])
    advantages = torch.linspace(-1, 2, count)
    return points, (torch.tensor(points), policy._weights.whole(points), behaviour, advantages)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("clip", [None, 0.2])
def test_fresh_samples_give_the_gradient_of_reinforce(network, clip):
    policy = learned(EVERY_PHASE, network, clip=clip, entropy=0.0)
    points, batch = batch_of(policy)

    log_probs, _ = policy.log_probs(points)
    reinforce = -(log_probs.sum(1) * batch[3]).mean()

    for ours, theirs in zip(gradients(policy, policy.loss(*batch)), gradients(policy, reinforce), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_gradient_agrees_with_finite_differences():
    policy = learned(EVERY_PHASE, "factored", clip=None, entropy=0.5)
    _, (choices, weights, behaviour, advantages) = batch_of(policy)
    policy.network.double()
    arguments = choices, weights.double(), behaviour.double(), advantages.double()
    (gradient,) = gradients(policy, policy.loss(*arguments))

    step = 1e-4
    for place in [(0, 0), (5, 2), (6, 1), (9, 0)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                policy.network.table[place] += sign * step
                values.append(policy.loss(*arguments).item())
                policy.network.table[place] -= sign * step
        assert abs(gradient[place].item()) > 1e-3
        assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


def test_clipping_stops_the_gradient_of_what_has_moved_enough_already():
    policy = learned(EVERY_PHASE, "factored", clip=0.2, entropy=0.0)
    _, (choices, weights, behaviour, advantages) = batch_of(policy)
    advantages = advantages.abs() + 0.1

    (moved,) = gradients(policy, policy.loss(choices, weights, behaviour - 0.5, advantages))  # ratios of 1.65
    (not_yet,) = gradients(policy, policy.loss(choices, weights, behaviour - 0.1, advantages))  # ratios of 1.11

    assert moved.abs().max() == 0
    assert not_yet.abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
def test_what_was_rewarded_becomes_more_probable(name):
    policy = create_strategy(name, SMALL)
    target = (0, 1, 0, 1, 0, 0, 2, 5, 3, 7)
    start = policy.log_probs([target])[0].sum().item()

    for number in range(100):
        proposal = policy.ask(ask_random(0, number))
        reward = sum(one == other for one, other in zip(proposal.choices, target, strict=True))
        policy.tell(trial_of(number, proposal.choices, notes=proposal.notes), done(reward))

    assert policy.log_probs([target])[0].sum().item() > start + 0.1


def parameters(policy):
    return torch.cat([each.detach().flatten() for each in policy.network.parameters()])


def test_nothing_is_learned_from_failures():
    policy = Policy(SMALL, PolicySettings("test", batch=2))
    first = parameters(policy)

    for number in range(20):
        proposal = policy.ask(ask_random(0, number))
        policy.tell(trial_of(number, proposal.choices, notes=proposal.notes), Outcome("oom", None))

    assert torch.equal(parameters(policy), first)


def test_nothing_but_entropy_is_learned_from_equal_rewards():
    policy = Policy(SMALL, PolicySettings("test", batch=5, entropy=0.0))
    first = parameters(policy)

    for number in range(20):
        proposal = policy.ask(ask_random(0, number))
        policy.tell(trial_of(number, proposal.choices, notes=proposal.notes), done(0.1))

    torch.testing.assert_close(parameters(policy), first, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("max_staleness", "learns"), [(0, False), (1, True)])
def test_trials_that_are_too_old_are_left_out(max_staleness, learns):
    settings = PolicySettings("test", "factored", batch=2, max_staleness=max_staleness)
    policy = Policy(SMALL, settings)
    early = [policy.ask(ask_random(0, number)) for number in range(4)]
    trials = [trial_of(number, each.choices, notes=each.notes) for number, each in enumerate(early)]
    for number in (0, 1):
        policy.tell(trials[number], done(number))
    after_one_update = parameters(policy)

    for number in (2, 3):
        policy.tell(trials[number], done(number))

    assert after_one_update.abs().max() > 0
    assert torch.equal(parameters(policy), after_one_update) is not learns


def test_the_moving_baseline_follows_the_rewards():
    settings = PolicySettings("test", "factored", batch=4, entropy=0.0, advantage="moving", baseline_decay=0.5)
    policy = Policy(SMALL, settings)
    gains = []
    for number, reward in enumerate([1.0, 3.0, 3.0]):
        proposal = policy.ask(ask_random(0, number))
        policy.tell(trial_of(number, proposal.choices, notes=proposal.notes), done(reward))
        gains = [gain for *_, gain in policy._batch]

    assert gains == [0.0, 2.0, 1.0]  # above baselines of 1 (the first), 1, 2


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_it_neither_reads_nor_advances_the_global_generators(network):
    torch.manual_seed(1)
    random.seed(1)
    one = parameters(learned(SMALL, network))
    torch.manual_seed(2)
    states = torch.get_rng_state(), random.getstate()

    two = parameters(learned(SMALL, network))

    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_seeds_give_different_first_weights_and_the_same_uniform_start():
    one, two = (Policy(SMALL, PolicySettings("test", seed=seed)) for seed in (0, 1))

    assert not torch.equal(parameters(one), parameters(two))
    assert one.ask(ask_random(0, 0)) == two.ask(ask_random(0, 0))


@pytest.mark.slow
def test_another_process_learns_the_same_to_the_bit():
    program = "import sys; sys.path.insert(0, 'tests/support'); import small_spaces as spaces; print(spaces.learnt())"
    # Hashes of strings differ from process to process.
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)

    assert other.stdout == f"{learnt()}\n"
