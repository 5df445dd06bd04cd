"""The page of a training, on a run of seconds; what its numbers mean is tested in tests/analysis."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from chromium import Chromium, find_chromium
from journals import HOSTILE

from spinet.analysis.thresholds import best_thresholds
from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from spinet.engine.train import train
from spinet.errors import SpinetError
from spinet.report import training
from spinet.report.training import report_of, write_training_report
from spinet.report.training_run import open_training

FIVE_MEGABYTES = 5_000_000


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A short training with two evaluations that finds some digits."""
    run = tmp_path_factory.mktemp("trained") / "run"
    config = TrainConfig(
        model=ModelConfig(arch="tiny", bn_momentum=0.1),
        data=DataConfig(root=str(digits), image_size=64, workers=0, cache_images=True, scale_jitter=(1.0, 1.0)),
        optim=OptimConfig(lr=0.05, lr_batch=8, schedule="cosine", warmup_epochs=2, ema_decay=0.9),
        epochs=40,
        batch_size=8,
        eval_epochs=20,
        log_steps=5,
        save_seconds=1e9,
        device="cpu",
    )
    train(config, run, quiet=True)
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def texts(page):
    """The cells and the sentences of a page."""
    return re.sub(r"<[^>]+>", "\n", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))


@pytest.mark.slow
def test_a_training_gives_one_page_that_needs_no_other_file(run):
    path = write_training_report(run)

    page = path.read_text()
    assert path == run / "report.html"
    assert path.stat().st_size < FIVE_MEGABYTES
    outside = re.sub(r'src="data:image/jpeg;base64,[^"]*"', "", page)
    assert not re.search(r"https?://|\bsrc=|<link|<script|@import|url\(", outside)
    for title in ("Losses", "Learning rate", "Precision and recall", "What the errors cost", "Confusion matrix",
                  "Score threshold", "Are scores probabilities", "Sizes of objects", "Shapes of objects",
                  "Labels", "What the network sees", "The training", "All settings"):  # fmt: skip
        assert title in page
    assert page.count('<img class="batch"') == 1
    assert page.count("<img ") - 1 == 2 * min(24, page.count("<img ") // 2) > 0


@pytest.mark.slow
def test_the_numbers_of_the_page_are_those_of_the_metrics_file(run):
    page = texts(write_training_report(run).read_text())

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max((line for line in lines if "val/AP" in line), key=lambda line: line["val/AP"])
    for name in ("AP", "AP50", *(f"AP/{name}" for name in open_training(run).record.class_names)):
        value = best[f"val/{name}"]
        assert f"{value:.3f} (" in page, name  # in the table with its interval
        assert f"\n{value:.4f}\n" in page, name  # in the list of all metrics


@pytest.mark.slow
def test_the_weights_hold_the_thresholds_of_the_report(run):
    opened = open_training(run)

    assert opened.info.thresholds == best_thresholds(opened.record)
    assert all(0.05 <= threshold < 1 for threshold in opened.info.thresholds)


@pytest.mark.slow
def test_a_run_without_its_detections_is_evaluated_again_to_the_same_page(run):
    page = write_training_report(run).read_text()
    (run / "val.npz").unlink()

    again = write_training_report(run).read_text()

    assert again == page
    assert (run / "val.npz").is_file()


@pytest.mark.slow
def test_detections_of_other_weights_are_not_used(run):
    record = open_training(run).record
    replace(record, step=1, found=record.found[:0]).save(run / "val.npz")

    assert len(open_training(run).record.found) == len(record.found)


@pytest.mark.slow
def test_a_page_is_written_without_the_images_when_they_have_moved(run, digits, tmp_path):
    config = json.loads((run / "config.json").read_text())
    config["data"]["root"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))

    page = write_training_report(run).read_text()
    assert page.count("<img ") == 1  # of the first batch, which is in the run folder
    assert f"The dataset is not in {tmp_path / 'gone'} any more" in page
    assert write_training_report(run, root=digits).read_text().count("<img ") > 1

    (run / "val.npz").unlink()
    with pytest.raises(SpinetError, match=r"name the dataset folder as --data.root"):
        write_training_report(run)


@pytest.mark.slow
def test_names_of_classes_and_images_cannot_become_markup(run):
    record = open_training(run).record
    names = tuple(f"{name} {HOSTILE}" for name in record.class_names)
    replace(record, class_names=names, images=tuple(f"{name}{HOSTILE}" for name in record.images)).save(run / "val.npz")

    page = write_training_report(run).read_text()
    assert "alert(1)" in page
    assert not re.search(r"<script|<img src=x|\x1b", page)


