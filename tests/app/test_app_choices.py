"""What a visitor chooses to see: no network runs for it."""

import numpy as np
import pytest
from PIL import Image
from records import record
from shared_runs import classifier_run, detector_run
from small_models import Finder, tiny_weights

from spinet.app.answers import ask, draw_answer, open_image
from spinet.app.batch import MOST_IMAGES, predict_all
from spinet.app.choices import Choices
from spinet.app.figure import figure
from spinet.app.html import answer_heading, answer_table
from spinet.app.models import AppModel, Models
from spinet.app.operating import operating_view
from spinet.app.report import report_view
from spinet.app.session import Visit, view
from spinet.app.val import Val
from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.predict.predictor import Predictor


def photo(path, size=(200, 100)):
    Image.new("RGB", size, (90, 120, 150)).save(path)
    return path


def finder(path, names=("ant", "cat"), masks=False):
    info = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), names, (1, 2), 64)
    return AppModel("finder", path, Predictor(Finder(masks), info))


class OneModel:
    """Stands for `Models` where opening a file is beside the point."""

    def __init__(self, val):
        self._val = val

    def val(self, _):
        return self._val


BOXES = [(0, 0, 10 * n, 0, 8, 8) for n in range(3)]


def val(scores, labels=(0, 0, 0)):
    """Two of three objects are found; the last detection is of nothing."""
    found = [(0, label, *box[2:]) for label, box in zip(labels, [*BOXES[:2], (0, 0, 300, 300, 8, 8)], strict=True)]
    return Val(record(BOXES, found, scores, classes=("ant", "cat")))


def test_precision_and_recall_are_those_at_the_threshold_and_best_f1_is_named(tmp_path):
    models, model = OneModel(val([0.9, 0.6, 0.3])), finder(tmp_path)

    low, auto = operating_view(models, [model], Choices(0.2))
    high, _ = operating_view(models, [model], Choices(0.8))
    above, _ = operating_view(models, [model], Choices(0.95))

    assert "from score 0.20: precision 0.67, recall 0.67, F1 0.67" in low
    assert "from score 0.80: precision 1.00, recall 0.33, F1 0.50" in high
    assert "nothing has a score of at least 0.95" in above
    # Best with two right ones: halfway between 0.6 and 0.3.
    assert auto == 0.45
    assert "Best F1 (auto): 0.80 from score 0.45" in low
    assert model.predictor.model.asked == 0


def test_precision_and_recall_are_those_of_the_chosen_classes(tmp_path):
    models = OneModel(val([0.9, 0.6, 0.3], labels=(0, 1, 1)))

    ants, _ = operating_view(models, [finder(tmp_path)], Choices(0.2, ("ant",)))
    cats, auto = operating_view(models, [finder(tmp_path)], Choices(0.2, ("cat",)))

    assert "precision 1.00, recall 0.33" in ants
    assert "precision 0.00, recall 0.00" in cats
    assert auto is None


def test_weights_without_a_record_say_that_precision_is_not_known_and_a_corrupt_record_too(tmp_path):
    file = tiny_weights(tmp_path / "best.safetensors")
    text, auto = operating_view(models := Models([file], "cpu"), [models[file.name]], Choices())
    assert "no val.npz beside these weights" in text
    assert auto is None

    (tmp_path / "val.npz").write_bytes(b"corrupt")
    text, _ = operating_view(models := Models([file], "cpu"), [models[file.name]], Choices())
    assert "are corrupt; delete the file" in text


def test_a_class_filter_leaves_out_other_classes_everywhere(tmp_path):
    model = finder(tmp_path)
    shot, image = open_image(photo(tmp_path / "a.png"))
    answer, choices = ask(model, shot, image), Choices(0.3, ("ant",))

    assert "1 ant" in answer_heading(model, answer, choices)
    assert "cat" not in answer_table(answer, choices)
    both, ants = (np.asarray(draw_answer(shot, answer, each)) for each in (Choices(0.3), choices))
    assert (both != ants).any()


def test_where_nothing_is_found_the_best_score_is_said(tmp_path):
    model = finder(tmp_path)
    shot, image = open_image(photo(tmp_path / "a.png"))
    answer = ask(model, shot, image)

    said = answer_heading(model, answer, Choices(0.5, ("ant",)))

    assert "nothing found of these classes from score 0.50: the best score was 0.40 (ant)" in said
    assert "not even with a score of 0.05" in answer_heading(model, answer, Choices(0.5, ("dog",)))


