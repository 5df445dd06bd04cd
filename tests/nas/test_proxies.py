import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.head_cost import model_cost
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError
from spinet.nas.proxies import PROXIES, Proxy, load_proxy

SPINENET49 = load_architecture("spinenet49").genotype


def multiply_adds(proxy: Proxy) -> int:
    architecture = Architecture(SPINENET49, proxy.scaling(Scaling()))
    return model_cost(architecture, proxy.train.data.image_size, num_classes=90, anchors=proxy.anchors).multiply_adds


@pytest.mark.parametrize("name", PROXIES)
def test_every_proxy_survives_its_json(name):
    assert Proxy.from_dict(json.loads(json.dumps(PROXIES[name].to_dict()))) == PROXIES[name]


def test_proxies_are_known_without_torch():
    program = "import sys, spinet.nas.proxies; print(*sorted({'torch', 'numpy'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_the_proxy_of_the_paper_has_the_computed_cost_and_the_lean_one_two_and_a_half_times_less():
    paper, lean = multiply_adds(PROXIES["paper"]), multiply_adds(PROXIES["lean"])

    assert paper == pytest.approx(5.81e9, rel=0.005)
    assert paper / lean == pytest.approx(2.65, rel=0.01)


def test_an_unknown_proxy_is_rejected_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown proxy 'leen', did you mean 'lean'"):
        load_proxy("leen")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 0}, "proxy.width must be a number > 0, got 0"),
        ({"width": float("nan")}, "proxy.width must be a number > 0, got nan"),
        ({"batch_size": 2.5}, "proxy: batch_size must be an integer, got 2.5"),
        ({"octaves": True}, "proxy: model.octaves must be an integer, got True"),
        ({"image_size": 0}, "proxy: data.image_size must be an integer >= 16, got 0"),
        ({"held_out": 1}, "proxy.held_out must be a number < 1, got 1"),
        ({"data_fraction": 0.0}, "proxy.data_fraction must be a number > 0, got 0.0"),
        ({"rungs": ()}, r"proxy.rungs must be a list of length >= 1, got \(\)"),
        ({"rungs": [4, -1]}, r"proxy.rungs must be a number > 0 at \[1\], got \[4, -1\]"),
        ({"rungs": [4, 4]}, r"proxy: rungs must be ascending numbers of epochs, got \(4.0, 4.0\)"),
        ({"rungs": "12"}, "proxy.rungs must be a list, got '12'"),
        ({"scale_jitter": (1.2, 0.8)}, r"proxy: data.scale_jitter is \(1.2, 0.8\)"),
        ({"aspect_ratios": (float("inf"),)}, "proxy: model.aspect_ratios"),
        ({"reward": "AP5"}, "unknown proxy.reward 'AP5', did you mean 'AP50'"),
        ({"cache_images": 1}, "proxy: data.cache_images must be true or false, got 1"),
        ({"name": ""}, "proxy.name must be a string of length >= 1, got ''"),
        ({"heldout": 0.1}, "unknown key in proxy 'heldout', did you mean 'held_out'"),
    ],
)
def test_an_invalid_value_is_rejected_by_name(changes, sentence):
    with pytest.raises(SpinetError, match=sentence):
        Proxy.from_dict({"name": "mine"} | changes)


def test_the_narrow_copy_keeps_family_repeats_and_rules():
    base = Scaling(width=0.5, repeats=3, family="mobile", same_level_conv=False, head_separable=True)

    narrow = Proxy(name="mine", width=0.5, head_convs=2).scaling(base)

    assert (narrow.width, narrow.repeats, narrow.head_convs) == (0.25, 3, 2)
    assert (narrow.family, narrow.same_level_conv, narrow.head_separable) == ("mobile", False, True)


def test_a_rung_beyond_the_last_is_rejected():
    proxy = Proxy(name="mine", rungs=(1, 4))

    assert (proxy.epochs(0), proxy.epochs(1)) == (1.0, 4.0)
    with pytest.raises(SpinetError, match="the proxy mine has no rung 2; its rungs are 0 to 1"):
        proxy.epochs(2)


ids = st.lists(st.integers(0, 10**12), min_size=1, max_size=60, unique=True)
shares = st.floats(0.01, 0.99)


@given(ids=ids, held_out=shares, fraction=shares, seed=st.integers(0, 9))
def test_no_image_is_both_held_out_and_trained_on(ids, held_out, fraction, seed):
    proxy = Proxy(name="mine", held_out=held_out, data_fraction=fraction, split_seed=seed)

    train, held = proxy.split(ids)

    assert not set(train) & set(held)
    assert len(held) == int(held_out * len(ids))
    assert len(train) == int(fraction * (len(ids) - len(held)))


@given(ids=ids, data=st.data(), held_out=shares, fraction=shares)
def test_the_split_depends_on_the_ids_and_not_on_their_order(ids, data, held_out, fraction):
    proxy = Proxy(name="mine", held_out=held_out, data_fraction=fraction)
    shuffled = data.draw(st.permutations(ids))

    chosen = [[{order[place] for place in part} for part in proxy.split(order)] for order in (ids, shuffled)]

    assert chosen[0] == chosen[1]


@given(ids=ids, held_out=shares, fractions=st.tuples(shares, shares))
def test_a_larger_data_fraction_contains_the_smaller_and_the_held_out_images_stay(ids, held_out, fractions):
    small, large = (Proxy(name="mine", held_out=held_out, data_fraction=share) for share in sorted(fractions))

    assert set(small.split(ids)[0]) <= set(large.split(ids)[0])
    assert small.split(ids)[1] == large.split(ids)[1]


def test_another_seed_holds_out_other_images():
    proxy = Proxy(name="mine", held_out=0.2)

    assert proxy.split(range(100))[1] != replace(proxy, split_seed=1).split(range(100))[1]


@pytest.mark.parametrize("seed", range(5))
def test_training_images_are_chosen_independently_of_the_held_out_ones(seed):
    proxy = Proxy(name="mine", held_out=0.2, data_fraction=0.25, split_seed=seed)

    train, held = map(set, proxy.split(range(1000)))
    later = set(replace(proxy, held_out=0.4).split(range(1000))[1]) - held

    # The next images after the held-out ones are a quarter of the others, and so by chance of the training images.
    assert (len(train), len(later)) == (200, 200)
    assert len(train & later) == pytest.approx(50, abs=20)