@pytest.mark.slow
def test_interruptions_are_marked_where_they_were(config, tmp_path, stop_at):
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", quiet=True)
    stop_at(None)
    train(config, tmp_path / "run", quiet=True)

    page = write_training_report(tmp_path / "run").read_text()

    assert "one interruption" in page
    assert "stopped; resumed at step 3" in page
    assert "finished at step 8" in page


@pytest.mark.slow
def test_a_training_that_has_not_finished_says_so(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if "val/AP" in line)
    (run / "metrics.jsonl").write_text("\n".join([*lines[: at + 1], '{"step": 9']) + "\n")
    (run / "sessions.jsonl").unlink()

    assert "This training has not finished: it is at epoch 20.0 of 40" in write_training_report(run).read_text()


@pytest.mark.slow
def test_a_training_without_any_detection_has_a_page_too(run):
    record = open_training(run).record
    replace(record, found=record.found[:0]).save(run / "val.npz")

    page = write_training_report(run).read_text()

    assert "No detection is right" in page
    assert not re.search(r"\bnan\b", texts(page))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "there is no run folder"),
        (lambda folder: folder.mkdir(), "is empty; name the folder of a training"),
        (lambda folder: folder.write_text("x"), "is not a folder; name the folder"),
        (lambda folder: (folder.mkdir(), (folder / "notes.txt").write_text("x")), "holds no run; name the folder"),
        (
            lambda folder: (folder.mkdir(), (folder / "config.json").write_text("{}")),
            "has no line of metrics and was never evaluated; resume it",
        ),
        (
            lambda folder: (
                folder.mkdir(),
                (folder / "config.json").write_text("{}"),
                (folder / "metrics.jsonl").write_text('{"step": 12, "loss": 1.0}\n'),
            ),
            "stopped at step 12 and was never evaluated",
        ),
    ],
)
def test_what_is_no_evaluated_training_is_refused_in_one_sentence(spinet, tmp_path, make, sentence):
    make(tmp_path / "run")

    code, out, error = spinet("report", tmp_path / "run")

    assert (code, out) == (1, "")
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "report.html").exists()


CLIPPED = """[...document.querySelectorAll("svg.chart")].flatMap(drawing => {
  const edge = drawing.getBoundingClientRect();
  return [...drawing.querySelectorAll("text")].filter(label => {
    const box = label.getBoundingClientRect();
    const wide = box.left < edge.left - 1 || box.right > edge.right + 1;
    return wide || box.top < edge.top - 1 || box.bottom > edge.bottom + 1;
  }).map(label => `${drawing.getAttribute("aria-label")}: ${label.textContent}`);
})"""


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="no browser to draw the page")
def test_a_browser_shows_every_label_whole_and_asks_for_nothing(run, tmp_path):
    address = write_training_report(run).as_uri()

    with Chromium(tmp_path / "profile") as browser:
        for width, dark in ((1280, False), (390, True)):
            browser.resize(width, 900, dark)
            browser.open(address)
            browser.wait_for('document.readyState === "complete"')
            assert browser.run(CLIPPED) == []
            assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.failures() == []
        assert browser.asked_outside(address) == []


def test_a_report_that_fails_is_said_and_ends_nothing(tmp_path, monkeypatch, capsys):
    def fail(run):
        raise ZeroDivisionError("a figure")

    monkeypatch.setattr(training, "write_training_report", fail)
    report_of(tmp_path)
    report_of(tmp_path, quiet=True)

    assert capsys.readouterr().out == "no report was written (a figure); the training is complete\n"


@pytest.mark.slow
def test_the_command_line_trains_and_reports(spinet, digits, tmp_path):
    args = (
        "--data.root",
        digits,
        "--data.image-size",
        64,
        "--data.workers",
        0,
        "--model.arch",
        "tiny",
        "--epochs",
        0.5,
    )

    code, out, error = spinet("train", "small-cpu", *args, "--run", tmp_path / "with")
    assert code == 0, error
    assert f"report: {tmp_path / 'with' / 'report.html'}" in out
    assert (tmp_path / "with" / "report.html").is_file()

    assert spinet("train", "small-cpu", *args, "--run", tmp_path / "without", "--no-report")[0] == 0
    assert not (tmp_path / "without" / "report.html").exists()
