import pytest

from spinet.errors import SpinetError
from spinet.models.classifier import Classifier
from spinet.models.factory import create_backbone, create_classifier, create_rcnn, create_retinanet


@pytest.mark.parametrize("create", [create_retinanet, create_rcnn, create_classifier])
def test_an_unknown_option_is_refused_with_the_nearest_match(create):
    with pytest.raises(SpinetError, match="unknown option 'activaton', did you mean 'activation'?"):
        create("tiny", 3, activaton="swish")


def test_the_network_itself_refuses_it_too():
    backbone = create_backbone("tiny", levels=None)
    with pytest.raises(SpinetError, match="unknown option 'anchors'"):
        type(create_retinanet("tiny", 3))(backbone, 3, anchors=4)
    with pytest.raises(SpinetError, match="unknown option 'width'"):
        create_backbone("tiny", levels=None, width=0.5)


@pytest.mark.parametrize("smoothing", [-0.1, 1, 7, float("nan")])
def test_label_smoothing_is_a_fraction_below_1(smoothing):
    with pytest.raises(SpinetError, match="label_smoothing is .*; it must be at least 0 and below 1"):
        create_classifier("tiny", 3, label_smoothing=smoothing)
    assert isinstance(create_classifier("tiny", 3, label_smoothing=0.1), Classifier)
