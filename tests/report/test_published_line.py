"""The published network in the report of a search."""

from null_trials import Climber, Evaluation, configuration, events

from spinet.nas.run import run_search
from spinet.nas.spaces import SPACES
from spinet.nas.state import load_search
from spinet.report.digest import Digest
from spinet.report.figures import progress
from spinet.report.report import render
from spinet.workers.executors import InProcess

SPACE = SPACES["spinenet49"]


def search(run, **settings):
    config = configuration(SPACE, proxy={"name": "tiny", "reward": "AP50", "rungs": [7]}, trials=8, **settings)
    run_search(config, run, Climber(SPACE), Evaluation(), InProcess(), quiet=True)
    return Digest(load_search(run))


def lines(digest):
    return {trace["name"]: trace["y"] for trace in progress(digest).traces if trace.get("mode") == "lines"}


def test_its_mean_is_a_line_and_stands_beside_the_best(tmp_path):
    digest = search(tmp_path, references=2)
    mean = sum(event["reward"] for event in events(tmp_path, "tell")[:2]) / 2
    assert lines(digest)["published, 7 epochs"] == [round(mean, 5)] * 2
    assert f"the published network has {mean:.4f}" in render(digest, tmp_path)


def test_the_best_line_ends_at_the_best_mean(tmp_path):
    digest = search(tmp_path, references=2)
    assert lines(digest)["best, 7 epochs"][-1] == round(max(digest.rewards(0).values()), 5)


def test_without_references_there_is_no_line(tmp_path):
    digest = search(tmp_path)
    assert "published, 7 epochs" not in lines(digest)
    assert "the published network has" not in render(digest, tmp_path)
