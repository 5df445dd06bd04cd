import pytest

from spinet.arch.baseline import BASELINES, RESNETS, Baseline, is_baseline
from spinet.arch.catalog import load_architecture, load_network, names, network_from_json
from spinet.errors import SpinetError


@pytest.mark.parametrize("name", [*BASELINES, *RESNETS, "timm/hrnet_w18-fpn", "timm/mobilenetv3_large_100-nas-fpn"])
def test_every_baseline_keeps_its_name_and_survives_its_json(name):
    found = load_network(name)

    assert isinstance(found, Baseline)
    assert found.name == name
    assert network_from_json(found.to_json(), "again") == found


def test_no_name_of_the_catalogue_is_taken_for_a_baseline():
    assert not any(is_baseline(name) for name in names())


@pytest.mark.parametrize("name", ["tiny", "spinenet49s-mobile"])
def test_names_and_json_of_architectures_give_architectures(name):
    found = load_network(name)

    assert found == load_architecture(name)
    assert network_from_json(found.to_json(), "again") == found


def test_files_of_either_kind_are_read(tmp_path):
    baseline = Baseline(body="resnet18", channels=64, head_channels=64, head_convs=2)
    (tmp_path / "mine-fpn.json").write_text(baseline.to_json())
    load_architecture("tiny").save(tmp_path / "tiny.json")

    assert load_network(tmp_path / "mine-fpn.json") == baseline
    assert load_network(str(tmp_path / "tiny.json")) == load_architecture("tiny")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet51-fpn", "unknown baseline 'resnet51-fpn', did you mean 'resnet"),
        ("spinenet94", "unknown architecture 'spinenet94', did you mean 'spinenet"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_match(name, sentence):
    with pytest.raises(SpinetError) as error:
        load_network(name)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"body": "resnet20"}, "unknown body 'resnet20', did you mean 'resnet18'?"),
        ({"body": 3}, "unknown body '3'"),
        ({"neck": "bifpn"}, "unknown neck 'bifpn', did you mean 'fpn'? Known: fpn, nas-fpn, none."),
        (
            {"body": "timm/hf-hub:owner/model"},
            "body must be timm/ and the name of one of its models, not 'timm/hf-hub:",
        ),
        ({"body": "timm/local-dir:/tmp"}, "body must be timm/ and the name of one of its models, not 'timm/local-dir:"),
        ({"body": "timm/../x"}, "body must be timm/ and the name of one of its models"),
        ({"body": "timm/"}, "body must be timm/ and the name of one of its models"),
        ({"channels": 0}, "baseline: channels must be an integer from 1 to 16384, not 0"),
        ({"head_convs": -1}, "baseline: head_convs must be an integer from 0 to 100, not -1"),
        ({"repeats": True}, "baseline: repeats must be an integer from 1 to 100, not True"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(changes, sentence):
    with pytest.raises(SpinetError) as error:
        Baseline(**{"body": "resnet50", **changes})
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '{"baseline": {"body": "resnet50", "nek": "fpn"}}',
            "mine.json: unknown key in baseline 'nek', did you mean 'neck'",
        ),
        ('{"baseline": {}}', "mine.json: baseline: 'body' is missing"),
        ('{"baseline": 3}', "mine.json: baseline: expected an object"),
        ('{"baseline": {"body": "resnet50"}, "stem": []}', "mine.json: unknown key in network 'stem'"),
        ("{", "mine.json is not valid JSON: line 1, column 2"),
        ("[]", "mine.json: architecture: expected an object"),
    ],
)
def test_json_that_is_no_network_is_refused_by_its_file(text, sentence):
    with pytest.raises(SpinetError) as error:
        network_from_json(text, "mine.json")
    assert str(error.value).startswith(sentence)
