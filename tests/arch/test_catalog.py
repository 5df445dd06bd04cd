import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_genotypes import genotypes

from spinet.arch.catalog import Architecture, load_architecture, names, network_from_json
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError

TINY = load_architecture("tiny")

# Values that have no business in an architecture, or only in one place of it.
AWKWARD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.sampled_from([10**400, 1e308, 1e-308, float("nan"), float("inf"), 0.5, -0.0]),
    st.text(max_size=3),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.sampled_from(["level", "kind", "stem", "x"]), st.integers(0, 5), max_size=2),
)


def places(node: Any, path: tuple = ()) -> list[tuple]:
    """Paths to everything inside a JSON value."""
    found = [path] if path else []
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            found += places(child, (*path, key))
    return found


def refusal_or_none(text: str) -> str | None:
    """The sentence that refuses a text, or None for a valid architecture, which must survive its own JSON."""
    try:
        found = Architecture.from_json(text, "mine.json")
    except SpinetError as error:
        return str(error)
    assert Architecture.from_json(found.to_json(), "again") == found
    return None


@pytest.mark.parametrize("name", names())
def test_every_name_of_the_catalogue_loads_with_a_source_and_survives_its_json(name):
    found = load_architecture(name)

    again = Architecture.from_json(found.to_json(), "again")

    assert found.name == name
    assert len(found.source) > 20
    assert (again.genotype, again.scaling, again.name, again.source) == (
        found.genotype,
        found.scaling,
        found.name,
        found.source,
    )


@given(genotypes(), st.floats(0.0625, 4), st.integers(1, 4), st.text(max_size=8))
@pytest.mark.slow
def test_every_valid_architecture_survives_its_json(genotype, width, repeats, name):
    found = Architecture(genotype, Scaling(width=width, repeats=repeats), name, "drawn at random")

    again = Architecture.from_json(found.to_json(), "again")

    assert again == found
    assert (again.name, again.source) == (name, "drawn at random")


def test_json_has_one_block_a_line():
    lines = TINY.to_json().splitlines()

    assert '    {"level": 4, "kind": "residual", "parents": [0, 1]},' in lines
    assert sum('"kind"' in line for line in lines) == len(TINY.genotype.all_blocks)


def test_architectures_of_different_names_are_equal_when_they_build_the_same():
    assert replace(TINY, name="other", source="elsewhere") == TINY
    assert replace(TINY, scaling=replace(TINY.scaling, repeats=2)) != TINY


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_an_architecture_with_one_value_replaced_is_accepted_or_refused_in_a_sentence(data):
    tree = json.loads(TINY.to_json())
    *way, last = data.draw(st.sampled_from(places(tree)))
    node = tree
    for key in way:
        node = node[key]
    if data.draw(st.booleans()):
        node[last] = data.draw(AWKWARD)
    else:
        del node[last]

    assert (refusal_or_none(json.dumps(tree)) or "mine.json").startswith("mine.json")


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_an_architecture_with_characters_replaced_is_accepted_or_refused_in_a_sentence(data):
    text = TINY.to_json()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 5, len(text))))

    refusal = refusal_or_none(text[:start] + data.draw(st.text(max_size=4)) + text[end:])

    assert (refusal or "mine.json").startswith("mine.json")


