"""SpineNet in PyTorch: scale-permuted backbones that you can build, search, train and ship.

Names are imported on first use, so that `import spinet` and architectures never wait for torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spinet.api import evaluate as evaluate
    from spinet.api import train as train
    from spinet.arch.block_spec import EXPANSION as EXPANSION
    from spinet.arch.block_spec import BlockSpec as BlockSpec
    from spinet.arch.catalog import Architecture as Architecture
    from spinet.arch.catalog import load_architecture as load_architecture
    from spinet.arch.catalog import load_network as load_network
    from spinet.arch.cost import BLOCK_COSTS as BLOCK_COSTS
    from spinet.arch.cost import Cost as Cost
    from spinet.arch.cost import backbone_cost as backbone_cost
    from spinet.arch.cost import layer_cost as layer_cost
    from spinet.arch.genotype import Genotype as Genotype
    from spinet.arch.head_cost import model_cost as model_cost
    from spinet.arch.scaling import Scaling as Scaling
    from spinet.data.class_data import ClassDataset as ClassDataset
    from spinet.data.coco import CocoDataset as CocoDataset
    from spinet.data.demo import make_demo_dataset as make_demo_dataset
    from spinet.engine.config import TrainConfig as TrainConfig
    from spinet.errors import SpinetError as SpinetError
    from spinet.formats.images import read_image as read_image
    from spinet.hub.models import export as export
    from spinet.hub.models import load_backbone as load_backbone
    from spinet.hub.models import load_classifier as load_classifier
    from spinet.hub.models import load_detector as load_detector
    from spinet.hub.models import load_model as load_model
    from spinet.models.backbone import BLOCKS as BLOCKS
    from spinet.models.backbone import SpineNet as SpineNet
    from spinet.models.classifier import Classifier as Classifier
    from spinet.models.drop_in import TorchvisionBackbone as TorchvisionBackbone
    from spinet.models.factory import create_backbone as create_backbone
    from spinet.models.factory import create_classifier as create_classifier
    from spinet.models.factory import create_rcnn as create_rcnn
    from spinet.models.factory import create_retinanet as create_retinanet
    from spinet.models.rcnn import RCNN as RCNN
    from spinet.models.retinanet import RetinaNet as RetinaNet
    from spinet.nas.api import search as search
    from spinet.predict.crops import crop_boxes as crop_boxes
    from spinet.predict.open import load as load
    from spinet.predict.predictor import Predictor as Predictor
    from spinet.predict.results import ClassResult as ClassResult
    from spinet.predict.results import DetectionResult as DetectionResult
    from spinet.recipes import load_recipe as load_recipe
    from spinet.share.pack import pack as pack
    from spinet.share.pull import pull as pull
    from spinet.share.push import push as push

_HOMES = {
    "api": ("evaluate", "train"),
    "arch.block_spec": ("BlockSpec", "EXPANSION"),
    "arch.catalog": ("Architecture", "load_architecture", "load_network"),
    "arch.cost": ("BLOCK_COSTS", "Cost", "backbone_cost", "layer_cost"),
    "arch.genotype": ("Genotype",),
    "arch.head_cost": ("model_cost",),
    "arch.scaling": ("Scaling",),
    "data.class_data": ("ClassDataset",),
    "data.coco": ("CocoDataset",),
    "data.demo": ("make_demo_dataset",),
    "engine.config": ("TrainConfig",),
    "errors": ("SpinetError",),
    "formats.images": ("read_image",),
    "hub.models": ("export", "load_backbone", "load_classifier", "load_detector", "load_model"),
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
    "share.pack": ("pack",),
    "share.pull": ("pull",),
    "share.push": ("push",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

try:
    __version__ = version("spinet")
except PackageNotFoundError:  # used from a source folder that was never installed
    __version__ = "0+unknown"

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"spinet.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'spinet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
