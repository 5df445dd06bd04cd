"""Exported files: they find what the network finds, say what they are, and refuse what they are not made for."""

import importlib
import json
import re
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image

from spinet.arch.catalog import load_architecture
from spinet.data.class_transforms import ClassEvalTransform
from spinet.data.transforms import EvalTransform
from spinet.engine.checkpoint import ModelInfo, save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.models.detections import Limits, select_detections
from spinet.tools.export import ExportOptions, export, export_model
from spinet.tools.export_check import check, matches, photo_like
from spinet.tools.export_formats import onnx_bytes
from spinet.tools.export_graph import create_graph, letterbox, prepare, to_pixels
from spinet.tools.export_manifest import Manifest, current_versions, import_export
from spinet.tools.exported import ExportedClassifier, ExportedDetector
from spinet.tools.exported_sessions import open_session
from spinet.tools.predict import Predictor

SIZE = 64
# Ten sizes, among them a single pixel and strips.
PHOTO_SIZES = [(1, 1), (64, 64), (63, 65), (7, 300), (300, 7), (480, 640), (33, 64), (2, 128), (129, 90), (640, 100)]


def tiny(head: str = "retinanet", classes: int = 3, image_size: int = SIZE, **settings):
    """Build a network that finds something everywhere, and its description."""
    torch.manual_seed(0)
    names = tuple(f"class {label}" for label in range(classes))
    model_config = ModelConfig(arch="tiny", head=head, **settings)
    info = ModelInfo(load_architecture("tiny"), model_config, names, tuple(range(10, 10 + 5 * classes, 5)), image_size)
    model = info.create_model().train()
    with torch.no_grad():
        if head == "retinanet":
            # Scores around a half that differ from place to place.
            torch.nn.init.normal_(model.classes.predictor.weight, std=0.3)
            torch.nn.init.normal_(model.boxes.predictor.weight, std=0.05)
            torch.nn.init.constant_(model.classes.bias, -2.0)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        if head in ("retinanet", "classifier"):
            model(normalised(photo_like(4, image_size)))
    return model.eval(), info


def normalised(pictures):
    return torch.stack([EvalTransform(picture.shape[0])(picture.permute(2, 0, 1))[0] for picture in pictures])


class Eager:
    """The network itself in the place of a file; `wrong` is added to its scores."""

    def __init__(self, model, info, wrong: float = 0.0):
        self.graph = create_graph(model)
        self.manifest = Manifest(info, 1, self.graph.output_names, "fp32", current_versions())
        self.wrong = wrong

    @torch.no_grad()
    def run(self, images):
        outputs = dict(zip(self.manifest.outputs, self.graph(images), strict=False))
        return outputs | {"scores": outputs["scores"] + self.wrong} if "scores" in outputs else outputs


@pytest.fixture(scope="module")
def detector():
    return tiny()


@pytest.fixture(scope="module")
def onnx_file(detector, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_model(*detector, path, ExportOptions("onnx", batch_size=2))
    return path


# --- the graph ---


@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_the_square_of_a_file_is_the_one_that_evaluation_makes(size):
    photo = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)

    expected, expected_scale = EvalTransform(SIZE)(photo)
    pixels, scale = letterbox(photo, SIZE)

    assert torch.equal(pixels, to_pixels(expected[None])[0])
    assert torch.equal(scale, expected_scale)


def test_a_graph_sees_exactly_what_the_network_sees_padding_too(detector):
    photo = photo_like(1, 80)[0].permute(2, 0, 1)[:, :50]

    seen = create_graph(detector[0]).normalise(letterbox(photo, SIZE)[0][None])

    torch.testing.assert_close(seen, EvalTransform(SIZE)(photo)[0][None], rtol=0, atol=1e-6)
    assert (seen[:, :, 40:] == 0).all()


@pytest.mark.parametrize("background", [False, True])
def test_a_graph_finds_what_predict_finds_in_fixed_shapes(background):
    model, _ = tiny(background=background)
    graph, pictures = create_graph(model), torch.stack(photo_like(2, SIZE))

    with torch.no_grad():
        boxes, scores, labels, *_ = graph(pictures)

    for image, expected in enumerate(model.predict(graph.normalise(pictures))):
        count = len(expected["labels"])
        assert count > 10
        assert labels[image].tolist() == expected["labels"].tolist() + [-1] * (100 - count)
        torch.testing.assert_close(boxes[image, :count], expected["boxes"])
        torch.testing.assert_close(scores[image, :count], expected["scores"])


