"""What becomes of blocks that feed nothing, on graphs small enough to follow with a finger."""

from dataclasses import replace

import pytest
from hypothesis import given
from random_genotypes import genotypes

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import load_architecture
from spinet.arch.genotype import Genotype
from spinet.errors import SpinetError

STEM = (BlockSpec(2, "residual"), BlockSpec(2, "residual"))


def both_rules(*blocks: BlockSpec, stem: tuple[BlockSpec, ...] = STEM) -> tuple[Genotype, Genotype]:
    return Genotype(stem, blocks, "tf"), Genotype(stem, blocks, "paper")


def block(level: int, *parents: int, kind: str = "residual", endpoint: bool = False) -> BlockSpec:
    return BlockSpec(level, kind, parents, endpoint)


def test_a_block_used_only_after_the_endpoint_is_built_joins_it_under_tf_alone():
    tf, paper = both_rules(
        block(4, 0, 1),
        block(4, 0, 1, endpoint=True),  # block 3: when it is built, nothing uses block 2 yet
        block(3, 2, 3, endpoint=True),
    )

    assert tf.merges == {3: (2,)}
    assert paper.merges == {}


def test_a_block_used_before_the_endpoint_is_built_joins_under_neither_rule():
    tf, paper = both_rules(
        block(4, 0, 1),
        block(3, 1, 2, endpoint=True),
        block(4, 0, 1, endpoint=True),
    )

    assert tf.merges == paper.merges == {}


def test_a_dangling_residual_joins_a_bottleneck_endpoint_under_paper_alone():
    tf, paper = both_rules(
        block(5, 0, 1),
        block(5, 0, 1, kind="bottleneck", endpoint=True),
    )

    assert tf.merges == {}
    assert tf.live == {0, 1, 3}
    assert paper.merges == {3: (2,)}
    assert paper.live == {0, 1, 2, 3}


def test_a_dangling_block_of_another_level_with_equal_channels_does_not_join():
    # Levels 4 and 5 are both 256 wide: the level alone keeps them apart.
    tf, paper = both_rules(
        block(4, 0, 1),
        block(5, 0, 1, endpoint=True),
    )

    assert tf.merges == paper.merges == {}


def test_several_dangling_blocks_join_one_endpoint_in_their_order():
    tf, paper = both_rules(
        block(4, 0, 1),
        block(5, 0, 1),
        block(4, 1, 0),
        block(4, 0, 3, endpoint=True),
    )

    assert tf.merges == paper.merges == {5: (2, 4)}


def test_a_dangling_level_2_block_is_pruned_when_level_2_has_no_endpoint():
    # The block that tensorflow/models appends to SpineNet-49, without its mark as an endpoint.
    spinenet49 = load_architecture("spinenet49").genotype
    extra = BlockSpec(2, "bottleneck", (2, 13))

    for rule in ("tf", "paper"):
        genotype = replace(spinenet49, blocks=(*spinenet49.blocks, extra), dangling=rule)
        assert genotype.merges == {14: (11,)}
        assert genotype.live == frozenset(range(17))


def test_a_dangling_block_behind_the_endpoint_of_its_level_is_pruned():
    tf, paper = both_rules(
        block(4, 0, 1, endpoint=True),
        block(4, 0, 2),
    )

    assert tf.merges == paper.merges == {}
    assert tf.live == paper.live == {0, 1, 2}


def test_a_dead_block_takes_the_ancestors_with_it_that_fed_only_it():
    tf, paper = both_rules(
        block(3, 0, 1),  # block 2 feeds only block 3, which reaches no endpoint
        block(5, 1, 2),
        block(4, 0, 1, endpoint=True),
    )

    assert tf.live == paper.live == {0, 1, 4}


def test_an_ancestor_of_a_joining_block_is_alive():
    tf, paper = both_rules(
        block(3, 0, 1),
        block(5, 1, 2),
        block(5, 0, 1, endpoint=True),
    )

    assert tf.merges == paper.merges == {4: (3,)}
    assert tf.live == paper.live == {0, 1, 2, 3, 4}


def test_under_none_a_block_that_feeds_nothing_is_pruned():
    tf, _ = both_rules(block(4, 0, 1), block(4, 0, 1, endpoint=True))

    assert tf.merges == {3: (2,)}
    assert replace(tf, dangling="none").merges == {}
    assert replace(tf, dangling="none").live == {0, 1, 3}


def test_the_blocks_needed_for_one_level_are_its_endpoint_and_all_before_it_on_the_way():
    genotype = load_architecture("spinenet49").genotype

    # P4 is block 12 (5, 10); 10 (8, 9), 9 (6, 8), 8 (6, 7), 7 (3, 5), 6 (3, 5), 5 (2, 4), 4 (2, 3), 2 and 3 (0, 1).
    assert genotype.needed_for([4]) == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12}
    assert genotype.needed_for([]) == frozenset()


