"""Everything that a training run is told, as frozen dataclasses, and their JSON."""

import json
import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from spinet.errors import SpinetError, unknown_name
from spinet.models.options import DetectorOptions


@dataclass(frozen=True)
class NetworkChoice:
    """Head and architecture; a class of its own so that they come first among the fields of `ModelConfig`."""

    head: Literal["retinanet", "faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn", "classifier"] = (
        "retinanet"
    )
    """Detection or classification head."""
    arch: str = "spinenet49s"
    """Catalogue name or path of an architecture file (`spinet list` shows the names), or a baseline: resnet18-fpn to
    resnet152-fpn, resnet50-nas-fpn, timm/NAME-fpn; for classifiers resnet18 to resnet152."""


@dataclass(frozen=True)
class ModelConfig(DetectorOptions, NetworkChoice):
    """The network."""

    aggregation: Literal["all", "one", "concat"] = "all"
    """Classifier: features to average: those of all levels, of the coarsest one, or of all concatenated."""
    label_smoothing: float = 0.0
    """Classifier: label smoothing of the loss."""
    weights: str = ""
    """Weights file (.safetensors) or run folder to start from; empty trains from scratch."""
    new_classes: bool = False
    """Take all but the class predictor from `weights`, for a dataset of other classes."""


@dataclass(frozen=True)
class DataConfig:
    """The photos."""

    root: str = ""
    """Data set folder in COCO, YOLO or Pascal VOC format, or a YOLO data set's YAML file; for classifiers image folders
    or iNaturalist's JSON."""
    image_size: int = 640
    """Side of the square that images are fitted into, pixels."""
    scale_jitter: tuple[float, float] = (0.5, 2.0)
    """Range of the random scale of a training image."""
    horizontal_flip: bool = True
    """Mirror half of the training images."""
    vertical_flip: bool = False
    """Turn half of the training images upside down; for photos without an up, like micrographs."""
    colour_jitter: float = 0.0
    """Largest relative change of a training image's brightness, contrast and saturation."""
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Classifier: range of the random share of a training image that is looked at."""
    max_objects: int = 100
    """Most objects of a training image that are learnt from."""
    cache_images: bool = False
    """Keep decoded images in memory; for small data sets."""
    workers: int = 2
    """Processes that load images; 0 loads in the training process."""
    augment_on: Literal["workers", "device"] = "workers"
    """Where training images are resized, cropped and coloured: in the processes that load them, or on the device that
    trains, for machines whose processors cannot keep up with their GPU. The same up to rounding; on CPUs bit-equal."""


@dataclass(frozen=True)
class OptimConfig:
    """Stochastic gradient descent with momentum, and its schedule."""

    lr: float = 0.28
    """Learning rate at a batch of `lr_batch` images; scaled linearly to the real batch size."""
    lr_batch: int = 256
    """Batch size that `lr` is given for."""
    momentum: float = 0.9
    """Momentum."""
    weight_decay: float = 4e-5
    """L2 decay of convolution weights; biases and batch norm have none."""
    decay: Literal["tpu", "mg"] = "tpu"
    """Which kernels decay: all (tensorflow/tpu), or none of depthwise convolutions and separable towers but those of
    the predictors (tensorflow/models)."""
    schedule: Literal["step", "cosine"] = "step"
    """What the learning rate does after the warm-up."""
    drops: tuple[float, ...] = (30.0, 10.0)
    """Epochs before the end at which the step schedule divides the learning rate by ten."""
    warmup_epochs: float = 5.0
    """Epochs of linear warm-up."""
    warmup_start: float = 0.024
    """Learning rate at the first step, as a share of the full one."""
    clip_norm: float = 10.0
    """Largest norm of the gradient; 0 turns clipping off."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights, which is what is evaluated and saved; 0 turns it off."""


# Least and greatest value of every number; not-a-number lies in no range.
RANGES = {
    "epochs": (1e-6, 1e6),
    "batch_size": (1, 1e6),
    "accumulate": (1, 1e6),
    "eval_epochs": (0, 1e6),
    "log_steps": (1, 1e9),
    "save_seconds": (0, 1e9),
    "seed": (0, 2**63 - 1),
    "model.bn_eps": (0, 1),
    "model.bn_momentum": (0, 1),
    "model.stochastic_depth": (0, 0.99),
    "model.dropblock": (0, 0.99),
    "model.anchor_scale": (0.1, 100),
    "model.octaves": (1, 100),
    "model.proposals": (2, 1e5),
    "model.roi_samples": (2, 1e5),
    "model.mask_samples": (2, 1e5),
    "model.rpn_convs": (0, 100),
    "model.label_smoothing": (0, 0.99),
    "data.image_size": (1, 1e5),
    "data.colour_jitter": (0, 1),
    "data.max_objects": (1, 1e6),
    "data.workers": (0, 1000),
    "optim.lr": (0, 1e6),
    "optim.lr_batch": (1, 1e6),
    "optim.momentum": (0, 1),
    "optim.weight_decay": (0, 1),
    "optim.warmup_epochs": (0, 1e6),
    "optim.warmup_start": (0, 1),
    "optim.clip_norm": (0, 1e9),
    "optim.ema_decay": (0, 1),
}