def test_boxes_that_are_moved_apart_are_chosen_like_boxes_of_groups(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(1, 300, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(1, 300, 2, generator=generator)], dim=2)
    scores, labels = torch.rand(1, 300, generator=generator), torch.randint(0, 4, (1, 300), generator=generator)
    expected = select_detections(boxes, scores, labels, Limits())

    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    found = select_detections(boxes, scores, labels, Limits())

    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


# --- the comparison ---


def test_a_network_agrees_with_its_fused_form(detector):
    model, info = detector

    agreement = check(create_graph(model), Eager(prepare(model), info), photo_like(2, SIZE), "fp32", "x.onnx")

    assert agreement.matched == 1.0
    assert agreement.detections > 20


def test_a_file_that_computes_something_else_is_refused(detector):
    with pytest.raises(SpinetError, match="x.onnx was not written: it computes something else than the network"):
        check(create_graph(detector[0]), Eager(*detector, wrong=0.01), photo_like(2, SIZE), "fp32", "x.onnx")


def test_a_file_whose_outputs_are_not_numbers_is_refused():
    model, info = tiny("classifier")
    broken = Eager(model, info)
    broken.run = lambda images: {"probabilities": torch.full((1, 3), torch.nan)}

    with pytest.raises(SpinetError, match="computes something else"):
        check(create_graph(model), broken, photo_like(1, SIZE), "fp32", "x.onnx")


def test_low_precision_has_to_find_the_same_class_in_about_the_same_place():
    box = torch.tensor([[10.0, 10, 30, 30]])
    ours = {"boxes": box, "scores": torch.tensor([0.9]), "labels": torch.tensor([1])}

    assert matches(ours, ours | {"boxes": box + 2}, exact=False).tolist() == [True]
    assert matches(ours, ours | {"boxes": box + 2}, exact=True).tolist() == [False]
    assert matches(ours, ours | {"labels": torch.tensor([2])}, exact=False).tolist() == [False]


# --- the manifest ---


def test_a_manifest_survives_its_text(detector):
    manifest = Manifest(detector[1], 3, ("boxes",), "int8", {"spinet": "1", "torch": "2"})

    assert Manifest.from_json(manifest.to_json(), "x.onnx") == manifest


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "spinet-export-0"}, "x.onnx is an export of the version 'spinet-export-0'"),
        ({"batch_size": "many"}, "the manifest of x.onnx is damaged"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"model": {}}, "x.onnx is not a Spinet weights file"),
    ],
)
def test_a_manifest_that_is_not_ours_is_one_sentence(detector, change, sentence):
    text = Manifest(detector[1], 1, ("boxes",), "fp32", {}).to_json()

    with pytest.raises(SpinetError, match=sentence):
        Manifest.from_json(json.dumps(json.loads(text) | change), "x.onnx")


def test_a_file_without_a_manifest_says_which_command_makes_one():
    with pytest.raises(SpinetError, match="no manifest of Spinet in it; `spinet export`"):
        Manifest.from_json(None, "x.onnx")


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "bf16"}, "bf16 is for --format openvino; onnx files compute in fp32"),
        ({"format": "openvino", "precision": "int8"}, "pass --calibration DIR"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"image_size": 0}, "image_size is 0"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, sentence):
    with pytest.raises(SpinetError, match=sentence):
        ExportOptions(**options)


@pytest.fixture
def run_file(detector, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, detector[0].state_dict(), detector[1], {})
    return path


def test_a_calibration_folder_without_images_is_refused_before_anything_is_computed(run_file, tmp_path, spinet):
    (tmp_path / "photos").mkdir()

    code, _, error = spinet(
        "export",
        run_file,
        "-o",
        tmp_path / "ov",
        "--format",
        "openvino",
        "--int8",
        "--calibration",
        tmp_path / "photos",
    )

    assert code == 1
    assert "photos holds no image" in error
    assert not (tmp_path / "ov" / "model.xml").exists()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [("onnxscript", ()), ("openvino", ("--format", "openvino")), ("onnxruntime", ("--format", "onnx"))],
)
def test_a_missing_extra_is_named_before_anything_is_computed(
    run_file, tmp_path, spinet, monkeypatch, module, arguments
):
    load = importlib.import_module

    def without(name, *rest):
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    out = tmp_path / ("ov" if "openvino" in arguments else "x.onnx")

    code, _, error = spinet("export", run_file, "-o", out, *arguments)

    assert code == 1
    missing = re.search(r"needs (\w+), which is not installed: pip install 'spinet\[export\]'", error)
    # Where the extra is not installed at all, another of its packages may be missed first.
    assert missing is not None, error
    assert not out.exists()


def test_no_package_reports_the_use_of_exports(monkeypatch):
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)

    import_export("json", "exporting")

    with pytest.raises(ImportError):
        importlib.import_module("openvino_telemetry")


