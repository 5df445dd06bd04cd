import json

import pytest
import torch
from PIL import Image

from spinet.arch.catalog import load_architecture
from spinet.engine.build import ModelInfo
from spinet.engine.checkpoint import save_weights
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.predict.files import predict_files
from spinet.predict.open import load
from spinet.predict.predictor import Predictor

MODEL = ModelConfig(head="classifier", arch="tiny")
INFO = ModelInfo(load_architecture("tiny"), MODEL, ("ant", "cat", "dog"), (2, 3, 8), 32)


class Guesser(torch.nn.Module):
    """ClassPredictions dog, then ant, then cat."""

    def predict(self, images, top):
        rows = len(images)
        scores, labels = torch.tensor([[0.75, 0.15, 0.1]] * rows), torch.tensor([[2, 0, 1]] * rows)
        return {"scores": scores[:, :top], "labels": labels[:, :top]}


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(Guesser(), INFO)


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (40, 30), (90, 120, 150)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_json_holds_the_classes_best_first(predictor, photo, tmp_path):
    [prediction] = predict_files(predictor, [photo], tmp_path / "out", top=2)

    [entry] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert entry == prediction.entry
    assert entry == {
        "file": str(photo),
        "width": 40,
        "height": 30,
        "guesses": [
            {"category_id": 8, "class": "dog", "score": 0.75},
            {"category_id": 2, "class": "ant", "score": 0.15},
        ],
    }


def test_a_line_names_the_image_and_its_classes(predictor, photo, tmp_path):
    [prediction] = predict_files(predictor, [photo], tmp_path / "out")

    assert str(prediction) == f"{photo}  dog 0.75, ant 0.15, cat 0.10"


def test_an_unreadable_image_is_reported_and_the_others_are_predicted(predictor, photo, tmp_path):
    (tmp_path / "b.png").write_bytes(b"")

    bad, good = predict_files(predictor, [tmp_path / "b.png", photo], tmp_path / "out")

    assert "the file is empty" in str(bad)
    assert bad.entry is None
    assert good.entry is not None
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 1


def test_top_below_one_is_refused(predictor, photo, tmp_path):
    with pytest.raises(SpinetError, match="top is 0; must be at least 1"):
        list(predict_files(predictor, [photo], tmp_path / "out", top=0))


@pytest.mark.slow
def test_a_weights_file_is_loaded_and_predicts(photo, tmp_path):
    save_weights(tmp_path / "weights.safetensors", INFO.create_model().state_dict(), INFO, {})

    result = load(tmp_path / "weights.safetensors").predict(torch.zeros(3, 30, 40, dtype=torch.uint8), top=2)

    assert result.labels.shape == result.scores.shape == (2,)
    assert result.scores[0] >= result.scores[1]