def test_opacity_changes_masks_inside_and_not_their_outlines_nor_the_rest(tmp_path):
    shot, image = open_image(photo(tmp_path / "a.png"))
    answer = ask(finder(tmp_path, masks=True), shot, image)

    clear, half, full = (np.asarray(draw_answer(shot, answer, Choices(0.5, (), each))) for each in (0.0, 0.4, 1.0))

    inside, outside = (100, 60), (250, 500)
    assert (clear[inside] == np.asarray(shot.thumbnail)[inside]).all()
    assert (clear[inside] != half[inside]).any()
    assert (half[inside] != full[inside]).any()
    assert (clear[outside] == full[outside]).all()


def test_the_picture_has_its_text_and_size_and_no_name_becomes_html():
    html = figure(Image.new("RGB", (4, 2)), 'a "cat" <b>', '"x".jpg', (400, 200))

    assert 'alt="a &quot;cat&quot; &lt;b&gt;"' in html
    assert "--w:400;--h:200" in html
    assert 'download="&quot;x&quot;.jpg"' in html


@pytest.mark.slow
def test_an_image_of_val_is_shown_with_its_annotations_and_another_is_not(tmp_path, digits):
    models = Models([detector_run(tmp_path / "run", digits)], "cpu")
    known = models.val("run").record
    image = next(index for index in known.truth.owners.tolist())

    def seen(path):
        page_image, pixels = open_image(path)
        visit = Visit(page_image, {"run": ask(models["run"], page_image, pixels)})
        return view(models, ("run", None), visit, Choices())

    heading, picture = seen(digits / known.images[image]).truth
    counts = (known.truth.owners == image).sum()
    assert sum(int(word) for word in heading.replace("<", " ").replace(">", " ").split() if word.isdigit()) == counts
    assert "with its annotations" in picture
    assert seen(photo(tmp_path / "b.png")).truth is None


@pytest.mark.slow
def test_the_report_of_a_run_is_made_if_it_is_missing_and_cannot_run_scripts(tmp_path, digits):
    run = detector_run(tmp_path / "run", digits)

    page = report_view(run, "run <b>")

    assert (run / "report.html").is_file()
    assert ' sandbox srcdoc="' in page
    assert "run &lt;b&gt;" in page
    (run / "report.html").write_text("<p>as it is")
    assert "as it is" in report_view(run / "best.safetensors", "run")


@pytest.mark.slow
def test_weights_without_a_run_and_a_moved_run_are_a_sentence_in_place_of_the_report(tmp_path):
    alone = tiny_weights(tmp_path / "alone" / "a.safetensors")

    assert 'role="alert">only a run folder has a report' in report_view(alone, "a")
    assert "there is no run folder" in report_view(tmp_path / "gone", "gone")


@pytest.mark.slow
def test_the_report_of_a_classifier_is_shown_too(tmp_path):
    assert "<iframe" in report_view(classifier_run(tmp_path / "run"), "run")


def test_a_batch_is_written_in_three_formats_and_a_corrupt_image_is_said(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "empty.png").write_bytes(b"")
    files = [photo(tmp_path / name) for name in ("a.png", "b/a.png", "a.jpg")] + [tmp_path / "empty.png"]
    told = []

    said = predict_all(finder(tmp_path), files, Choices(0.5), tmp_path / "out", lambda *done: told.append(done))

    assert said.html.count("1 cat") == 3
    assert "1 image could not be read; all others are done" in said.html
    assert "could not read the image empty.png: the file is empty" in said.html
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert {path.name for path in said.files.values()} == {path.name for path in (tmp_path / "out").iterdir()}
    assert said.files["csv"].read_text().splitlines()[1:] == [
        "a.png,cat,0.9000,0.00,0.00,100.00,50.00",
        "a-2.png,cat,0.9000,0.00,0.00,100.00,50.00",
        "a.jpg,cat,0.9000,0.00,0.00,100.00,50.00",
    ]


def test_a_batch_without_images_with_none_that_can_be_read_and_with_too_many_writes_nothing(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    for files in ([], [tmp_path / "empty.png"], [tmp_path / "empty.png"] * (MOST_IMAGES + 1)):
        said = predict_all(finder(tmp_path), files, Choices(), tmp_path / "out")
        assert set(said.files.values()) == {None}
    assert "501 images are too many" in said.html
    assert not (tmp_path / "out").exists()
