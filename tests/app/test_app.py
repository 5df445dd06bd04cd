import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import Finder, tiny_weights

from spinet.app import answers
from spinet.app.answers import ask, draw_answer, open_image
from spinet.app.choices import Choices
from spinet.app.html import answer_heading, answer_table, cost_rows, cost_table, drawing, model_line
from spinet.app.models import AppModel, Models, example_images, short_names
from spinet.app.session import NOTHING, Visit, look, view
from spinet.arch.catalog import load_architecture
from spinet.arch.cost import total
from spinet.deploy.export import export
from spinet.deploy.trust import record_export
from spinet.draw.colours import class_colour
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import load_model
from spinet.engine.config import DataConfig, ModelConfig, TrainConfig
from spinet.errors import SpinetError
from spinet.predict.predictor import Predictor

CPU = torch.device("cpu")


def finder(names: tuple[str, ...] = ("ant", "cat"), masks: bool = False) -> AppModel:
    info = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), names, (1, 2), 64)
    return AppModel("finder", Path("finder"), Predictor(Finder(masks), info))


def photo(path: Path, size: tuple[int, int] = (200, 100), **options: object) -> Path:
    Image.new("RGB", size, (90, 120, 150)).save(path, **options)
    return path


@pytest.fixture
def models(tmp_path) -> Models:
    files = [tiny_weights(tmp_path / "a.safetensors"), tiny_weights(tmp_path / "b.safetensors", "classifier")]
    return Models(files, CPU)


def test_boxes_are_in_pixels_of_the_image_and_of_the_thumbnail(tmp_path):
    shot, image = open_image(photo(tmp_path / "large.png", (2560, 1280)))

    answer = ask(finder(), shot, image)

    # 2560 pixels become 64 in the network, so that its 32 x 16 are 1280 x 640 in the photo.
    assert shot.thumbnail.size == (1280, 640)
    assert answer.boxes[0].tolist() == [0, 0, 1280, 640]
    assert answer.result.boxes[0].tolist() == [0, 0, 640, 320]


@pytest.mark.slow
def test_masks_of_the_thumbnail_are_where_those_of_the_image_are(tmp_path):
    shot, image = open_image(photo(tmp_path / "large.png", (2560, 1280)))

    picture = draw_answer(shot, ask(finder(masks=True), shot, image), Choices(0.5))

    # The left half of the box belongs to the object.
    grey = np.asarray(shot.thumbnail)[200, 200]
    drawn = np.asarray(picture).astype(int)
    assert np.abs(drawn[200, 200] - grey).max() > 20
    assert np.abs(drawn[200, 500] - grey).max() < 10


def test_images_too_large_for_a_model_are_shrunk_first(tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "MODEL_PIXELS", 5000)

    shot, image = open_image(photo(tmp_path / "a.png"))

    assert tuple(image.shape) == (3, 50, 100)
    assert (shot.width, shot.height) == (200, 100)
    assert ask(finder(), shot, image).boxes[0].tolist() == [0, 0, 100, 50]


def test_an_image_of_too_many_pixels_and_a_text_file_are_one_sentence_without_the_folder(tmp_path, monkeypatch):
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(SpinetError, match=r"^could not read the image notes.jpg: not an image"):
        open_image(tmp_path / "notes.jpg")

    monkeypatch.setattr(answers, "MOST_PIXELS", 5000)
    with pytest.raises(SpinetError, match=r"^a.png has 200 x 100 pixels; this page takes at most 5,000"):
        open_image(photo(tmp_path / "a.png"))


