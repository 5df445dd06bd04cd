"""The public functions of `spinet`: every kind of image and model, and errors from Python."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exportable import noise, tiny
from PIL import Image
from pycocotools import mask as mask_api
from small_models import Finder, tiny_weights

import spinet
from spinet.api import change_settings
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.predict.predictor import Predictor


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of a detector that finds something everywhere."""
    model, info = tiny()
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(path, model.state_dict(), info, {})
    return path


@pytest.mark.slow
def test_threads_of_a_run_are_those_of_torch(weights):
    before = torch.get_num_threads()
    try:
        spinet.load(weights, threads=3)
        assert torch.get_num_threads() == 3
        spinet.load(weights)
        assert torch.get_num_threads() <= 3
    finally:
        torch.set_num_threads(before)


def test_evaluating_a_run_whose_data_have_moved_says_to_name_the_folder(weights, tmp_path):
    shutil.copy(weights, tmp_path / "best.safetensors")
    config = change_settings(spinet.TrainConfig(), {"data.root": str(tmp_path / "gone")})
    (tmp_path / "config.json").write_text(config.to_json())
    with pytest.raises(
        spinet.SpinetError, match=r"was trained on .*gone, which is not there any more; name the dataset"
    ):
        spinet.evaluate(tmp_path)


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "7.png"
    Image.fromarray(noise(90, 70).permute(1, 2, 0).numpy()).save(path)
    return path


def finder(masks: bool = False) -> Predictor:
    info = ModelInfo(spinet.load_architecture("tiny"), ModelConfig(arch="tiny"), ("ant", "cat"), (3, 8), 64)
    return Predictor(Finder(masks), info)


def same(one, other) -> bool:
    names = ("boxes", "scores", "labels")
    return one.class_names == other.class_names and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in names
    )


# --- images ---


@pytest.mark.slow
def test_every_kind_of_image_gives_what_the_command_predicts(weights, image_file, tmp_path, request):
    command = request.getfixturevalue("spinet")
    code, _, error = command("predict", weights, image_file, "-o", tmp_path / "out", "--device", "cpu")
    assert code == 0, error
    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    model = spinet.load(str(weights), device="cpu")
    pil = Image.fromarray(noise(90, 70).permute(1, 2, 0).numpy())
    pixels = np.array(pil)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [str(image_file), image_file, pil, pixels, tensor, tensor / 255, tensor.double() / 255]

    results = model.predict(kinds)

    assert len(results) == len(kinds)
    # Larger batches are computed in another order, and differ by rounding.
    for result in model.predict(kinds[:3], batch_size=2):
        np.testing.assert_allclose(result.scores, results[0].scores, atol=1e-5)
    for result in [*results, *(model.predict(image) for image in kinds)]:
        assert len(result) > 3
        assert same(result, results[0])
        assert {"file": str(image_file), **result.to_dict()} == entry


def test_a_pil_image_is_read_as_its_file_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 60).permute(1, 2, 0).numpy()).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.full((10, 20), 51400, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.new("LA", (20, 10), (7, 100)).save(tmp_path / "clear.png")
    Image.new("P", (20, 10), 3).save(tmp_path / "palette.gif")
    model = finder()

    for name in ("turned.png", "deep.png", "clear.png", "palette.gif"):
        with Image.open(tmp_path / name) as image:
            assert torch.equal(model.predict(image).image, model.predict(tmp_path / name).image)

    assert model.predict(tmp_path / "turned.png").image_size == (60, 40)


def test_a_view_of_an_array_and_a_grey_pil_image_are_taken():
    array = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    array.setflags(write=False)

    mirrored = finder().predict(array[:, ::-1])
    grey = finder().predict(Image.fromarray(array[:, :, 0]))

    assert np.array_equal(mirrored.image.permute(1, 2, 0).numpy(), array[:, ::-1])
    assert grey.image_size == (30, 40)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"must have shape \(H, W, 3\).*not \(3, 20, 30\); .*transpose\(1, 2, 0\)"),
        (np.zeros((20, 30), np.uint8), r"must have shape \(H, W, 3\).*Image.fromarray"),
        (np.zeros((20, 30, 4), np.uint8), r"must have shape \(H, W, 3\).*Image.fromarray"),
        (np.zeros((2, 20, 30, 3), np.uint8), r"pass a batch as list\(array\)"),
        (np.zeros((20, 30, 3), np.float32), "must be uint8 with values from 0 to 255, not float32"),
        (np.zeros((0, 30, 3), np.uint8), "has no pixels"),
        (torch.zeros(20, 30, 3, dtype=torch.uint8), r"must have shape \(3, H, W\).*permute\(2, 0, 1\)"),
        (torch.zeros(2, 3, 20, 30), r"pass a batch as list\(tensor\)"),
        (torch.full((3, 20, 30), 255.0), "must have values from 0 to 1, not from 255 to 255"),
        (torch.full((3, 20, 30), torch.nan), "must have values from 0 to 1, not from nan to nan"),
        (torch.zeros(3, 20, 30, dtype=torch.int64), "must be uint8, or float with values from 0 to 1, not torch.int64"),
        (torch.zeros(3, 0, 30), "has no pixels"),
        (7, "an image of type int is not supported"),
        (None, "an image of type NoneType is not supported"),
        ("gone.jpg", "could not read the image gone.jpg: there is no such file"),
    ],
)
def test_what_is_no_image_is_one_sentence(image, sentence):
    with pytest.raises(spinet.SpinetError, match=sentence):
        finder().predict(image)
    with pytest.raises(spinet.SpinetError, match=sentence):
        finder().predict([image])


