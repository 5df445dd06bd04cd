from dataclasses import replace

import pytest
import torch

from spinet.arch.catalog import load_architecture
from spinet.deploy.manifest import Manifest
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig
from spinet.errors import SpinetError
from spinet.predict.predictor import Predictor

INFO = ModelInfo(load_architecture("tiny"), ModelConfig(arch="tiny"), ("cat", "dog"), (1, 2), 64, (0.4, 0.7))
IMAGE = torch.zeros(3, 64, 64, dtype=torch.uint8)


class Detector:
    """Finds four objects in every image, of which it returns those above a score."""

    training = False

    def predict(self, images, *, score_threshold=0.05):
        scores = torch.tensor([0.9, 0.6, 0.5, 0.3])
        found = {
            "boxes": torch.tensor([[0.0, 0, 9, 9]]).repeat(4, 1),
            "scores": scores,
            "labels": torch.tensor([1, 1, 0, 0]),
        }
        return [{name: value[scores >= score_threshold] for name, value in found.items()} for _ in images]


def test_auto_takes_the_threshold_of_each_class():
    found = Predictor(Detector(), INFO).predict(IMAGE, score_threshold="auto")

    assert found.class_names == ("dog", "cat")
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    assert len(Predictor(Detector(), INFO).predict(IMAGE, score_threshold=0.5)) == 3


def test_weights_without_thresholds_say_so():
    with pytest.raises(SpinetError, match="hold no score thresholds for 'auto'"):
        Predictor(Detector(), replace(INFO, thresholds=())).predict(IMAGE, score_threshold="auto")


@pytest.mark.parametrize("value", ["best", 1.5, -0.1, None])
def test_other_thresholds_are_refused(value):
    with pytest.raises(SpinetError, match=r"must be from 0 to 1, or 'auto'"):
        Predictor(Detector(), INFO).predict(IMAGE, score_threshold=value)


def test_thresholds_travel_in_the_metadata_also_of_exported_files():
    assert ModelInfo.from_metadata(INFO.to_metadata(), "weights").thresholds == (0.4, 0.7)
    without = replace(INFO, thresholds=())
    assert "thresholds" not in without.to_metadata()
    assert ModelInfo.from_metadata(without.to_metadata(), "weights") == without

    manifest = Manifest(INFO, (64, 64), 1, ("boxes", "scores", "labels"), "fp32", {})
    assert Manifest.from_json(manifest.to_json(), "file").info.thresholds == (0.4, 0.7)


@pytest.mark.parametrize("text", ["[0.4]", "[0.4, 1.7]", '["a", 0.1]', "{}"])
def test_corrupt_thresholds_are_refused(text):
    with pytest.raises(SpinetError, match="metadata of weights is corrupt"):
        ModelInfo.from_metadata({**INFO.to_metadata(), "thresholds": text}, "weights")


@pytest.mark.slow
def test_predict_takes_auto_from_the_weights(learnt, digits, spinet, tmp_path):
    images = sorted((digits / "train").iterdir())[:3]

    code, _, error = spinet("predict", learnt, *images, "--score", "auto", "-o", tmp_path)
    refused = spinet("predict", learnt, *images, "--score", "best", "-o", tmp_path)

    assert code == 0, error
    assert refused[0] != 0
