"""SpineNet in PyTorch: scale-permuted backbones that you can build, search, train and ship.

Names are imported on first use, so that `import spinet` and architectures never wait for torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinet.arch.block_spec import BlockSpec
    from spinet.arch.catalog import Architecture, load_architecture
    from spinet.arch.genotype import Genotype
    from spinet.arch.scaling import Scaling
    from spinet.engine.checkpoint import load_backbone, load_classifier, load_detector, load_model
    from spinet.engine.config import TrainConfig
    from spinet.engine.evaluate import evaluate
    from spinet.engine.train import train
    from spinet.errors import SpinetError
    from spinet.models.backbone import SpineNet
    from spinet.models.classifier import Classifier
    from spinet.models.drop_in import TorchvisionBackbone
    from spinet.models.factory import create_backbone, create_classifier, create_retinanet
    from spinet.models.retinanet import RetinaNet
    from spinet.predict.predict import Predictor
    from spinet.recipes import load_recipe

_HOMES = {
    "Architecture": "arch.catalog",
    "BlockSpec": "arch.block_spec",
    "Classifier": "models.classifier",
    "Genotype": "arch.genotype",
    "Predictor": "predict.predict",
    "RetinaNet": "models.retinanet",
    "Scaling": "arch.scaling",
    "SpineNet": "models.backbone",
    "SpinetError": "errors",
    "TorchvisionBackbone": "models.drop_in",
    "TrainConfig": "engine.config",
    "create_backbone": "models.factory",
    "create_classifier": "models.factory",
    "create_retinanet": "models.factory",
    "evaluate": "engine.evaluate",
    "load_architecture": "arch.catalog",
    "load_backbone": "engine.checkpoint",
    "load_classifier": "engine.checkpoint",
    "load_detector": "engine.checkpoint",
    "load_model": "engine.checkpoint",
    "load_recipe": "recipes",
    "train": "engine.train",
}

try:
    __version__ = version("spinet")
except PackageNotFoundError:  # used from a source folder that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Architecture",
    "BlockSpec",
    "Classifier",
    "Genotype",
    "Predictor",
    "RetinaNet",
    "Scaling",
    "SpineNet",
    "SpinetError",
    "TorchvisionBackbone",
    "TrainConfig",
    "create_backbone",
    "create_classifier",
    "create_retinanet",
    "evaluate",
    "load_architecture",
    "load_backbone",
    "load_classifier",
    "load_detector",
    "load_model",
    "load_recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"spinet.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spinet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
