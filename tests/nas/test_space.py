import itertools
import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import load_architecture
from spinet.errors import SpinetError
from spinet.nas.encoding import encode
from spinet.nas.space import Space
from spinet.nas.spaces import SPACES, load_space

SMALL = Space(
    "small",
    (BlockSpec(2, "bottleneck"), BlockSpec(2, "bottleneck")),
    intermediates=(3, 3, 4),
    outputs=(3, 4),
    offsets=(0, 1),
    kinds=("residual", "bottleneck"),
)


def all_choices(space):
    """Every point of a small space, by walking through all decisions."""
    points = [()]
    for _ in space.decisions:
        points = [(*point, option) for point in points for option, w in enumerate(space.weights(point)) if w]
    return points


# Name, sizes by the paper's formula with blocks of one level distinguished and without a window, and as searched.
SIZES = [
    ("r35-sp18", "all", 3.896e13, 7.083e12),
    ("r35-sp18", "last", 2.286e9, 2.286e9),
    ("r23-sp30", "all", 4.453e21, 1.417e18),
    ("r23-sp30", "last", 3.495e18, 6.605e16),
    ("r14-sp39", "all", 1.347e27, 1.785e22),
    ("r0-sp53", "all", 3.636e29, 6.426e23),
    ("spinenet49", "all", 1.249e40, 2.208e34),
    ("hourglass", "all", 8.350e20, 1.062e18),
    ("fish", "all", 8.350e20, 1.062e18),
]


@pytest.mark.parametrize(("name", "candidates", "paper", "searched"), SIZES)
def test_the_size_of_a_space_agrees_with_the_papers_formula_and_with_its_distinct_choices(
    name, candidates, paper, searched
):
    space = replace(SPACES[name], candidates=candidates)

    assert replace(space, window=0).size(labelled=True) == pytest.approx(paper, rel=5e-4)
    assert space.size() == pytest.approx(searched, rel=5e-4)


@pytest.mark.parametrize(
    ("name", "labelled", "distinct"),
    [
        ("vertex-spinenet", 4.84e38, 3.36e35),
        ("vertex-spinenet-v2", 7.65e29, 1.06e27),
        ("vertex-mbconv", 7.39e33, 2.57e30),
    ],
)
def test_googles_later_spaces_with_a_window_of_four_have_their_sizes(name, labelled, distinct):
    assert SPACES[name].size(labelled=True) == pytest.approx(labelled, rel=5e-3)
    assert SPACES[name].size() == pytest.approx(distinct, rel=5e-3)


@pytest.mark.slow
def test_the_size_of_a_small_space_is_the_number_of_its_points():
    points = all_choices(SMALL)

    assert len(points) == len(set(points)) == SMALL.size()


@pytest.mark.slow
def test_every_point_of_a_small_space_decodes_and_all_genotypes_are_different_but_for_offsets():
    space = replace(SMALL, offsets=(0,), kinds=("bottleneck",))

    genotypes = {space.decode(point) for point in all_choices(space)}

    assert len(genotypes) == space.size()


def test_sampling_is_uniform_over_a_small_space():
    space = replace(SMALL, kinds=("bottleneck",), offsets=(0,), outputs=(3,))
    points = all_choices(space)
    random = Random(0)

    counts = Counter(space.sample(random) for _ in range(50 * len(points)))

    assert set(counts) == set(points)
    assert chisquare([counts[point] for point in points]).pvalue > 0.001


@pytest.mark.parametrize("name", SPACES)
def test_samples_decode_to_valid_genotypes_that_encode_back(name):
    space, random = SPACES[name], Random(1)

    for _ in range(100):
        genotype = space.decode(space.sample(random))
        assert space.decode(encode(space, genotype)) == genotype
        assert genotype.dangling == space.dangling


@pytest.mark.parametrize("name", SPACES)
def test_a_mutation_is_another_point_of_the_space_that_differs_in_one_decision(name):
    space, random = SPACES[name], Random(2)

    for _ in range(100):
        parent = space.sample(random)
        child = space.mutate(parent, random)
        space.decode(child)
        changed = [space.decisions[i].phase for i, (a, b) in enumerate(zip(parent, child, strict=True)) if a != b]
        assert len(changed) == 1 or (len(changed) == 2 and changed[0] == changed[1] in ("intermediate", "output"))


def test_mutations_reach_all_of_a_small_space():
    space = replace(SMALL, kinds=("bottleneck",), offsets=(0,), window=2)
    random, found = Random(0), set()
    point = space.sample(random)

    for _ in range(30 * space.size()):
        point = space.mutate(point, random)
        found.add(point)

    assert found == set(all_choices(space))


@pytest.mark.parametrize("name", ["spinenet49", "hourglass", "fish", "r0-sp53"])
def test_spaces_contain_the_published_architectures(name):
    space = SPACES[name]
    published = load_architecture(name).genotype

    assert space.decode(encode(space, published)) == replace(published, dangling=space.dangling)


@settings(max_examples=30)
@given(st.sampled_from(sorted(SPACES)), st.randoms(use_true_random=False))
def test_parents_of_intermediate_blocks_lie_in_the_window(name, random):
    space = SPACES[name]
    genotype = space.decode(space.sample(random))

    for index, block in enumerate(genotype.blocks[: len(space.intermediates)], start=len(space.stem)):
        assert all(index - parent <= space.window for parent in block.parents)


