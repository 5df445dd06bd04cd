import json
from dataclasses import replace
from random import Random

import pytest
from null_trials import SMALL

from spinet.arch.catalog import Architecture, load_architecture
from spinet.errors import SpinetError
from spinet.nas.constraints import (
    Constraint,
    LatencyTable,
    WithLatency,
    default_constraints,
    parse_constraint,
    part_keys,
)
from spinet.nas.latency import measure_latency
from spinet.nas.spaces import SPACES

PUBLISHED = load_architecture("spinenet49")


def test_the_measures_are_those_of_the_whole_detector_at_full_size():
    assert Constraint("macs", 0, 1).value(PUBLISHED) == 85_281_555_200
    assert Constraint("parameters", 0, 1).value(PUBLISHED) == 28_543_383
    assert Constraint("macs", 0, 1, image_size=1280).value(PUBLISHED) == pytest.approx(4 * 85_281_555_200, rel=1e-3)
    assert Constraint("parameters", 0, 1, head="none").value(PUBLISHED) == 21_831_488


def test_a_constraint_on_latency_is_of_the_image_size_of_its_table(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"milliseconds": {}, "image_size": 320, "device": "a device"}))
    assert parse_constraint("latency=1:2", table=path).image_size == 320
    assert parse_constraint("macs=1:2", table=path).image_size == 640


def test_the_predicted_latency_is_recorded_beside_the_reward():
    table = LatencyTable(dict.fromkeys(part_keys(PUBLISHED), 0.25), 640, "a device")
    evaluate = WithLatency(lambda genotype, **settings: {"reward": settings["seed"]}, table, PUBLISHED.scaling)
    found = evaluate(PUBLISHED.genotype, rung=0, seed=7, accumulate=1)
    assert found == {"reward": 7, "latency_ms": 0.25 * len(part_keys(PUBLISHED))}


@pytest.mark.parametrize(
    ("times", "image_size", "words"),
    [
        ({"head": True}, 640, "milliseconds"),
        ({"head": float("nan")}, 640, "milliseconds"),
        ({"head": -1.0}, 640, "milliseconds"),
        ({"head": 1.0}, "640", "image_size must be an integer, got '640'"),
        ({"head": 1.0}, 640.0, "image_size must be an integer, got 640.0"),
        ({"head": 1.0}, True, "image_size must be an integer, got True"),
    ],
)
def test_a_latency_table_of_wrong_types_is_rejected(tmp_path, times, image_size, words):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"milliseconds": times, "image_size": image_size, "device": "a device"}))
    with pytest.raises(SpinetError, match=words):
        LatencyTable.load(path)


def test_a_constraint_includes_its_limits():
    window = Constraint("macs", 10, 20)
    assert [window.accepts(value) for value in (9, 10, 15, 20, 21)] == [False, True, True, True, False]


@pytest.mark.slow
def test_the_default_constraints_accept_spinenet49_and_about_a_fifth_of_all_draws():
    (window,) = default_constraints(SPACES["spinenet49"])
    assert window.accepts(window.value(PUBLISHED))
    space, random = SPACES["spinenet49"], Random(0)
    drawn = [Architecture(space.decode(space.sample(random)), space.scaling) for _ in range(1000)]
    share = sum(window.accepts(window.value(each)) for each in drawn) / len(drawn)
    assert share == pytest.approx(0.2, abs=0.03)
    assert default_constraints(SPACES["hourglass"]) == ()


def test_a_constraint_is_read_from_the_command_line():
    assert parse_constraint("macs=84.2e9:86.0e9") == Constraint("macs", 84.2e9, 86e9)
    assert parse_constraint("parameters=:3e7").low == 0
    open_end = parse_constraint("parameters=1e7:", image_size=512)
    assert open_end.image_size == 512
    assert open_end.accepts(1e300)
    assert open_end.to_dict()["high"] is None
    json.dumps(open_end.to_dict(), allow_nan=False)


