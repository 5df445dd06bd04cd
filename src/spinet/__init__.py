"""SpineNet in PyTorch: scale-permuted backbones that you can build, search, train and ship.

Names are imported on first use, so that `import spinet` and architectures never wait for torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinet.api import evaluate, train
    from spinet.arch.block_spec import EXPANSION, BlockSpec
    from spinet.arch.catalog import Architecture, load_architecture, load_network
    from spinet.arch.cost import BLOCK_COSTS
    from spinet.arch.genotype import Genotype
    from spinet.arch.head_cost import model_cost
    from spinet.arch.scaling import Scaling
    from spinet.data.class_data import ClassDataset
    from spinet.data.coco import CocoDataset
    from spinet.data.demo import make_demo_dataset
    from spinet.data.images import read_image
    from spinet.deploy.export import export
    from spinet.engine.checkpoint import load_backbone, load_classifier, load_detector, load_model
    from spinet.engine.config import TrainConfig
    from spinet.errors import SpinetError
    from spinet.models.backbone import BLOCKS, SpineNet
    from spinet.models.classifier import Classifier
    from spinet.models.drop_in import TorchvisionBackbone
    from spinet.models.factory import create_backbone, create_classifier, create_rcnn, create_retinanet
    from spinet.models.rcnn import RCNN
    from spinet.models.retinanet import RetinaNet
    from spinet.nas.api import search
    from spinet.predict.crops import crop_boxes
    from spinet.predict.open import load
    from spinet.predict.predictor import Predictor
    from spinet.predict.results import ClassResult, DetectionResult
    from spinet.recipes import load_recipe

_HOMES = {
    "api": ("evaluate", "train"),
    "arch.block_spec": ("EXPANSION", "BlockSpec"),
    "arch.catalog": ("Architecture", "load_architecture", "load_network"),
    "arch.cost": ("BLOCK_COSTS",),
    "arch.genotype": ("Genotype",),
    "arch.head_cost": ("model_cost",),
    "arch.scaling": ("Scaling",),
    "data.class_data": ("ClassDataset",),
    "data.coco": ("CocoDataset",),
    "data.demo": ("make_demo_dataset",),
    "data.images": ("read_image",),
    "engine.checkpoint": ("load_backbone", "load_classifier", "load_detector", "load_model"),
    "engine.config": ("TrainConfig",),
    "deploy.export": ("export",),
    "errors": ("SpinetError",),
    "models.backbone": ("BLOCKS", "SpineNet"),
    "models.classifier": ("Classifier",),
    "models.drop_in": ("TorchvisionBackbone",),
    "models.factory": ("create_backbone", "create_classifier", "create_rcnn", "create_retinanet"),
    "models.rcnn": ("RCNN",),
    "models.retinanet": ("RetinaNet",),
    "nas.api": ("search",),
    "predict.crops": ("crop_boxes",),
    "predict.open": ("load",),
    "predict.predictor": ("Predictor",),
    "predict.results": ("ClassResult", "DetectionResult"),
    "recipes": ("load_recipe",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

try:
    __version__ = version("spinet")
except PackageNotFoundError:  # used from a source folder that was never installed
    __version__ = "0+unknown"

__all__ = [
    "BLOCKS",
    "BLOCK_COSTS",
    "EXPANSION",
    "RCNN",
    "Architecture",
    "BlockSpec",
    "ClassDataset",
    "ClassResult",
    "Classifier",
    "CocoDataset",
    "DetectionResult",
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
    "create_rcnn",
    "create_retinanet",
    "crop_boxes",
    "evaluate",
    "export",
    "load",
    "load_architecture",
    "load_backbone",
    "load_classifier",
    "load_detector",
    "load_model",
    "load_network",
    "load_recipe",
    "make_demo_dataset",
    "model_cost",
    "read_image",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"spinet.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'spinet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
