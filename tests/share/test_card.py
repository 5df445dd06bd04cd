"""The model card: its numbers are those of the run, and it says what is not known."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml
from journals import HOSTILE
from shared_runs import classifier_run, detector_run

from spinet.analysis.records import load_record
from spinet.engine.config import read_config
from spinet.report.detections import Findings
from spinet.report.training_run import open_training
from spinet.share.bundle import bundle
from spinet.share.card import escaped


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    return detector_run(tmp_path_factory.mktemp("card") / "run", digits)


def card(run, **options):
    return bundle(run, **{"where": "hf://me/cells", "name": "cells", **options}).files["README.md"].decode()


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_numbers_are_those_of_the_record_with_their_intervals(run):
    text = card(run)

    overall = Findings(load_record(run / "val.npz")).table.overall
    assert 0.3 < overall["AP"].value < 1
    for name in ("AP", "AP50"):
        value, low, high = overall[name]
        assert f"| {value:.3f} | {low:.3f} to {high:.3f} |" in text
    assert front(text)["model-index"][0]["results"][0]["metrics"][0]["value"] == round(overall["AP"].value, 4)


def test_the_front_matter_is_what_the_hub_reads(run):
    head = front(card(run, licence="CC-BY-4.0", dataset="me/digits"))

    assert (head["license"], head["library_name"], head["pipeline_tag"]) == ("cc-by-4.0", "spinet", "object-detection")
    assert head["datasets"] == ["me/digits"]
    assert head["model-index"][0]["name"] == "cells"
    assert head["model-index"][0]["results"][0]["dataset"] == {"type": "me/digits", "name": "me/digits", "split": "val"}


def test_the_hubs_own_reader_takes_the_front_matter(run):
    repocard = pytest.importorskip("huggingface_hub.repocard")

    data = repocard.ModelCard(card(run, licence="mit", dataset="Digits")).data

    assert data.license == "mit"
    assert {result.metric_type for result in data.eval_results} == {"mean_average_precision"}
    assert data.eval_results[0].dataset_type == "digits"


def test_the_task_follows_from_the_head(digits, tmp_path):
    masks = detector_run(tmp_path / "masks", digits, head="mask-rcnn")

    assert front(card(masks))["pipeline_tag"] == "image-segmentation"
    assert front(card(classifier_run(tmp_path / "classes")))["pipeline_tag"] == "image-classification"


def test_it_counts_images_and_objects_of_each_class_and_split(run, digits):
    text = card(run, dataset="Digits")

    trees = {
        split: json.loads((digits / "annotations" / f"instances_{split}.json").read_text())
        for split in ("train", "val")
    }
    assert f"| images | {len(trees['train']['images'])} | {len(trees['val']['images'])} |" in text
    for category in trees["train"]["categories"]:
        train, val = (
            sum(entry["category_id"] == category["id"] for entry in tree["annotations"]) for tree in trees.values()
        )
        assert f"| {category['name']} | {train} | {val} |" in text


def test_without_the_dataset_it_says_that_train_is_not_known(tmp_path):
    text = card(classifier_run(tmp_path / "run"))

    assert "| ant | not known | 15 |" in text
    assert "It was trained on one dataset from scratch." in text
    assert "The dataset was not named." in text


def test_it_says_what_is_not_stated_and_what_is_weak(run):
    text = card(run)

    assert "not stated; ask whoever gave you the model" in text
    assert "Fewer than 20 objects in val" in text
    assert "chosen on the 8 val images" in text
    assert "license" not in front(text)


def test_an_unfinished_training_is_said(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    config = read_config(folder / "config.json")
    (folder / "config.json").write_text(replace(config, epochs=90.0).to_json())

    assert "it was at epoch 40.0 of 90" in card(folder)


def test_how_to_use_it_works_as_it_is_written(run):
    text = card(run)

    assert 'spinet.load("hf://me/cells").predict("image.jpg")' in text
    assert "spinet predict hf://me/cells image.jpg" in text
    code = text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")


def test_hostile_class_names_stay_text(tmp_path):
    names = ("a|b", "<script>alert(1)</script>", "two\nlines", "[x](javascript:1)", HOSTILE)
    text = card(classifier_run(tmp_path / "run", tuple(dict.fromkeys(names))))

    body = text.split("---\n", 2)[2]
    assert "<script" not in body.replace("\\<", "")
    assert "](javascript" not in body.replace("\\]", "")
    table = body.split("## Data")[1].split("## Training")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {4}


def test_escaping_keeps_a_text_on_one_line():
    assert escaped("a\n# b_c") == "a \\# b\\_c"


def test_multiply_adds_are_those_of_the_network_at_its_size(run):
    from spinet.arch.head_cost import model_cost
    from spinet.report.network_cost import network_cost

    info = open_training(run).info

    cost = network_cost(info)
    assert cost.multiply_adds == model_cost(info.architecture, 64, "retinanet", 3).multiply_adds
    assert f"{cost.parameters:,}" in card(run)
