import json
from dataclasses import asdict, replace

import pytest

from spinet.engine.config import TrainConfig, differences, read_config
from spinet.errors import SpinetError
from spinet.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_its_json(name):
    config = RECIPES[name].config
    assert TrainConfig.from_json(config.to_json(), "config.json") == config


@pytest.mark.parametrize(("switch", "decay"), [("true", "tpu"), ("false", "mg")])
def test_the_old_switch_for_depthwise_decay_is_still_read(switch, decay):
    text = f'{{"optim": {{"lr": 0.5, "decay_depthwise": {switch}}}}}'
    optim = TrainConfig.from_json(text, "config.json").optim
    assert (optim.decay, optim.lr) == (decay, 0.5)


def test_settings_left_out_take_their_defaults():
    assert TrainConfig.from_json('{"epochs": 90}', "here") == replace(TrainConfig(), epochs=90.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"epoch": 3}', r"config.json: unknown setting 'epoch', did you mean 'epochs'\?"),
        ('{"optim": {"lrr": 1}}', r"unknown setting 'optim.lrr', did you mean 'optim.lr'\?"),
        ('{"epochs": "many"}', "epochs must be a number, got 'many'"),
        ('{"batch_size": 1.5}', "batch_size must be an integer, got 1.5"),
        ('{"batch_size": true}', "batch_size must be an integer, got True"),
        ('{"batch_size": 0}', "batch_size must be an integer >= 1, got 0"),
        ('{"data": {"scale_jitter": [1]}}', r"data.scale_jitter must be .*length 2, got \[1\]"),
        (
            '{"data": {"scale_jitter": [2, 1]}}',
            r"data.scale_jitter is \(2.0, 1.0\); must be \(low, high\)",
        ),
        (
            '{"model": {"activation": "gelu"}}',
            "unknown model.activation 'gelu', did you mean 'relu'?",
        ),
        ('{"data": {"augment_on": "gpu"}}', "unknown data.augment_on 'gpu'. Known: device, workers"),
        ('{"epochs": 20}', r"optim.drops are \(30.0, 10.0\) epochs before the end of 20, so before training starts"),
        ('{"model": {"octaves": 0}}', "model.octaves must be an integer >= 1, got 0"),
        ('{"model": {"aspect_ratios": []}}', r"model.aspect_ratios must be .*length >= 1, got \[\]"),
        (
            '{"model": {"aspect_ratios": [1, 0]}}',
            r"model.aspect_ratios must be a number >= 0.01 at \[1\], got \[1, 0\]",
        ),
        ('{"model": []}', r"model: must be an object of settings, got \[\]"),
        ('{"model": {"octaves": 11}}', "model.octaves must be an integer <= 10, got 11"),
        ('{"model": {"aspect_ratios": [1000]}}', r"model.aspect_ratios must be a number <= 100 at \[0\], got \[1000\]"),
        ('{"data": {"image_size": 10}}', "data.image_size must be an integer >= 16, got 10"),
        ('{"data": {"image_size": 100000}}', "data.image_size must be an integer <= 8192, got 100000"),
        ("[]", r"settings: must be an object of settings, got \[\]"),
        ('{"epochs": 3,\n}', "config.json is not valid JSON: line 2"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(text, sentence):
    with pytest.raises(SpinetError, match=sentence):
        TrainConfig.from_json(text, "config.json")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"epochs": ' + "9" * 5000 + "}",
        '{"epochs": 1' + "0" * 400 + "}",
        '{"optim": {"drops": [1' + "0" * 400 + "]}}",
        '{"seed": 1' + "0" * 400 + "}",
        '{"batch_size": "' + "x" * 10**6 + '"}',
        '{"model": {"head": "' + "x" * 10**6 + '"}}',
        '{"model": {"head": ' + "[" * 900 + "]" * 900 + "}}",
        '{"model": {"aspect_ratios": [' + "1, " * 10**5 + "1]}}",
        '{"optim": {"drops": [' + "999, " * 50 + "999]}}",
        '{"' + "x" * 10**6 + '": 1}',
        '{"epochs": NaN}',
        '{"device": "\\ud800"}',
        '{"epochs": {"\\ud800": 1}}',
        '{"optim": {"drops": ["\\ud800"]}}',
        '{"\\ud800": 1}',
        '{"data": {"\\ud800": 1}}',
        '{"data": {"image_sizes": 64}}',
    ],
    ids=lambda text: f"{text[:24]} ... of {len(text)}",
)
def test_absurd_settings_are_refused_in_a_short_sentence(text):
    with pytest.raises(SpinetError) as error:
        TrainConfig.from_json(text, "config.json")

    assert str(error.value).startswith("config.json")
    assert len(str(error.value)) < 300


def test_a_file_far_larger_than_settings_is_not_read(tmp_path):
    file = tmp_path / "config.json"
    with file.open("wb") as sparse:
        sparse.truncate(2**40)

    with pytest.raises(SpinetError, match=r"config\.json has 1,048,576 MB; at most 32 MB are expected"):
        read_config(file)


def test_a_missing_settings_file_is_named(tmp_path):
    with pytest.raises(SpinetError, match=r"could not read the settings in .*none\.json: No such file"):
        read_config(tmp_path / "none.json")


def test_differences_name_the_settings_that_changed():
    one = TrainConfig()
    other = replace(one, epochs=99, optim=replace(one.optim, lr=0.1))
    assert differences(one, other) == {"epochs": (350.0, 99), "optim.lr": (0.28, 0.1)}
    assert differences(one, one) == {}


def test_the_json_holds_every_setting():
    def count(tree):
        return sum(count(value) if isinstance(value, dict) else 1 for value in tree.values())

    assert count(json.loads(TrainConfig().to_json())) == count(asdict(TrainConfig()))