def test_the_name_of_a_file_has_to_end_as_its_format_asks(run_file, tmp_path):
    with pytest.raises(SpinetError, match="--format pt2 writes a file that ends in .pt2, not"):
        export(run_file, tmp_path / "x.onnx", ExportOptions("pt2"))


@pytest.mark.parametrize(("setting", "value"), [("--threads", "1"), ("--precision", "bf16")])
def test_settings_of_exported_files_are_refused_for_a_run(run_file, spinet, setting, value):
    code, _, error = spinet("evaluate", run_file, setting, value)

    assert code == 1
    assert f"{setting} is for exported files, and {run_file} is none" in error


@pytest.mark.parametrize(
    ("name", "sentence"), [("none.onnx", "there is no exported file"), ("x.xml", "lacks its other half, x.bin")]
)
def test_files_that_are_missing_are_named(tmp_path, name, sentence):
    (tmp_path / "x.xml").write_text("<net/>")

    with pytest.raises(SpinetError, match=sentence):
        open_session(tmp_path / name)


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_damaged_file_is_one_sentence(tmp_path, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"not a model")

    with pytest.raises(SpinetError, match=r"could not read .*x\." + suffix):
        open_session(path)


@pytest.mark.parametrize("shape", [(3, 0, 5), (3, 5, 0), (1, 5, 5)])
def test_an_image_of_no_size_is_one_sentence(detector, shape):
    with pytest.raises(SpinetError, match="has no pixels to look at"):
        ExportedDetector(Eager(*detector))(torch.zeros(shape, dtype=torch.uint8))


def test_images_of_another_size_than_the_file_takes_are_refused(detector):
    with pytest.raises(SpinetError, match=r"exported for \(N, 64, 64, 3\)"):
        ExportedDetector(Eager(*detector)).predict(torch.zeros(1, 3, 32, 32))


# --- files ---


@pytest.mark.slow
@pytest.mark.parametrize("size", PHOTO_SIZES)
def test_an_onnx_file_finds_what_the_network_finds_in_photos_of_any_shape(detector, onnx_file, size):
    photo = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)

    ours = Predictor(*detector, torch.device("cpu"))(photo)
    theirs = ExportedDetector.load(onnx_file)(photo)

    # In an even area, as padding is, scores are equal and which of two boxes stays is chance: boxes there have no area
    # in the photo. A single pixel is nothing but an even area.
    inside = (ours["boxes"][:, 2:] > ours["boxes"][:, :2]).all(dim=1)
    same = matches(ours, theirs, exact=True)[inside]
    assert (theirs["boxes"] >= 0).all()
    assert (theirs["boxes"] <= torch.tensor([size[1], size[0]] * 2)).all()
    assert size == (1, 1) or same.float().mean() > 0.9


@pytest.mark.slow
def test_an_odd_last_batch_is_filled_up_and_what_is_found_there_left_out(detector, onnx_file):
    images = normalised(photo_like(3, SIZE))

    found = ExportedDetector.load(onnx_file, threads=1).predict(images)

    assert [len(each["labels"]) for each in found] == [len(each["labels"]) for each in detector[0].predict(images)]


@pytest.mark.slow
def test_an_onnx_file_gives_detections_alone_and_nothing_where_nothing_is(detector, onnx_file):
    session = open_session(onnx_file)
    outputs = session.run(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8))

    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        "boxes": (2, 100, 4),
        "scores": (2, 100),
        "labels": (2, 100),
    }
    assert session.manifest.info == replace(detector[1], image_size=SIZE)
    assert session.manifest.batch_size == 2