@pytest.mark.parametrize("option", [{"score_threshold": 1.5}, {"score_threshold": -1}, {"top": 0}, {"batch_size": 0}])
def test_options_out_of_range_are_named(option):
    with pytest.raises(spinet.SpinetError, match=f"^{next(iter(option))} is "):
        finder().predict([noise(9, 9)], **option)


# --- results ---


def test_a_result_holds_arrays_of_objects_and_can_be_selected():
    result = finder().predict(np.full((100, 200, 3), 90, np.uint8))

    assert len(result) == 2
    assert result.image_size == (100, 200)
    assert (result.boxes.dtype, result.boxes.shape) == (np.float32, (2, 4))
    np.testing.assert_allclose(result.boxes[0], [0, 0, 100, 50])
    assert result.scores.tolist() == pytest.approx([0.9, 0.4])
    assert result.labels.tolist() == [1, 0]
    assert result.class_names == ("cat", "ant")
    assert result.masks is None
    assert repr(result) == "DetectionResult(2 objects in 200 x 100 pixels: cat 0.90, ant 0.40)"
    assert result[result.scores > 0.5].class_names == ("cat",)
    assert result[1:].class_names == ("ant",)
    with pytest.raises(AttributeError):
        result.boxes = None


def test_a_result_without_objects_does_all_the_same(tmp_path):
    info = finder().info
    nothing = torch.nn.Module()
    nothing.predict = lambda images, score_threshold: [
        {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
        for _ in images
    ]

    result = Predictor(nothing, info).predict(noise(20, 30))

    assert (len(result), result.boxes.shape, result.class_names) == (0, (0, 4), ())
    assert repr(result) == "DetectionResult(0 objects in 30 x 20 pixels)"
    assert result.to_coco(image_id=1) == []
    assert result.plot().size == (30, 20)
    result.save(tmp_path / "a.png")
    assert spinet.read_image(tmp_path / "a.png").shape == (3, 20, 30)
    assert Predictor(nothing, info).predict([]) == []


# pycocotools still converts arrays as NumPy 1 did.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_are_boolean_arrays_and_coco_run_lengths(tmp_path):
    result = finder(masks=True).predict(np.full((100, 200, 3), 90, np.uint8))

    assert result.masks.shape == (2, 100, 200)
    assert result.masks.dtype == bool
    assert result.masks[0, 5:45, 5:40].all()
    assert not result.masks[0, :, 60:].any()
    [cat, _] = result.to_coco(image_id=5)
    assert (cat["image_id"], cat["category_id"], cat["bbox"]) == (5, 8, pytest.approx([0, 0, 100, 50]))
    assert np.array_equal(mask_api.decode(cat["segmentation"]).astype(bool), result.masks[0])
    assert result[result.scores < 0.5].masks.shape == (1, 100, 200)
    assert result.plot().getpixel((20, 20)) != (90, 90, 90)
    with pytest.raises(spinet.SpinetError, match=r"must end in an image suffix"):
        result.save(tmp_path / "a.xyz")


@pytest.mark.slow
def test_a_result_becomes_supervision_detections(monkeypatch):
    pytest.importorskip("supervision")
    result = finder(masks=True).predict(np.full((100, 200, 3), 90, np.uint8))

    detections = result.to_supervision()

    np.testing.assert_array_equal(detections.xyxy, result.boxes)
    np.testing.assert_array_equal(detections.mask, result.masks)
    assert detections.class_id.tolist() == [1, 0]
    assert detections["class_name"].tolist() == ["cat", "ant"]
    assert len(result[:0].to_supervision()) == 0
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(spinet.SpinetError, match=r"pip install 'spinet\[supervision\]'"):
        result.to_supervision()


@pytest.mark.slow
def test_a_classifier_gives_its_best_classes_and_no_boxes(tmp_path):
    path = tiny_weights(tmp_path / "c.safetensors", "classifier", ("ant", "cat", "dog"))

    result = spinet.load(path).predict(noise(40, 30), top=2)

    assert len(result) == len(result.labels) == len(result.class_names) == 2
    assert result.scores[0] >= result.scores[1]
    assert result.class_names[0] == ("ant", "cat", "dog")[result.labels[0]]
    assert repr(result).startswith(f"ClassResult({result.class_names[0]} 0.")
    assert len(spinet.load(path).predict(noise(40, 30), top=9)) == 3
    for refused in (result.plot, lambda: result.save("a.png"), lambda: result.to_coco(image_id=1)):
        with pytest.raises(spinet.SpinetError, match="a classifier predicts no boxes"):
            refused()


# --- models ---


@pytest.mark.slow
@pytest.mark.parametrize(("format", "name"), [("onnx", "model.onnx"), ("openvino", "ov"), ("pt2", "model.pt2")])
def test_an_exported_file_predicts_what_its_run_predicts(weights, image_file, tmp_path, format, name):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino", "pt2": "torch"}[format])

    agreement = spinet.export(str(weights), str(tmp_path / name), format=format)
    ours, theirs = (spinet.load(path).predict(image_file) for path in (weights, str(tmp_path / name)))

    assert agreement.matched == 1.0
    assert len(ours) == len(theirs)
    # Rounding may swap objects of nearly the same score.
    same = ours.labels[:, None] == theirs.labels
    same &= np.abs(ours.boxes[:, None] - theirs.boxes).max(axis=2) <= 0.1
    same &= np.abs(ours.scores[:, None] - theirs.scores) <= 1e-3
    assert same.any(axis=1).all()
    assert same.any(axis=0).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threads": -1}, "threads is -1; must be 1 to 1000, or 0 for as many"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"device": "quantum"}, "device 'quantum' is not available"),
    ],
)
def test_options_that_do_not_apply_to_a_run_are_refused(weights, options, sentence):
    with pytest.raises(spinet.SpinetError, match=sentence):
        spinet.load(weights, **options)


