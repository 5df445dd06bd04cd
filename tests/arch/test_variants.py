from itertools import chain

import pytest
from hypothesis import given
from random_genotypes import genotypes

from spinet.arch.block_spec import BlockSpec
from spinet.arch.budgets import BUDGETS
from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.genotype import Genotype
from spinet.arch.scaling import Scaling
from spinet.arch.variants import damage, with_kind
from spinet.errors import SpinetError

SPINENET49 = load_architecture("spinenet49").genotype
DAMAGES = ["short", "long", "sequential"]


def levels(name: str) -> tuple[list[int], list[int]]:
    """Levels of the intermediate blocks and of the endpoints, in order."""
    blocks = load_architecture(name).genotype.blocks
    return [block.level for block in blocks if not block.endpoint], [block.level for block in blocks if block.endpoint]


def test_one_kind_replaces_that_of_every_block_and_nothing_else():
    found = with_kind(SPINENET49, "resnext32x4d")

    assert {block.kind for block in found.all_blocks} == {"resnext32x4d"}
    assert [(block.level, block.parents, block.endpoint) for block in found.all_blocks] == [
        (block.level, block.parents, block.endpoint) for block in SPINENET49.all_blocks
    ]


def test_an_unknown_kind_is_refused_with_the_nearest_match():
    with pytest.raises(SpinetError, match="unknown kind 'resnext32x4', did you mean 'resnext32x4d'"):
        with_kind(SPINENET49, "resnext32x4")


@pytest.mark.parametrize(("how", "kept"), [("short", (5,)), ("long", (14,)), ("sequential", (14,))])
def test_damage_leaves_the_parent_that_the_papers_text_says(how, kept):
    # Block 15 of SpineNet-49 has the parents 5 and 14.
    assert damage(SPINENET49, how).all_blocks[15].parents == kept


@pytest.mark.parametrize(("how", "live"), [("short", 10), ("long", 12), ("sequential", 15)])
def test_damage_strands_blocks_of_spinenet49(how, live):
    genotype = damage(SPINENET49, how)

    assert len([index for index in genotype.live if index >= 2]) == live


def test_dangling_blocks_are_dropped_kept_or_recomputed():
    assert damage(SPINENET49, "long").merges == {}
    assert damage(SPINENET49, "long", dangling="recompute").merges == {14: (11,)}
    # Under "short" block 14 has the parent 7, and block 11 still feeds nothing; what else dangles does not join.
    assert damage(SPINENET49, "short", dangling="recompute").merges.keys() > {14}
    assert damage(SPINENET49, "short", dangling="keep").merges == {14: (11,)}


def test_a_kept_merge_that_the_sequence_makes_a_parent_is_not_summed_twice():
    stem = (BlockSpec(2, "residual"), BlockSpec(2, "residual"))
    blocks = (BlockSpec(4, "residual", (0, 1)), BlockSpec(4, "residual", (0, 1), endpoint=True))
    whole = Genotype(stem, blocks)
    assert whole.merges == {3: (2,)}

    assert damage(whole, "short", dangling="keep").merges == {3: (2,)}
    sequential = damage(whole, "sequential", dangling="keep")
    assert (sequential.merges, sequential.all_blocks[3].parents) == ({}, (2,))


@given(genotypes())
@pytest.mark.slow
def test_every_graph_survives_every_damage_and_its_json(genotype):
    for how in DAMAGES:
        for dangling in ("drop", "keep", "recompute"):
            damaged = Architecture(damage(genotype, how, dangling), Scaling())
            assert all(len(block.parents) == 1 for block in damaged.genotype.blocks)
            assert Architecture.from_json(damaged.to_json(), "again") == damaged
            assert f'"damage": "{how}"' in damaged.to_json()


@pytest.mark.parametrize("how", ["none", "shrot", None])
def test_an_unknown_damage_is_refused_with_the_known_ones(how):
    with pytest.raises(SpinetError, match=r"unknown damage '.*Known: long, sequential, short\."):
        damage(SPINENET49, how)


def test_an_unknown_dangling_option_is_refused():
    with pytest.raises(SpinetError, match="unknown dangling option 'dorp', did you mean 'drop'"):
        damage(SPINENET49, "short", dangling="dorp")


def test_a_damaged_graph_is_not_damaged_again():
    with pytest.raises(SpinetError, match="already has damage 'short'"):
        damage(damage(SPINENET49, "short"), "long")


def test_hourglass_and_fish_have_the_orderings_of_table_7_and_the_blocks_of_r0_sp53():
    assert levels("hourglass") == ([2, 3, 3, 3, 4, 4, 4, 4, 4, 5], [7, 6, 5, 4, 3])
    assert levels("fish") == ([3, 3, 4, 4, 4, 5, 4, 4, 3, 2], [3, 4, 5, 6, 7])
    for name in ("hourglass", "fish"):
        assert sorted(chain(*levels(name))) == sorted(chain(*levels("r0-sp53")))


def test_the_blocks_of_every_budget_sum_to_resnet_50_with_one_level_5_block_replaced():
    for name, budget in BUDGETS.items():
        stem = [*budget.stem, 0, 0]
        total = [one + other for one, other in zip(stem, budget.permuted, strict=True)]
        assert total == ([3, 4, 6, 2, 1, 1] if name != "spinenet49" else [3, 2, 4, 4, 2, 2])


def test_every_budget_has_the_permuted_blocks_that_its_name_promises():
    # Three layers a block: SP18, SP30 and SP39; the names of the last two count their stem of two blocks too.
    assert {name: sum(budget.permuted) for name, budget in BUDGETS.items()} == {
        "r35-sp18": 6,
        "r23-sp30": 10,
        "r14-sp39": 13,
        "r0-sp53": 15,
        "spinenet49": 15,
    }


@pytest.mark.parametrize("name", ["r0-sp53", "spinenet49"])
def test_the_published_graphs_keep_to_their_budgets(name):
    genotype, budget = load_architecture(name).genotype, BUDGETS[name]

    assert tuple(block.level for block in genotype.stem) == budget.stem_levels
    assert tuple(sorted(levels(name)[0])) == budget.intermediate_levels
    assert sorted(genotype.endpoints) == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("name", BUDGETS)
def test_every_budget_makes_a_valid_chain_without_dead_blocks(name):
    genotype = BUDGETS[name].chain()

    assert list(genotype.endpoints) == [3, 4, 5, 6, 7]
    assert genotype.live == frozenset(range(len(genotype.all_blocks)))
    assert genotype.merges == {}