def test_an_image_is_turned_upright_and_16_bits_and_transparency_are_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, _ = open_image(photo(tmp_path / "turned.jpg", exif=exif))
    Image.fromarray(np.full((10, 20), 51400, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")

    assert (turned.width, turned.height) == (100, 200)
    assert turned.thumbnail.size == (300, 600)  # enlarged for its labels
    assert open_image(tmp_path / "deep.png")[1].unique().tolist() == [200]
    assert open_image(tmp_path / "clear.png")[1].unique().tolist() == [255]


def test_moving_the_threshold_draws_again_and_runs_no_model(tmp_path):
    model = finder()
    shot, image = open_image(photo(tmp_path / "a.png"))
    answer = ask(model, shot, image)

    many, few = draw_answer(shot, answer, Choices(0.3)), draw_answer(shot, answer, Choices(0.5))

    assert model.predictor.model.asked == 1
    # The right edge of the less sure box.
    edge = (225, 180)
    assert many.getpixel(edge) == class_colour(0)
    assert few.getpixel(edge) != class_colour(0)
    assert answer_table(answer, Choices(0.3)).count("<tr>") == 3
    assert answer_table(answer, Choices(0.5)).count("<tr>") == 2
    assert "1 cat, 1 ant" in answer_heading(model, answer, Choices(0.3))
    assert answer_table(answer, Choices(0.95)) == ""
    assert "nothing found from score 0.95: the best score was 0.90 (cat)" in answer_heading(
        model, answer, Choices(0.95)
    )


def test_names_of_classes_and_files_cannot_smuggle_html_into_the_page(tmp_path):
    model = finder(("ant", "<script>cat"))
    shot, image = open_image(photo(tmp_path / "<b>.png"))
    answer = ask(model, shot, image)

    pages = [answer_table(answer, Choices(0.3)), answer_heading(model, answer, Choices(0.3)), model_line(model)]

    assert not any("<script" in page for page in pages)
    assert "&lt;script&gt;cat" in pages[0]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["retinanet", "mask-rcnn", "cascade-rcnn", "classifier"])
def test_the_costs_add_up_to_the_parameters_of_the_model_in_the_file(tmp_path, head):
    file = tiny_weights(tmp_path / "a.safetensors", head, ("ant", "cat", "dog"))
    network, info = load_model(file)

    counted = total(cost for _, cost in cost_rows(info)).parameters

    assert counted == sum(value.numel() for value in network.parameters())


def test_the_box_head_is_counted_for_the_regions_of_the_model():
    rows = {}
    for regions in (100, 1000):
        config = ModelConfig(head="faster-rcnn", arch="tiny", proposals=regions)
        rows[regions] = dict(cost_rows(ModelInfo(load_architecture("tiny"), config, ("ant",), (1,), 64)))

    few, many = rows[100]["box head"], rows[1000]["box head"]
    assert many.multiply_adds == 10 * few.multiply_adds
    assert many.parameters == few.parameters


@pytest.mark.slow
def test_one_model_is_drawn_alone_and_two_with_their_differences(tmp_path):
    files = [tiny_weights(tmp_path / f"{arch}.safetensors", arch=arch) for arch in ("tiny", "spinenet49-quarter")]
    one, other = (Models(files, CPU)[file.name] for file in files)

    assert drawing([one]).count("<svg") == 1
    assert "spinenet49-quarter" in drawing([one, other])
    assert "both models have the same graph" in drawing([one, one])


@pytest.mark.slow
def test_a_baseline_has_no_drawing_and_no_costs_but_says_so(tmp_path):
    file = tiny_weights(tmp_path / "a.safetensors", arch="resnet18-fpn")
    model = Models([file], CPU)["a.safetensors"]

    assert "<svg" not in drawing([model])
    assert "baseline" in drawing([model])
    assert "baseline" in cost_table(model)


@pytest.mark.slow
def test_a_second_model_runs_on_the_same_image_and_the_first_not_again(models, tmp_path):
    path = photo(tmp_path / "a.png")
    alone = look(models, ("a.safetensors", NOTHING), path, None)

    both = look(models, ("a.safetensors", "b.safetensors"), path, alone)

    assert isinstance(both, Visit)
    assert both.answers["a.safetensors"] is alone.answers["a.safetensors"]
    shown = view(models, ("a.safetensors", "b.safetensors"), both, Choices(0.3))
    assert len(shown.sides) == 2
    _, _, table = shown.sides[1]
    assert "ant" in table
    assert "%" in table


@pytest.mark.slow
def test_another_image_discards_the_predictions_for_the_last(models, tmp_path):
    first = look(models, ("a.safetensors", "b.safetensors"), photo(tmp_path / "a.png"), None)

    second = look(models, ("a.safetensors", NOTHING), photo(tmp_path / "b.png"), first)

    assert list(second.answers) == ["a.safetensors"]


@pytest.mark.slow
def test_a_corrupt_image_is_a_sentence_on_the_page(models, tmp_path):
    (tmp_path / "notes.jpg").write_text("<i>no picture")

    found = look(models, ("a.safetensors", NOTHING), tmp_path / "notes.jpg", None)

    assert found.startswith('<p class="alert" role="alert">could not read the image notes.jpg')


def test_models_have_short_names_and_none_is_given_twice(tmp_path):
    assert short_names([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]
    with pytest.raises(SpinetError, match="a model is given twice"):
        short_names([tmp_path / "x", tmp_path / "x"])


@pytest.mark.slow
def test_an_exported_file_of_a_run_folder_may_be_named_too_however_its_path_is_written(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    tiny_weights(tmp_path / "run" / "best.safetensors")
    (tmp_path / "run" / "model.onnx").write_bytes(b"damaged")
    monkeypatch.chdir(tmp_path)

    # What is damaged is opened, so it is not told to be there twice.
    with pytest.raises(SpinetError, match="onnxruntime could not read"):
        Models([Path("run"), tmp_path / "run" / "model.onnx"], CPU)


@pytest.mark.slow
def test_exported_files_in_a_run_folder_can_be_picked_and_are_opened_then(tmp_path):
    tiny_weights(tmp_path / "run" / "best.safetensors")
    (tmp_path / "run" / "model.onnx").write_bytes(b"damaged")

    found = Models([tmp_path / "run"], CPU)

    assert found.names == ["run", "model.onnx"]
    assert look(found, ("model.onnx",), photo(tmp_path / "a.png"), None).startswith('<p class="alert"')


@pytest.mark.slow
def test_an_exported_file_in_the_run_folder_predicts_what_the_run_predicts_and_says_what_it_is(tmp_path):
    pytest.importorskip("onnxruntime")
    run = tmp_path / "run"
    tiny_weights(run / "best.safetensors", "classifier")
    export(run, run / "model.onnx")
    found = Models([run], CPU)

    first = look(found, ("run", "model.onnx"), photo(tmp_path / "a.png"), None)

    assert isinstance(first, Visit)
    ours, theirs = (first.answers[name] for name in ("run", "model.onnx"))
    assert answer_table(ours, Choices(0.0)) == answer_table(theirs, Choices(0.0)) != ""
    assert ", PyTorch; " in model_line(found["run"])
    assert ", onnx fp32; " in model_line(found["model.onnx"])


@pytest.mark.slow
def test_programs_are_neither_listed_nor_opened_even_if_they_were_exported_here(tmp_path):
    tiny_weights(tmp_path / "run" / "best.safetensors")
    (tmp_path / "run" / "model.pt2").write_bytes(b"a program")
    record_export(b"a program")

    assert Models([tmp_path / "run"], CPU).names == ["run"]
    with pytest.raises(SpinetError, match=r"the page opens no \.pt2 files, which can run code, such as .*model\.pt2"):
        Models([tmp_path / "run", tmp_path / "run" / "model.pt2"], CPU)


@pytest.mark.slow
def test_a_file_for_strips_says_what_it_takes(tmp_path):
    pytest.importorskip("onnxruntime")
    tiny_weights(tmp_path / "run" / "best.safetensors")
    export(tmp_path / "run", tmp_path / "strip.onnx", image_size=(32, 64))

    model = Models([tmp_path / "strip.onnx"], CPU)["strip.onnx"]

    assert "at 32 x 64 pixels" in model_line(model)
    assert "this file takes 32 x 64" in cost_table(model)


@pytest.mark.slow
def test_examples_are_images_of_the_val_split_of_the_run(tmp_path, digits):
    tiny_weights(tmp_path / "run" / "best.safetensors")
    config = TrainConfig(model=ModelConfig(arch="tiny"), data=DataConfig(root=str(digits)))
    (tmp_path / "run" / "config.json").write_text(config.to_json())

    found = example_images([tmp_path / "run", tmp_path / "elsewhere"], most=4)

    assert len(found) == 4
    assert all(path.is_file() for path in found)


def test_a_missing_model_is_one_sentence_on_the_terminal(spinet, tmp_path):
    pytest.importorskip("gradio", reason="the page needs the extra app")
    code, _, error = spinet("app", tmp_path / "gone")

    assert code == 1
    assert error.count("\n") == 1
    assert "there is no weights file or run folder" in error


def test_without_gradio_the_sentence_names_the_extra(spinet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)

    code, _, error = spinet("app", tmp_path)

    assert code == 1
    assert "pip install 'spinet[app]'" in error
