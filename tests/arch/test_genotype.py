import copy
from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from random_genotypes import genotypes

from spinet.arch.block_spec import BlockSpec
from spinet.arch.catalog import load_architecture, names
from spinet.arch.genotype import Genotype
from spinet.errors import SpinetError

VALID = {
    "stem": [{"level": 2, "kind": "residual"}, {"level": 2, "kind": "residual"}],
    "blocks": [
        {"level": 4, "kind": "residual", "parents": [0, 1]},
        {"level": 3, "kind": "bottleneck", "parents": [1, 2], "endpoint": True},
        {"level": 5, "kind": "bottleneck", "parents": [2, 3], "endpoint": True},
    ],
}


def changed(section: str, place: int, **changes: object) -> dict:
    """The valid graph with some keys of one block replaced."""
    data = copy.deepcopy(VALID)
    data[section][place].update(changes)
    return data


def without(section: str, place: int, key: str) -> dict:
    data = copy.deepcopy(VALID)
    del data[section][place][key]
    return data


def refusal(data: object) -> str:
    with pytest.raises(SpinetError) as error:
        Genotype.from_dict(data)
    return str(error.value)


def test_the_valid_graph_of_this_file_is_accepted():
    genotype = Genotype.from_dict(VALID)

    assert genotype.all_blocks[3] == BlockSpec(3, "bottleneck", (1, 2), endpoint=True)
    assert genotype.endpoints == {3: 3, 5: 4}


@pytest.mark.parametrize("level", [0, 8, -1, 3.0, 2.5, "3", None, True, [3], 10**40])
def test_a_level_that_is_not_an_integer_from_1_to_7_is_refused_with_block_and_value(level):
    assert refusal(changed("blocks", 1, level=level)) == f"block 3: level must be an integer from 1 to 7, not {level!r}"


@pytest.mark.parametrize("level", ["9" * 10**6, [0] * 10**6, 10**5000], ids=["text", "list", "digits"])
def test_a_long_value_is_quoted_in_part(level):
    message = refusal(changed("blocks", 1, level=level))

    assert message.startswith("block 3: level must be an integer from 1 to 7, not ")
    assert len(message) < 100


def many_blocks(count: int, **last: object) -> dict:
    """The valid graph with blocks of level 4 in front of its endpoints."""
    data = copy.deepcopy(VALID)
    more = [{"level": 4, "kind": "residual", "parents": [index, index + 1]} for index in range(count)]
    data["blocks"][:1] = more
    data["blocks"][-1].update(last)
    return data


@pytest.mark.slow
def test_a_graph_has_at_most_a_thousand_blocks():
    assert len(Genotype.from_dict(many_blocks(996)).all_blocks) == 1000
    for count in (997, 100_000):
        assert "at most 1,000" in refusal(many_blocks(count))


def test_all_merges_of_a_graph_together_are_at_most_a_thousand():
    data = {**many_blocks(60), "dangling": "none"}
    for index, block in enumerate(data["blocks"][:60], start=2):
        block["merges"] = list(range(2, index - 2))

    assert refusal(data) == "the genotype has 64 blocks and 1,653 merges; at most 1,000 of each are supported"


def test_an_unknown_kind_is_refused_with_block_nearest_match_and_known_kinds():
    message = refusal(changed("blocks", 0, kind="bottelneck"))

    assert message == (
        "block 2: unknown kind 'bottelneck', did you mean 'bottleneck'? "
        "Known: bottleneck, mbconv, residual, resnext32x4d, resnext32x8d. "
        "A kind of one's own has to be registered before it is read."
    )


@pytest.mark.parametrize("kind", [None, 3, ["residual"], {"residual": 1}])
def test_a_kind_that_is_not_text_is_refused_like_an_unknown_one(kind):
    assert "block 2: unknown kind " in refusal(changed("blocks", 0, kind=kind))


