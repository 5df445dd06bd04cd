"""Predictions as files of other tools, read back by readers that are not the writers'."""

import csv
import io
import json
import zipfile

import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from small_models import Finder

from spinet.arch.catalog import load_architecture
from spinet.data.coco import CocoDataset
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.formats.yolo_labels import LabelFiles
from spinet.predict.files import predict_files
from spinet.predict.predictor import Predictor

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("ant", "big cat"), (3, 8), 64)


def predicted(tmp_path, formats, masks=False):
    for name in ("a.png", "b/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (200, 100)).save(tmp_path / name)
    paths = [tmp_path / "a.png", tmp_path / "b/a.png"]
    list(predict_files(Predictor(Finder(masks), INFO), paths, tmp_path / "out", save_as=formats))
    return tmp_path / "out"


def test_the_coco_file_is_a_dataset_with_scores(tmp_path):
    out = predicted(tmp_path, ["coco"], masks=True)

    loaded = COCO(str(out / "detections-coco.json"))
    first = loaded.loadAnns(loaded.getAnnIds(imgIds=[2]))[0]
    assert loaded.loadImgs([2])[0]["file_name"].endswith("b/a.png")
    assert (first["category_id"], first["bbox"], first["score"]) == (8, [0, 0, 100, 50], pytest.approx(0.9))
    assert mask_api.area(loaded.annToRLE(first)) == pytest.approx(50 * 50, rel=0.05)
    assert first["area"] == mask_api.area(loaded.annToRLE(first))
    assert [each["name"] for each in loaded.loadCats(loaded.getCatIds())] == ["ant", "big cat"]


def test_what_was_predicted_can_be_opened_as_annotations(tmp_path):
    out = predicted(tmp_path, ["coco"])
    (tmp_path / "set" / "annotations").mkdir(parents=True)
    (tmp_path / "set" / "val").mkdir()
    content = json.loads((out / "detections-coco.json").read_text())
    for number, image in enumerate(content["images"]):
        image["file_name"] = f"{number}.png"
        Image.new("RGB", (200, 100)).save(tmp_path / "set" / "val" / f"{number}.png")
    (tmp_path / "set" / "annotations" / "val.json").write_text(json.dumps(content))

    assert len(CocoDataset(tmp_path / "set", "val", masks=False).samples) == 2


def test_yolo_labels_are_read_back_as_the_same_boxes_and_no_file_replaces_another(tmp_path):
    out = predicted(tmp_path, ["yolo"])

    with zipfile.ZipFile(out / "detections-yolo.zip") as archive:
        assert archive.namelist() == ["classes.txt", "labels/a.txt", "labels/a-2.txt"]
        archive.extractall(tmp_path / "read")
    assert (tmp_path / "read" / "classes.txt").read_text() == "ant\nbig cat\n"
    cat, ant = LabelFiles(2).read(tmp_path / "read" / "labels" / "a.txt", 200, 100)
    assert (cat["category_id"], cat["bbox"]) == (2, [0, 0, 100, 50])
    assert (ant["category_id"], ant["bbox"]) == (1, [25, 25, 50, 50])


def test_labels_are_named_as_the_pictures_also_after_an_image_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b").mkdir()
    Image.new("RGB", (200, 100)).save(tmp_path / "b" / "a.png")
    paths = [tmp_path / "a.png", tmp_path / "b/a.png"]
    list(predict_files(Predictor(Finder(False), INFO), paths, tmp_path / "out", save_as=["yolo"]))

    with zipfile.ZipFile(tmp_path / "out" / "detections-yolo.zip") as archive:
        assert archive.namelist() == ["classes.txt", "labels/a-2.txt"]
    assert (tmp_path / "out" / "a-2.jpg").is_file()


def test_the_table_has_a_row_per_object(tmp_path):
    out = predicted(tmp_path, ["csv"])

    rows = list(csv.DictReader(io.StringIO((out / "detections.csv").read_text())))

    assert len(rows) == 4
    assert (rows[0]["class"], rows[0]["score"], rows[0]["width"]) == ("big cat", "0.9000", "100.00")


def test_a_classifier_has_no_boxes_to_write(tmp_path):
    info = ModelInfo(load_architecture("tiny"), ModelConfig(head="classifier", arch="tiny"), ("ant", "cat"), (1, 2), 64)

    class Sure(torch.nn.Module):
        def predict(self, images, top):
            return {"scores": torch.tensor([[0.75, 0.25]]), "labels": torch.tensor([[1, 0]])}

    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    predictor = Predictor(Sure(), info)

    with pytest.raises(SpinetError, match="yolo is for detectors, and this model is a classifier; choose csv"):
        list(predict_files(predictor, [tmp_path / "a.png"], tmp_path / "out", save_as=["csv", "yolo"]))
    assert not (tmp_path / "out").exists()

    list(predict_files(predictor, [tmp_path / "a.png"], tmp_path / "out", save_as=["csv"]))
    assert (tmp_path / "out" / "detections.csv").read_text() == "file,class,score\na.png,cat,0.7500\na.png,ant,0.2500\n"
