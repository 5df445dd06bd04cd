"""Networks small enough to run in milliseconds."""

import pytest
import torch

from spinet.arch.catalog import Architecture, load_architecture
from spinet.arch.scaling import Scaling
from spinet.models.factory import create_retinanet
from spinet.models.retinanet import RetinaNet


@pytest.fixture(scope="session")
def narrow() -> Architecture:
    """SpineNet-49's graph, 2 to 16 channels wide."""
    scaling = Scaling(width=0.0625, endpoint_channels=4, stem_channels=4, head_channels=4, head_convs=1)
    return Architecture(load_architecture("spinenet49").genotype, scaling)


@pytest.fixture
def tiny_detector() -> RetinaNet:
    """The tiny architecture for three classes, always with the same weights."""
    torch.manual_seed(0)
    return create_retinanet(load_architecture("tiny"), num_classes=3)