@pytest.mark.parametrize(
    "parents",
    [[], [0], [0, 1, 2], [1, 1], [0, 3], [0, 4], [-1, 0], [0, 1.0], [0, True], [0, "1"], [0, None], [[0], [1]]],
    ids=str,
)
def test_parents_that_are_not_two_different_earlier_blocks_are_refused_with_the_block_and_the_range(parents):
    message = refusal(changed("blocks", 1, parents=parents))

    assert message == f"block 3: parents must be two different earlier blocks (0 to 2), not {tuple(parents)}"


def test_a_permuted_block_without_the_parents_key_is_refused():
    assert (
        refusal(without("blocks", 0, "parents"))
        == "block 2: parents must be two different earlier blocks (0 to 1), not ()"
    )


@pytest.mark.parametrize("parents", [3, "01", None, {"0": 1}])
def test_parents_that_are_no_list_are_refused_with_the_block(parents):
    assert refusal(changed("blocks", 1, parents=parents)) == (
        f"block 3: parents must be a list of block indices, not {parents!r}"
    )


def test_a_stem_block_with_parents_is_refused():
    assert refusal(changed("stem", 1, parents=[0])) == "block 1: a stem block has no parents and no merges, not (0,)"


@pytest.mark.parametrize("level", [3, 7])
def test_a_stem_that_begins_behind_level_2_is_refused(level):
    assert refusal(changed("stem", 0, level=level)) == (
        f"block 0: stem level must be 1 or 2 for the first block, not {level}"
    )


@pytest.mark.parametrize("level", [1, 4])
def test_a_stem_block_that_goes_up_or_down_by_two_is_refused(level):
    assert refusal(changed("stem", 1, level=level)) == (
        f"block 1: stem level must be 2 or 3 after block 0 of level 2, not {level}"
    )


@pytest.mark.parametrize("levels", [(1, 2), (2, 3), (1, 1), (2, 2)])
def test_a_stem_may_go_down_level_by_level(levels):
    stem = tuple(BlockSpec(level, "residual") for level in levels)

    assert Genotype(stem, (BlockSpec(3, "residual", (0, 1), endpoint=True),)).stem == stem


def test_two_endpoints_of_one_level_are_refused_by_both_block_numbers():
    message = refusal(changed("blocks", 2, level=3))

    assert message == "block 4: level 3 already has an endpoint, block 3"


@pytest.mark.parametrize("endpoint", [1, 0, "true", None])
def test_an_endpoint_mark_that_is_neither_true_nor_false_is_refused(endpoint):
    assert refusal(changed("blocks", 1, endpoint=endpoint)) == (
        f"block 3: endpoint must be true or false, not {endpoint!r}"
    )


def test_a_graph_without_an_endpoint_is_refused():
    data = {"stem": VALID["stem"], "blocks": VALID["blocks"][:1]}

    assert refusal(data) == "the genotype has no endpoint: set endpoint to true in at least one block"


def test_a_graph_without_a_stem_is_refused():
    assert refusal({"stem": [], "blocks": VALID["blocks"]}).startswith("the genotype has no stem block")


def test_an_unknown_key_of_a_block_is_refused_with_block_and_nearest_match():
    message = refusal(changed("blocks", 1, parent=[0, 1]))

    assert message.startswith("unknown key in block 3 'parent', did you mean 'parents'?")


def test_an_unknown_key_of_the_graph_is_refused_with_the_nearest_match():
    assert refusal(VALID | {"block": []}).startswith("unknown key in genotype 'block', did you mean 'blocks'?")


@pytest.mark.parametrize("key", ["level", "kind"])
def test_a_missing_key_of_a_block_is_refused_with_the_block(key):
    assert refusal(without("blocks", 2, key)) == f"block 4: {key!r} is missing; required are level, kind"


@pytest.mark.parametrize("key", ["stem", "blocks"])
def test_a_missing_list_of_blocks_is_refused(key):
    data = {name: value for name, value in VALID.items() if name != key}

    assert refusal(data) == f"genotype: {key!r} is missing; required are stem, blocks"


