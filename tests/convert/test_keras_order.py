import re

import pytest

from spinet.arch.catalog import load_architecture
from spinet.convert.garden import backbone_names
from spinet.convert.keras_order import LayerGraph

# Layers of checkpoints that Keras itself wrote.
NUMBERS = {
    "spinenet49": {
        "stem.conv.conv": 0,
        "stem.conv.norm": 1,
        "blocks.0.0.shortcut.conv": 2,
        "blocks.1.0.convs.2.norm": 3,
        "blocks.3.parents.0.reduce.conv": 4,
        "blocks.2.parents.0.reduce.conv": 12,
        "blocks.4.parents.3.reduce.conv": 26,
        "blocks.4.parents.2.reduce.conv": 28,
        "blocks.11.body.0.convs.0.conv": 132,
        "blocks.13.parents.10.reduce.conv": 136,
        "blocks.13.parents.4.reduce.conv": 150,
        "endpoints.3.conv": 171,
        "endpoints.7.conv": 175,
        "endpoints.7.norm": 180,
    },
    "spinenet49-mobile": {
        "blocks.2.parents.0.down.0.conv": 3,
        "blocks.1.0.squeeze_excite.reduce": 4,
        "blocks.4.parents.2.down.1.norm": 18,
        "blocks.16.parents.6.down.2.conv": 117,
        "blocks.14.parents.11.expand.conv": 124,
        "endpoints.3.conv": 138,
        "endpoints.7.norm": 147,
    },
}
LAYERS = {"spinenet49": 332, "spinenet49-mobile": 273}


@pytest.mark.parametrize("name", NUMBERS)
def test_layers_have_the_numbers_that_keras_gave_them(name):
    names, count = backbone_names(load_architecture(name).genotype, 1, "", projection=True)
    assert count == LAYERS[name]
    for ours, number in NUMBERS[name].items():
        theirs = next(value for key, value in names.items() if key.startswith(ours))
        assert re.match(r"layer_with_weights-(\d+)/", theirs)[1] == str(number), ours


def test_the_farthest_from_an_output_comes_first_then_what_was_met_first():
    layers = LayerGraph()
    start = layers.add("")
    short = layers.add("short", start)
    long = layers.chain(start, "first", "", "last")
    total = layers.add("", short, long)
    assert layers.numbered([layers.add("out", total)]) == (["first", "short", "last", "out"], 7)


def test_layers_that_no_output_needs_are_not_counted():
    layers = LayerGraph()
    start = layers.add("")
    layers.add("dead", start)
    assert layers.numbered([layers.add("live", start)]) == (["live"], 2)


def test_upsampling_is_five_operations_long():
    layers = LayerGraph()
    start = layers.add("")
    end = layers.add("end", layers.upsample(start))
    side = layers.chain(start, "one", "two", "three", "four", "five", "six")
    assert layers.numbered([layers.add("", end, side)])[0] == ["one", "two", "three", "four", "five", "end", "six"]