def test_missing_and_foreign_files_are_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    with pytest.raises(spinet.SpinetError, match="there is no weights file or run folder gone"):
        spinet.load("gone")
    with pytest.raises(spinet.SpinetError, match="could not read the weights file"):
        spinet.load(tmp_path / "x.safetensors")
    with pytest.raises(spinet.SpinetError, match="there is no exported file gone.onnx"):
        spinet.load("gone.onnx")


# --- training and evaluation ---


@pytest.mark.slow
def test_training_from_a_recipe_with_strings_and_settings_writes_a_run_to_load(digits, tmp_path):
    settings = {"model.arch": "tiny", "data.image_size": 64, "optim": {"warmup_epochs": 0}, "data__workers": 0}

    result = spinet.train(
        "demo", str(tmp_path / "run"), data=str(digits), epochs=1, batch_size=8, device="cpu", quiet=True, **settings
    )

    config = spinet.load_recipe(str(tmp_path / "run" / "config.json"))
    assert (config.model.arch, config.data.image_size, config.epochs) == ("tiny", 64, 1.0)
    assert config.data.root == str(digits)
    metrics = spinet.evaluate(str(tmp_path / "run"), device="cpu")
    assert metrics["AP"] == pytest.approx(result.best["AP"], abs=1e-9)
    assert spinet.evaluate(spinet.load(tmp_path / "run"), str(digits), "train")["AR100"] >= 0


@pytest.mark.slow
def test_a_config_and_a_path_train_as_before(digits, tmp_path):
    config = spinet.load_recipe("demo")
    config = replace(config, epochs=0.5, device="cpu", data=replace(config.data, root=str(digits), image_size=64))

    assert spinet.train(config, tmp_path / "run", quiet=True).steps == 1
    assert (tmp_path / "run" / "last.safetensors").is_file()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epoch": 3}, "unknown setting 'epoch', did you mean 'epochs'"),
        ({"arch": "tiny"}, "unknown setting 'arch', did you mean 'model.arch'"),
        ({"model.archh": "tiny"}, "unknown setting 'model.archh', did you mean 'model.arch'"),
        ({"model__archh": "tiny"}, "did you mean 'model.arch'"),
        ({"modell": {"arch": "tiny"}}, "unknown setting 'modell.arch', did you mean 'model.arch'"),
        ({"qqqqqqqqqqq": 1}, "unknown setting 'qqqqqqqqqqq'; `spinet.TrainConfig` lists"),
        ({"epochs": "many"}, "setting epochs|epochs"),
        ({"model": 3}, "model"),
        ({"model.head": "yolo"}, "unknown model.head 'yolo'"),
    ],
)
def test_settings_that_are_unknown_or_wrong_are_refused(settings, sentence):
    with pytest.raises(spinet.SpinetError, match=sentence):
        change_settings(spinet.TrainConfig(), settings)