def test_only_the_last_stem_block_of_each_level_feeds_others_where_asked():
    space, random = replace(SPACES["r35-sp18"], candidates="last"), Random(0)
    last = {1, 4, 9, 10}

    used = set()
    for _ in range(200):
        genotype = space.decode(space.sample(random))
        used |= {parent for block in genotype.blocks for parent in block.parents if parent < len(space.stem)}

    assert used == last


@pytest.mark.parametrize("name", SPACES)
def test_a_space_survives_json(name):
    assert Space.from_dict(json.loads(json.dumps(SPACES[name].to_dict()))) == SPACES[name]


def test_a_space_file_is_loaded_like_a_name(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(SMALL.to_dict()))

    assert load_space(str(tmp_path / "mine.json")) == SMALL


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"offsets": (0, 5)}, "must stay within the levels 1 to 7"),
        ({"kinds": ("residul",)}, "did you mean 'residual'"),
        ({"outputs": (3, 3)}, "one or more different values"),
        ({"window": 1}, r"window must be 0 \(all blocks\) or at least 2, got 1"),
        ({"candidates": "last"}, "two stem blocks are needed"),
        ({"dangling": "gone"}, "dangling in space 'small'"),
    ],
)
def test_an_invalid_space_is_rejected_with_the_reason(change, words):
    with pytest.raises(SpinetError, match=words):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c[:-1], "decisions, found"),
        (lambda c: (*c[:-1], 9), "must be an integer from 0 to 1, got 9"),
        (lambda c: (1, 1, 1, *c[3:]), "do not use every block once"),
    ],
)
def test_choices_outside_the_space_are_rejected(change, words):
    with pytest.raises(SpinetError, match=words):
        SMALL.decode(change(SMALL.sample(Random(0))))


def test_a_genotype_outside_the_space_is_rejected_by_block():
    space = SPACES["r0-sp53"]

    with pytest.raises(SpinetError, match="block 3: kind residual is none of bottleneck"):
        encode(space, load_architecture("spinenet49").genotype)
    with pytest.raises(SpinetError, match="another stem or not 15 blocks"):
        encode(space, load_architecture("spinenet49-mobile").genotype)
    genotype = space.decode(space.sample(Random(0)))
    far = replace(genotype.blocks[9], parents=(0, 1))
    with pytest.raises(
        SpinetError, match=r"block 11: parents \(0, 1\) are not among the candidates \[6, 7, 8, 9, 10\]"
    ):
        encode(space, replace(genotype, blocks=(*genotype.blocks[:9], far, *genotype.blocks[10:])))


def test_a_fixed_ordering_holds_no_genotype_that_is_a_level_off():
    space = replace(SPACES["hourglass"], offsets=(0,))
    genotype = space.decode(space.sample(Random(0)))
    first = genotype.blocks[0]
    off = replace(first, level=first.level + (1 if first.level < 5 else -1))
    with pytest.raises(SpinetError, match="no ordering gives levels"):
        encode(space, replace(genotype, blocks=(off, *genotype.blocks[1:])))
    assert space.decode(encode(space, genotype)) == genotype


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 5}, "name must be a string, got 5"),
        ({"permuted": "no"}, "permuted must be true or false, got 'no'"),
        ({"intermediates": [[3]]}, r"intermediates must be an integer at \[0\], got"),
        ({"outputs": ["3"]}, r"outputs must be an integer at \[0\], got"),
        ({"outputs": [3.0, 4]}, r"outputs must be an integer at \[0\], got"),
        ({"offsets": [0, None]}, r"offsets must be an integer at \[1\], got"),
        ({"offsets": [False]}, r"offsets must be an integer at \[0\], got"),
        ({"kinds": [["bottleneck"]]}, r"kinds must be a string at \[0\], got"),
        (
            {"stem": [{"level": 2, "kind": {}}, {"level": 2, "kind": "bottleneck"}]},
            r"must be a string at \[0\].kind",
        ),
        (
            {"stem": [{"level": [2], "kind": "bottleneck"}] * 2, "candidates": "last"},
            r"stem must be an integer at \[0\].level",
        ),
    ],
)
def test_a_space_of_wrong_types_is_one_sentence(change, words):
    with pytest.raises(SpinetError, match=words):
        Space.from_dict(SPACES["spinenet49"].to_dict() | change)


def test_an_unknown_space_and_a_corrupt_file_are_named(tmp_path):
    with pytest.raises(SpinetError, match="did you mean 'spinenet49'"):
        load_space("spinenet94")
    (tmp_path / "a.json").write_text('{"name": "a", "stem": [], "blocks": []}')
    with pytest.raises(SpinetError, match=r"a\.json: .*intermediates"):
        load_space(str(tmp_path / "a.json"))
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(SpinetError, match=r"b\.json is not valid JSON: line 1"):
        load_space(str(tmp_path / "b.json"))


@pytest.mark.slow
def test_no_draw_of_two_hundred_thousand_is_invalid():
    # benchmarks/sample_space.py does the same with a million draws.
    random = Random(0)
    for name in itertools.islice(itertools.cycle(SPACES), 200_000):
        space = SPACES[name]
        space.decode(space.sample(random))
