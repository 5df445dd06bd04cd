import json
from dataclasses import replace
from random import Random

import pytest

from spinet.arch.catalog import Architecture, load_architecture
from spinet.errors import SpinetError
from spinet.search.constraints import LatencyTable, part_keys
from spinet.search.latency import measure_latency
from spinet.search.spaces import SPACES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spinenet49", "mbconv"])
def test_a_measured_table_knows_every_network_of_its_space_and_survives_its_file(name, tmp_path):
    space, random = SPACES[name], Random(0)
    if name == "spinenet49":
        space = replace(space, scaling=load_architecture("spinenet49-quarter").scaling)

    table = measure_latency(space, tmp_path / "latency.json", image_size=128, repeats=1, warm_up=0)

    assert LatencyTable.load(tmp_path / "latency.json") == table
    assert all(time > 0 for time in table.milliseconds.values())
    for _ in range(200):
        assert table.latency(Architecture(space.decode(space.sample(random)), space.scaling)) > 0


def test_the_latency_of_a_network_is_the_sum_of_its_parts():
    architecture = load_architecture("spinenet49")
    keys = part_keys(architecture)

    table = LatencyTable(dict.fromkeys(keys, 2.0), 640, "a machine")

    assert table.latency(architecture) == 2 * len(keys)


def test_a_table_of_another_space_is_refused():
    table = LatencyTable({"head": 1.0}, 640, "a machine")

    with pytest.raises(SpinetError, match="a machine lacks 'stem': it was measured for another space"):
        table.latency(load_architecture("spinenet49"))


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"milliseconds": {"stem": "fast"}, "image_size": 64, "device": "x"}))

    with pytest.raises(SpinetError, match="milliseconds are not numbers"):
        LatencyTable.load(tmp_path / "t.json")