@pytest.mark.slow
def test_an_onnx_file_of_another_version_or_of_somebody_else_is_one_sentence(onnx_file, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    text = model.metadata_props[0].value
    for value, sentence in {
        text.replace("spinet-export-1", "spinet-export-9"): "'spinet-export-9'",
        "": "no manifest",
    }.items():
        onnx.helper.set_model_props(model, {"spinet": value})
        (tmp_path / "x.onnx").write_bytes(onnx_bytes(model))
        with pytest.raises(SpinetError, match=sentence):
            open_session(tmp_path / "x.onnx")


@pytest.mark.slow
def test_a_file_that_differs_leaves_the_one_before_untouched(detector, onnx_file, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"before")

    def refuse(*_):
        raise SpinetError("it differs")

    monkeypatch.setattr("spinet.tools.export.check", refuse)
    with pytest.raises(SpinetError, match="it differs"):
        export_model(*detector, path, ExportOptions("onnx"))

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_openvino_files_agree_in_fp32_and_find_as_much_in_bf16(detector, tmp_path):
    pytest.importorskip("openvino")

    full = export_model(*detector, tmp_path / "full" / "model.xml", ExportOptions("openvino"))

    assert full.matched == 1.0
    image = photo_like(1, 100)[0].permute(2, 0, 1)
    ours = Predictor(*detector, torch.device("cpu"))(image)
    half = ExportedDetector.load(tmp_path / "full", precision="bf16")(image)
    assert abs(len(half["labels"]) - len(ours["labels"])) <= 0.1 * len(ours["labels"])


@pytest.fixture
def calibration(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, picture in enumerate(photo_like(8, 90)):
        Image.fromarray(picture.numpy()).save(photos / f"{index}.png")
    return ExportOptions("openvino", precision="int8", calibration=photos)


@pytest.mark.slow
def test_a_classifier_in_eight_bits_guesses_nearly_the_same(calibration, tmp_path):
    agreement = export_model(*tiny("classifier"), tmp_path / "small" / "model.xml", calibration)

    assert 0.95 <= agreement.cosine < 1.0
    assert open_session(tmp_path / "small").manifest.precision == "int8"


@pytest.mark.slow
def test_a_detector_that_does_not_survive_eight_bits_is_refused(detector, calibration, tmp_path):
    # This one was never trained: what it finds hangs on small differences.
    with pytest.raises(SpinetError, match="was not written: it computes something else"):
        export_model(*detector, tmp_path / "small" / "model.xml", calibration)

    assert list((tmp_path / "small").iterdir()) == []


@pytest.mark.slow
def test_a_program_of_torch_finds_what_the_network_finds(detector, tmp_path):
    path = tmp_path / "x.pt2"

    export_model(*detector, path, ExportOptions("pt2"))

    images = create_graph(detector[0]).normalise(torch.stack(photo_like(2, SIZE)))
    for theirs, ours in zip(ExportedDetector.load(path).predict(images), detector[0].predict(images), strict=True):
        # Of two nearly equal scores either may come first.
        assert len(theirs["labels"]) == len(ours["labels"]) > 10
        assert matches(ours, theirs, exact=True).float().mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "openvino", "pt2"])
def test_an_exported_classifier_guesses_what_the_network_guesses(tmp_path, kind):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino", "pt2": "torch"}[kind])
    model, info = tiny("classifier")
    path = tmp_path / {"onnx": "x.onnx", "openvino": "x.xml", "pt2": "x.pt2"}[kind]
    export_model(model, info, path, ExportOptions(kind))
    photo = photo_like(1, 100)[0].permute(2, 0, 1)

    guesses = ExportedClassifier.load(path)(photo, top=2)

    expected = model.predict(ClassEvalTransform(SIZE)(photo)[None], top=2)
    assert guesses["labels"].tolist() == expected["labels"][0].tolist()
    torch.testing.assert_close(guesses["scores"], expected["scores"][0], rtol=1e-3, atol=1e-4)
    with pytest.raises(SpinetError, match="holds a classifier, but a detector is asked for"):
        ExportedDetector.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_masks_are_exported_too(tmp_path, kind):
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[kind])
    model, info = tiny("mask-rcnn", proposals=30)
    path = tmp_path / ("x.onnx" if kind == "onnx" else "x.xml")

    agreement = export_model(model, info, path, ExportOptions(kind))

    assert agreement.detections > 10
    found = ExportedDetector.load(path)(photo_like(1, 90)[0].permute(2, 0, 1), score_threshold=0.05)
    assert len(found["masks"]) == len(found["labels"])
    assert found["masks"][0]["size"] == [90, 90]


@pytest.mark.slow
def test_an_exported_file_takes_the_place_of_a_run_on_the_command_line(detector, onnx_file, digits, tmp_path, spinet):
    model, info = detector
    weights = tmp_path / "weights.safetensors"
    names = ("zero", "one", "two")
    save_weights(weights, model.state_dict(), replace(info, class_names=names, category_ids=(1, 2, 3)), {})
    code, out, error = spinet("export", weights, "-o", tmp_path / "x.onnx")
    assert code == 0, error
    assert "100.0% of" in out

    results = [spinet("evaluate", path, "--data.root", digits, "--json") for path in (weights, tmp_path / "x.onnx")]

    assert [code for code, _, _ in results] == [0, 0], results
    ours, theirs = (json.loads(out) for _, out, _ in results)
    assert theirs["AP"] == pytest.approx(ours["AP"], abs=1e-3)
    photos = next(digits.glob("val*"))
    settings = ("--batch-size", 3, "--coco-results", tmp_path / "coco.json", "--score", 0.05)
    code, out, error = spinet("predict", tmp_path / "x.onnx", photos, "--out", tmp_path / "out", *settings)
    assert code == 0, error
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 8
    assert len(json.loads((tmp_path / "coco.json").read_text())) > 8