def test_an_architecture_stands_for_what_it_costs(tmp_path):
    load_architecture("spinenet49").save(tmp_path / "mine.json")
    window = parse_constraint(f"macs=spinenet49s:{tmp_path / 'mine.json'}")
    for name, value in (("spinenet49s", window.low), ("spinenet49", window.high)):
        assert window.value(load_architecture(name)) == value
        assert window.accepts(value)
    assert not window.accepts(window.value(load_architecture("spinenet96")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("macs", "is not MEASURE=LOW:HIGH"),
        ("macs=", "is not MEASURE=LOW:HIGH"),
        ("macs=5", "is not MEASURE=LOW:HIGH"),
        ("macs=:", "is not MEASURE=LOW:HIGH"),
        ("macs=a:b", "constraint 'macs=a:b': unknown architecture 'a'"),
        ("macs=-inf:90e9", "is not MEASURE=LOW:HIGH with finite ends"),
        ("macs=inf:", "is not MEASURE=LOW:HIGH with finite ends"),
        ("macs=1:inf", "is not MEASURE=LOW:HIGH with finite ends"),
        ("macs=:spinenet48", "did you mean 'spinenet4"),
        ("macs=:missing.json", "constraint 'macs=:missing.json': could not read"),
        ("macs=1:2:3", "is not MEASURE=LOW:HIGH"),
        ("macs=nan:1", "is not MEASURE=LOW:HIGH"),
        ("flops=1:2", "unknown measure 'flops'"),
        ("macs=2:1", "the interval from 2 to 1 is empty"),
        ("latency=1:2", "needs the latency table"),
    ],
)
def test_a_bad_constraint_is_one_sentence(text, words):
    with pytest.raises(SpinetError, match=words):
        parse_constraint(text)


def table_of(architecture, milliseconds=2.0):
    return LatencyTable(dict.fromkeys(part_keys(architecture), milliseconds), 640, "a device")


def test_latency_is_the_sum_over_all_parts():
    keys = part_keys(PUBLISHED)
    assert table_of(PUBLISHED).latency(PUBLISHED) == 2.0 * len(keys)
    # Stem convolution and two blocks, fifteen blocks with two connections each, five endpoints, the head.
    assert len(keys) == 1 + 2 + 15 + 30 + 5 + 1
    assert keys.count("head") == keys.count("stem") == keys.count("stem 1") == 1
    assert sum(key.startswith("endpoint L") for key in keys) == 5


def test_a_part_that_was_not_measured_is_named():
    short = replace(table_of(PUBLISHED), milliseconds={"head": 1.0})
    with pytest.raises(SpinetError, match="the latency table of a device has no part 'stem'"):
        short.latency(PUBLISHED)


def test_a_latency_table_round_trips_and_its_digest_identifies_it(tmp_path):
    table = table_of(PUBLISHED)
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"milliseconds": table.milliseconds, "image_size": 640, "device": "a device"}))
    constraint = parse_constraint("latency=1:1000", table=path)
    assert constraint.value(PUBLISHED) == table.latency(PUBLISHED)
    assert constraint.to_dict()["table"] == table.digest != table_of(PUBLISHED, 3.0).digest
    with pytest.raises(SpinetError, match="for 640 px images, the constraint for 320 px"):
        parse_constraint("latency=1:1000", table=path, image_size=320)


@pytest.mark.parametrize("text", ["{", "[]", '{"milliseconds": 1, "image_size": 1, "device": ""}', '{"device": ""}'])
def test_a_file_that_is_not_a_latency_table_is_one_sentence(tmp_path, text):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(SpinetError, match=r"table\.json"):
        LatencyTable.load(tmp_path / "table.json")
    with pytest.raises(SpinetError, match="could not read the latency table"):
        LatencyTable.load(tmp_path / "nowhere.json")


@pytest.mark.slow
def test_every_network_of_a_space_consists_of_measured_parts(tmp_path):
    scaling = replace(SMALL.scaling, width=0.125, endpoint_channels=8, head_channels=8, head_convs=1, stem_channels=8)
    space = replace(SMALL, intermediates=(2, 3), outputs=(3, 4), offsets=(0,), scaling=scaling)
    table = measure_latency(space, tmp_path / "table.json", image_size=64, num_classes=2, repeats=3, warm_up=0)
    assert LatencyTable.load(tmp_path / "table.json") == table
    random = Random(0)
    for _ in range(50):
        architecture = Architecture(space.decode(space.sample(random)), scaling)
        assert set(part_keys(architecture)) <= set(table.milliseconds)
        assert 0 < table.latency(architecture) < 60_000


def test_a_missing_device_is_one_sentence(tmp_path):
    with pytest.raises(SpinetError, match="the device 'warp' cannot be used"):
        measure_latency(SMALL, tmp_path / "table.json", device="warp")