def test_an_unused_last_stem_block_is_dead():
    tf, paper = both_rules(block(4, 0, 1, endpoint=True), stem=(*STEM, BlockSpec(2, "residual")))

    assert tf.live == paper.live == {0, 1, 3}


def test_an_unused_middle_stem_block_lives_because_the_stem_is_a_chain():
    tf, paper = both_rules(block(4, 0, 2, endpoint=True), stem=(*STEM, BlockSpec(2, "residual")))

    assert tf.live == paper.live == {0, 1, 2, 3}


def test_an_unused_stem_block_joins_a_level_2_endpoint_under_tf_alone():
    # The released code counts the stem's blocks among the candidates; the paper speaks of intermediate blocks.
    tf, paper = both_rules(block(2, 0, 1, endpoint=True), stem=(*STEM, BlockSpec(2, "residual")))

    assert tf.merges == {3: (2,)}
    assert paper.merges == {}


@pytest.mark.slow
@given(genotypes())
def test_exactly_the_blocks_from_which_an_endpoint_can_be_reached_are_live(genotype):
    blocks = genotype.all_blocks
    children: dict[int, set[int]] = {index: set() for index in range(len(blocks))}
    for index, spec in enumerate(blocks):
        for source in (*spec.parents, *genotype.merges.get(index, ())):
            children[source].add(index)
    for index in range(1, len(genotype.stem)):
        children[index - 1].add(index)

    def reaches(index: int) -> bool:
        return blocks[index].endpoint or any(reaches(child) for child in children[index])

    assert genotype.live == {index for index in range(len(blocks)) if reaches(index)}


@pytest.mark.slow
@given(genotypes())
def test_only_earlier_blocks_of_the_same_level_join_and_only_at_endpoints(genotype):
    for index, merged in genotype.merges.items():
        target = genotype.all_blocks[index]
        assert target.endpoint
        for source in merged:
            assert source < index
            assert source not in target.parents
            assert genotype.all_blocks[source].level == target.level
            if genotype.dangling == "tf":
                assert genotype.all_blocks[source].expansion == target.expansion


@pytest.mark.slow
@given(genotypes())
def test_under_paper_no_dangling_block_is_lost_before_the_endpoint_of_its_level(genotype):
    genotype = replace(genotype, dangling="paper")
    used = {parent for spec in genotype.blocks for parent in spec.parents}
    for index, spec in enumerate(genotype.blocks, start=len(genotype.stem)):
        endpoint = genotype.endpoints.get(spec.level, -1)
        if index not in used and index < endpoint:
            assert index in genotype.merges[endpoint]


def test_without_a_rule_blocks_join_where_an_endpoint_names_them():
    endpoint = BlockSpec(4, "bottleneck", (1, 2), endpoint=True, merges=[3])
    genotype = Genotype(STEM, (block(3, 0, 1), block(4, 0, 1), endpoint), "none")

    assert genotype.merges == {4: (3,)}
    assert genotype.live == {0, 1, 2, 3, 4}
    assert Genotype.from_dict(genotype.to_dict()) == genotype


@pytest.mark.parametrize(
    ("merges", "said"),
    [
        ((2,), r"block 4: merges must be different earlier blocks other than its parents, not \(2,\)"),
        ((4,), r"block 4: merges must be different earlier blocks .*, not \(4,\)"),
        ((-1,), r"block 4: merges must be different earlier blocks .*, not \(-1,\)"),
        ((3, 3), r"block 4: merges must be different earlier blocks .*, not \(3, 3\)"),
        (("3",), r"block 4: merges must be different earlier blocks .*, not \('3',\)"),
        ((0,), "block 4: block 0 of level 2 cannot be merged at level 4"),
    ],
)
def test_named_merges_that_cannot_be_are_refused(merges, said):
    endpoint = BlockSpec(4, "bottleneck", (1, 2), endpoint=True, merges=merges)

    with pytest.raises(SpinetError, match=said):
        Genotype(STEM, (block(3, 0, 1), block(4, 0, 1), endpoint), "none")


def test_named_merges_beside_a_rule_or_in_the_stem_are_refused():
    endpoint = BlockSpec(4, "residual", (0, 1), endpoint=True, merges=(2,))
    with pytest.raises(SpinetError, match=r"block 3: merges \(2,\) need the dangling rule 'none', not 'tf'"):
        Genotype(STEM, (block(4, 0, 1), endpoint), "tf")
    with pytest.raises(SpinetError, match=r"block 1: a stem block has no parents and no merges, not \(0,\)"):
        Genotype((STEM[0], BlockSpec(2, "residual", merges=(0,))), (block(4, 0, 1, endpoint=True),), "none")


def test_nothing_joins_an_endpoint_in_the_stem():
    stem = (STEM[0], BlockSpec(2, "residual", endpoint=True))

    for genotype in both_rules(block(3, 0, 1, endpoint=True), stem=stem):
        assert genotype.merges == {}
    tf, paper = both_rules(block(3, 1, 2, endpoint=True), stem=(*stem, BlockSpec(3, "residual")))
    assert tf.merges == paper.merges == {}