@pytest.mark.slow
@given(st.recursive(AWKWARD, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_json_that_is_no_architecture_is_refused_in_a_sentence(tree):
    with pytest.raises(SpinetError, match=r"mine\.json: "):
        Architecture.from_json(json.dumps(tree), "mine.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"stem": ' + "1" * 5000 + "}"], ids=["brackets", "digits"])
@pytest.mark.parametrize("read", [Architecture.from_json, network_from_json])
def test_json_beyond_the_limits_of_the_reader_is_refused_in_a_sentence(read, text):
    with pytest.raises(SpinetError, match=r"mine\.json is not valid JSON: "):
        read(text, "mine.json")


def test_blocks_times_repeats_are_bounded_too():
    found = load_architecture("spinenet49")
    blocks = len(found.genotype.all_blocks)
    most = 1000 // blocks

    assert replace(found, scaling=replace(found.scaling, repeats=most)).scaling.repeats == most
    with pytest.raises(
        SpinetError, match=f"{blocks} blocks with {most + 1} repeats are 1,0.. in all; at most 1,000 are"
    ):
        replace(found, scaling=replace(found.scaling, repeats=most + 1))


def test_broken_json_is_refused_with_file_and_line(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{\n  "stem": [],\n  "blocks" []\n}\n')

    with pytest.raises(SpinetError) as error:
        load_architecture(path)

    assert str(error.value) == f"{path} is not valid JSON: line 3, column 12: Expecting ':' delimiter"


def test_a_refused_graph_is_named_by_its_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"stem": [{"level": 3, "kind": "residual"}], "blocks": []}')

    with pytest.raises(SpinetError) as error:
        load_architecture(path)

    assert str(error.value) == f"{path}: block 0: stem level must be 1 or 2 for the first block, not 3"


@pytest.mark.parametrize("value", ["\ud800", "x" * 1001, "x" * 10**6])
@pytest.mark.parametrize("key", ["name", "source"])
def test_a_name_or_source_that_cannot_be_shown_is_refused(key, value):
    tree = json.loads(TINY.to_json()) | {key: value}

    with pytest.raises(SpinetError, match=f"architecture: {key} must") as error:
        Architecture.from_json(json.dumps(tree), "mine.json")

    assert len(str(error.value)) < 150


@pytest.mark.parametrize("key", ["name", "source"])
def test_a_name_or_source_that_is_not_text_is_refused(key):
    tree = json.loads(TINY.to_json()) | {key: 3}

    with pytest.raises(SpinetError, match=f"architecture: {key} must be a string, not 3"):
        Architecture.from_json(json.dumps(tree), "mine.json")


def test_an_unknown_key_is_refused_with_the_nearest_match():
    tree = json.loads(TINY.to_json()) | {"scalling": {}}

    with pytest.raises(SpinetError, match="unknown key in architecture 'scalling', did you mean 'scaling'"):
        Architecture.from_json(json.dumps(tree), "mine.json")


def test_name_source_scaling_and_rule_may_be_left_out():
    tree = {key: value for key, value in json.loads(TINY.to_json()).items() if key in ("stem", "blocks")}

    found = Architecture.from_json(json.dumps(tree), "mine.json")

    assert found == Architecture(TINY.genotype, Scaling())
    assert (found.name, found.source) == ("unnamed", "")


def test_an_unknown_name_is_refused_with_the_nearest_matches_and_the_number_of_the_others():
    with pytest.raises(SpinetError) as error:
        load_architecture("spinnet49")

    assert "unknown architecture 'spinnet49', did you mean 'spinenet49'?" in str(error.value)
    assert str(error.value).endswith(f", and {len(names()) - 5} more.")


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(SpinetError) as error:
        load_architecture(tmp_path / "none.json")

    assert str(error.value) == (
        f"could not read the architecture file {tmp_path / 'none.json'}: No such file or directory"
    )


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "photo.json"
    path.write_bytes(b"\xff\xd8\xff\xe0")

    with pytest.raises(SpinetError, match=r"photo\.json: it is not UTF-8 text"):
        load_architecture(path)


def test_a_folder_is_refused(tmp_path):
    folder = tmp_path / "folder.json"
    folder.mkdir()

    with pytest.raises(SpinetError, match=r"could not read the architecture file .*folder\.json"):
        load_architecture(folder)


def test_json_text_in_place_of_a_name_is_refused_in_a_sentence():
    # As a path it is too long for the system to look up.
    with pytest.raises(SpinetError, match="could not read the architecture file"):
        load_architecture(TINY.to_json().replace("/", " "))


@pytest.mark.parametrize("file", ["found.json", "found.txt", "deep/er/found.json"])
def test_save_writes_a_file_that_load_architecture_reads(tmp_path, file):
    named = replace(TINY, name="mein größtes", source="von Hand — ✓")

    named.save(tmp_path / file)
    found = load_architecture(str(tmp_path / file))

    assert found == named
    assert (found.name, found.source) == (named.name, named.source)


def test_a_file_in_utf_8_is_read_as_such(tmp_path):
    tree = json.loads(TINY.to_json()) | {"source": "größer"}
    path = tmp_path / "found.json"
    path.write_bytes(json.dumps(tree, ensure_ascii=False).encode())

    assert load_architecture(path).source == "größer"


def test_the_catalogue_comes_before_a_file_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny").write_text("{}")

    assert load_architecture("tiny") == TINY