@pytest.mark.parametrize("blocks", [None, "abc", 3, {"0": {}}])
def test_blocks_that_are_no_list_are_refused(blocks):
    assert refusal(VALID | {"blocks": blocks}) == f"genotype: 'blocks' must be a list of blocks, not {blocks!r}"


@pytest.mark.parametrize("block", [None, 3, [4, "residual"]])
def test_a_block_that_is_no_object_is_refused_with_its_number(block):
    data = VALID | {"blocks": [*VALID["blocks"], block]}

    assert refusal(data) == f"block 5: expected an object with level, kind, found {block!r}"


@pytest.mark.parametrize("rule", ["papre", "Paper", "", None, []])
def test_an_unknown_dangling_rule_is_refused_with_the_known_ones(rule):
    message = refusal(VALID | {"dangling": rule})

    assert message.startswith("unknown dangling rule ")
    assert message.endswith("Known: none, paper, tf.")


def test_a_mistyped_dangling_rule_is_refused_with_the_nearest_match():
    assert "did you mean 'paper'?" in refusal(VALID | {"dangling": "papre"})


@pytest.mark.parametrize("parents", [[], [0, 1], [3], [-1], [True]], ids=str)
def test_in_a_damaged_graph_parents_that_are_not_one_earlier_block_are_refused(parents):
    data = changed("blocks", 1, parents=parents) | {"damage": "long"}
    data["blocks"][0]["parents"] = [1]

    assert refusal(data) == (
        f"block 3: parents must be one earlier block (0 to 2) with graph damage 'long', not {tuple(parents)}"
    )


def test_an_unknown_damage_is_refused_with_the_nearest_match():
    assert "unknown damage 'shrot', did you mean 'short'?" in refusal(VALID | {"damage": "shrot"})


def test_the_dictionary_of_an_undamaged_graph_does_not_speak_of_damage():
    assert set(Genotype.from_dict(VALID).to_dict()) == {"dangling", "stem", "blocks"}


def test_the_released_rule_is_the_default():
    assert Genotype.from_dict(VALID).dangling == "tf"


@pytest.mark.slow
@given(genotypes())
def test_every_valid_genotype_survives_its_dictionary(genotype):
    assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_genotypes_are_hashable_by_value_and_frozen():
    genotype = Genotype.from_dict(VALID)

    assert len({genotype, Genotype.from_dict(VALID), replace(genotype, dangling="paper")}) == 2
    with pytest.raises(FrozenInstanceError):
        genotype.dangling = "paper"
    with pytest.raises(FrozenInstanceError):
        genotype.blocks[0].level = 3


@pytest.mark.parametrize("name", names())
def test_every_architecture_of_the_catalogue_has_endpoints_finest_first_and_no_dead_block(name):
    genotype = load_architecture(name).genotype

    assert list(genotype.endpoints) == sorted(genotype.endpoints)
    assert genotype.live == frozenset(range(len(genotype.all_blocks)))


def test_spinenet49_has_the_published_blocks():
    # v1 Table 1 counts of levels; Figure 3 and the released block list for kinds and endpoints.
    genotype = load_architecture("spinenet49").genotype

    assert Counter(block.level for block in genotype.blocks) == {2: 1, 3: 2, 4: 4, 5: 4, 6: 2, 7: 2}
    assert [block.kind for block in genotype.stem] == ["bottleneck", "bottleneck"]
    residual = [index for index, block in enumerate(genotype.all_blocks) if block.kind == "residual"]
    assert residual == [3, 6, 8, 9]
    assert genotype.endpoints == {3: 13, 4: 12, 5: 14, 6: 16, 7: 15}


@pytest.mark.parametrize("rule", ["tf", "paper"])
def test_block_11_of_spinenet49_joins_the_level_5_endpoint_under_both_rules(rule):
    genotype = replace(load_architecture("spinenet49").genotype, dangling=rule)

    assert genotype.merges == {14: (11,)}