@pytest.mark.slow
def test_errors_from_python_name_settings_and_no_options_of_the_command_line(weights, tmp_path):
    attempts = [
        lambda: spinet.train("small-cpu", tmp_path / "run"),
        lambda: spinet.train("smal-cpu", tmp_path / "run"),
        lambda: spinet.evaluate(weights),
        lambda: spinet.evaluate(finder()),
        lambda: spinet.evaluate(weights, tmp_path, image_size=0),
        lambda: spinet.load(weights, threads=1001),
        lambda: spinet.export(weights, "x.onnx", format="pt2"),
        lambda: spinet.export(weights, "x.onnx", precision="int8"),
        lambda: spinet.export(weights, "ov", format="openvino", precision="int8"),
        lambda: spinet.export("gone.onnx", "x.onnx"),
    ]
    for attempt in attempts:
        with pytest.raises(spinet.SpinetError) as caught:
            attempt()
        assert "--" not in str(caught.value)


# --- names ---


def test_all_public_names_can_be_imported():
    for name in spinet.__all__:
        assert getattr(spinet, name) is not None
    assert set(spinet.__all__) == set(spinet._MODULE_OF)


def test_importing_the_package_imports_no_torch():
    code = "import sys, spinet; spinet.load_architecture('tiny'); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_paths_may_be_strings(digits, tmp_path):
    files = sorted(str(path) for path in Path(digits / "val").iterdir())

    assert spinet.read_image(files[0]).shape == (3, 64, 64)
    assert len(spinet.CocoDataset(str(digits), "val").samples) == 8
    assert spinet.crop_boxes(str(digits), str(tmp_path / "crops")).crops["val"]
    assert len(spinet.ClassDataset(str(tmp_path / "crops"), "val").samples) > 0


# --- nothing is ignored in silence ---


def test_an_r_cnn_refuses_options_of_retinanet():
    for option in ({"box_coding": "mmdet"}, {"background": True}):
        with pytest.raises(SpinetError, match=f"{next(iter(option))} .* is for RetinaNet"):
            spinet.create_rcnn("tiny", 3, **option)


def test_options_of_opening_are_refused_for_a_model_that_is_open(digits):
    for option in ({"device": "cpu"}, {"threads": 1}, {"precision": "bf16"}, {"fused": True}):
        with pytest.raises(SpinetError, match="loaded already"):
            spinet.evaluate(finder(), digits, **option)


@pytest.mark.parametrize(
    ("option", "sentence"), [({"image_size": (64, 96)}, "image_size"), ({"workers": -1}, "workers")]
)
def test_evaluation_names_an_option_of_the_wrong_kind(digits, option, sentence):
    with pytest.raises(SpinetError, match=f"{sentence} must be"):
        spinet.evaluate(finder(), digits, **option)


def test_numbers_of_numpy_are_settings():
    assert (
        change_settings(spinet.TrainConfig(), {"epochs": np.int64(300), "model__dropblock": np.float32(0)}).epochs
        == 300
    )


@pytest.mark.slow
def test_an_open_dataset_is_enough_to_train(digits):
    train, val = (spinet.CocoDataset(digits, split) for split in ("train", "val"))
    small = {"epochs": 0.2, "model__arch": "tiny", "data__image_size": 64, "data__workers": 0}
    assert spinet.train("demo", None, train_set=train, val_set=val, quiet=True, **small).steps >= 1


def test_a_result_keeps_its_image_when_the_callers_buffer_is_reused():
    buffer = torch.full((3, 40, 40), 10, dtype=torch.uint8)
    result = finder().predict(buffer)
    buffer += 200
    assert int(result.image.max()) == 10


def test_a_suffix_that_pillow_cannot_write_is_refused(tmp_path):
    for name in ("a.hdf", "a.xyz", "a"):
        with pytest.raises(SpinetError, match="must end in an image suffix|could not write"):
            finder().predict(noise(40, 40)).save(tmp_path / name)


def test_an_unknown_export_format_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(SpinetError, match="unknown format 'onx', did you mean 'onnx'"):
        spinet.export(tmp_path / "nothing", tmp_path / "x.onnx", format="onx")