# Settings that change nothing in other heads. Numbers of regions are not among them: they do no harm elsewhere.
HEAD_SETTINGS = {
    "box_coding": ("retinanet",),
    "background": ("retinanet", "classifier"),
    "aggregation": ("classifier",),
    "label_smoothing": ("classifier",),
}


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    epochs: float = 350.0
    """Passes over the training images."""
    batch_size: int = 256
    """Images per optimiser step, over all processes and accumulated parts."""
    accumulate: int = 1
    """Parts that a step's images are split into when they do not fit into memory at once."""
    eval_epochs: float = 10.0
    """Epochs between evaluations on the val split; 0 evaluates at the end only."""
    log_steps: int = 20
    """Steps between lines of metrics."""
    save_seconds: float = 120.0
    """Seconds between checkpoints (one is also written at every evaluation)."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    device: str = "auto"
    """`auto` takes the GPU when there is one; or `cpu`, `cuda`, `cuda:1` ..."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the convolutions; `auto` is bf16 on CUDA, else fp32."""
    channels_last: bool = True
    """Keep the channels of a pixel together in memory; faster on most machines."""
    compile: bool = False
    """Compile the network with torch.compile."""

    def __post_init__(self) -> None:
        flat = _flatten(asdict(self))
        for name, (low, high) in RANGES.items():
            value = flat[name]
            assert isinstance(value, int | float)
            if not low <= value <= high:
                raise SpinetError(f"setting {name}: {value} is not between {low:g} and {high:g}")
        ratios = self.model.aspect_ratios
        if not ratios or not all(0 < ratio < math.inf for ratio in ratios):
            raise SpinetError(f"setting model.aspect_ratios: {ratios} are not one or more finite numbers above 0")
        for name, heads in HEAD_SETTINGS.items():
            default = ModelConfig.__dataclass_fields__[name].default
            if self.model.head not in heads and getattr(self.model, name) != default:
                raise SpinetError(
                    f"setting model.{name}: the head {self.model.head} has no such choice, {' and '.join(heads)} "
                    f"{'has' if len(heads) == 1 else 'have'} it; leave it at {default!r}"
                )
        if self.model.new_classes and not self.model.weights:
            raise SpinetError("setting model.new_classes: it needs model.weights to take the rest from")
        if self.optim.schedule == "step" and max(self.optim.drops, default=0) >= self.epochs:
            raise SpinetError(
                f"setting optim.drops: the drops {self.optim.drops} epochs before the end begin before training does, "
                f"in {self.epochs:g} epochs; give smaller ones or take --optim.schedule cosine"
            )
        low, high = self.data.crop_area
        if not 0 < low <= high <= 1:
            raise SpinetError(f"setting data.crop_area: ({low}, {high}) is not a range above 0 and up to 1")
        low, high = self.data.scale_jitter
        if not 0 < low <= high < math.inf:
            raise SpinetError(f"setting data.scale_jitter: ({low}, {high}) is not a range above 0")

    def uses_bf16(self, device_type: str) -> bool:
        """Whether convolutions compute in bf16 on such a device."""
        return self.precision == "bf16" or (self.precision == "auto" and device_type == "cuda")

    def to_json(self) -> str:
        """Return all settings as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "TrainConfig":
        """Read settings from JSON text; those left out take their defaults.

        Raises:
            SpinetError: the text is not JSON, or a setting is unknown or of the wrong type; `where` names the text.
        """
        try:
            config = _from_plain(cls, _renamed(json.loads(text)), "")
        except json.JSONDecodeError as error:
            raise SpinetError(f"{where}, line {error.lineno}: not JSON ({error.msg})") from None
        except SpinetError as error:
            raise SpinetError(f"{where}: {error}") from None
        assert isinstance(config, cls)
        return config


def read_config(path: Path) -> TrainConfig:
    """Read the settings in a JSON file.

    Raises:
        SpinetError: the file cannot be read or is not valid.
    """
    try:
        return TrainConfig.from_json(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SpinetError(f"could not read the settings in {path}: {reason}") from None


def differences(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[object, object]]:
    """Return the settings that differ, by dotted name."""
    flat_one, flat_other = _flatten(asdict(one)), _flatten(asdict(other))
    return {key: (flat_one[key], flat_other[key]) for key in flat_one if flat_one[key] != flat_other[key]}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _renamed(settings: Any) -> Any:
    """Settings of older files by their present names: `optim.decay_depthwise` was a switch."""
    optim = settings.get("optim") if isinstance(settings, Mapping) else None
    if not isinstance(optim, Mapping) or not isinstance(optim.get("decay_depthwise"), bool):
        return settings
    kept = {key: value for key, value in optim.items() if key != "decay_depthwise"}
    return {**settings, "optim": {"decay": "tpu" if optim["decay_depthwise"] else "mg", **kept}}


def _from_plain(kind: Any, value: Any, name: str) -> Any:
    """Turn parsed JSON into a value of type `kind`; `name` is its dotted place."""
    if is_dataclass(kind):
        return _dataclass_from(kind, value, name)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        items = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(items) == len(value):
            return tuple(_from_plain(item, part, name) for item, part in zip(items, value, strict=True))
    elif origin is Literal:
        if value in arguments:
            return value
        raise unknown_name(f"value of {name}", str(value), map(str, arguments))
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    shown = str(kind) if origin else kind.__name__
    raise SpinetError(f"setting {name}: {value!r} is not of type {shown}")


def _dataclass_from(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise SpinetError(f"{name or 'settings'}: expected an object of settings, found {value!r:.60}")
    hints = typing.get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    prefix = f"{name}." if name else ""
    for key in value:
        if key not in known:
            raise unknown_name("setting", prefix + key, [prefix + each for each in known])
    return kind(**{key: _from_plain(hints[key], item, prefix + key) for key, item in value.items()})
