"""All settings of a training run as frozen dataclasses, and their JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from spinet.errors import SpinetError, check_range, quoted, unknown_name
from spinet.fields import Count, Fraction, ImageSize, NonNegative, Positive, Rate, check_fields
from spinet.files import parse_json, read_content
from spinet.formats.splits import Division
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
    scaling: str = ""
    """Architecture, also by name or file, whose width, depth and head size `arch` takes; by default its own."""


@dataclass(frozen=True)
class ModelConfig(DetectorOptions, NetworkChoice):
    """The network."""

    aggregation: Literal["all", "one", "concat"] = "all"
    """Classifier: features to average: those of all levels, of the coarsest one, or of all concatenated."""
    label_smoothing: Rate = 0.0
    """Classifier: label smoothing of the loss."""
    weights: str = ""
    """Weights file (.safetensors) or run folder to start from; empty trains from scratch."""
    new_classes: bool = False
    """Take `weights` of other classes: of the class predictor, the rows of classes with the same name are kept."""
    class_start: Literal["new", "nearest", "average"] = "new"
    """With `new_classes`: how classes that `weights` do not have start: newly initialized, from the class with the
    nearest name (if one is near), or from the average of all classes."""
    freeze: Literal["none", "stem", "backbone"] = "none"
    """Part of the backbone that keeps its `weights`: its stem (up to stride 4), or all of it."""
    freeze_norm: Literal["none", "statistics", "all"] = "none"
    """Batch norms of the backbone: use the statistics in `weights`, for batches too small to measure them; `all` keeps
    scale and shift too."""

    def __post_init__(self) -> None:
        check_fields("model", self)


@dataclass(frozen=True)
class DataConfig:
    """The dataset and its augmentation."""

    root: str = ""
    """Dataset folder in COCO, YOLO or Pascal VOC format, or a YOLO dataset's YAML file; for classifiers image folders
    or iNaturalist's JSON."""
    val_share: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Fraction of the images of a dataset without a val split that is taken for val; 0 for datasets that have one."""
    val_seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Seed of that division; a training with another `seed` has the same val images."""
    image_size: ImageSize = 640
    """Side of the square that images are fitted into, in pixels."""
    scale_jitter: tuple[float, float] = (0.5, 2.0)
    """Range of the random scale of training images."""
    horizontal_flip: bool = True
    """Flip half of the training images left to right."""
    vertical_flip: bool = False
    """Flip half of the training images upside down, for images without an up, such as micrographs."""
    colour_jitter: Fraction = 0.0
    """Largest relative change of brightness, contrast and saturation of training images."""
    crop_area: tuple[float, float] = (0.08, 1.0)
    """Classifier: range of the area of a random crop, as a fraction of the training image."""
    max_objects: Count = 100
    """Objects per training image beyond these are dropped."""
    cache_images: bool = False
    """Keep decoded images in memory, for small datasets."""
    workers: Annotated[int, Meta(ge=0, le=1000)] = 2
    """Processes that load images; 0 loads in the training process."""
    augment_on: Literal["workers", "device"] = "workers"
    """Where training images are resized and augmented: in the workers, or on the training device, if the CPU cannot
    keep up with the GPU. The result is the same up to rounding, and bit-equal on CPUs."""

    @property
    def division(self) -> Division | None:
        """How the dataset is divided; None if it has both splits."""
        return Division(self.val_share, self.val_seed) if self.val_share else None


@dataclass(frozen=True)
class OptimConfig:
    """SGD with momentum, and its schedule."""

    lr: Annotated[float, Meta(ge=0, le=1e6)] = 0.28
    """Learning rate for a batch of `lr_batch` images; scaled linearly to the actual batch size."""
    lr_batch: Count = 256
    """Batch size that `lr` is given for."""
    momentum: Fraction = 0.9
    """Momentum."""
    weight_decay: Fraction = 4e-5
    """Weight decay (L2) of convolutions; biases and batch norms have none."""
    decay: Literal["tpu", "mg"] = "tpu"
    """Which kernels decay: all (tensorflow/tpu), or none of depthwise convolutions and of separable towers except the
    predictors (tensorflow/models)."""
    schedule: Literal["step", "cosine"] = "step"
    """Learning rate schedule after the warm-up."""
    drops: Annotated[tuple[float, ...], Meta(max_length=100)] = (30.0, 10.0)
    """Step schedule: epochs before the end at which the learning rate is divided by ten."""
    warmup_epochs: NonNegative = 5.0
    """Epochs of linear warm-up."""
    warmup_fraction: Fraction = 0.0
    """Warm-up as a fraction of the whole training, instead of `warmup_epochs`; 0 takes those."""
    warmup_start: Fraction = 0.024
    """Learning rate of the first step, as a fraction of the full one."""
    clip_norm: NonNegative = 10.0
    """Largest gradient norm; 0 disables clipping."""
    layer_decay: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Learning rate by depth: that of the head times this for the backbone's endpoints, and once more for the last,
    middle and first third of its blocks, and its stem. 1 trains all alike."""
    ema_decay: Fraction = 0.0
    """Decay of the moving average of the weights, which is evaluated and saved; 0 disables it."""


# Options that only some heads support. Numbers of regions are not among them: other heads ignore them.
R_CNNS = ("faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn")
HEAD_SETTINGS = {
    "box_coding": ("retinanet", *R_CNNS),
    "roi_align": R_CNNS,
    "background": ("retinanet", "classifier"),
    "aggregation": ("classifier",),
    "label_smoothing": ("classifier",),
}


@dataclass(frozen=True)
class TrainConfig:
    """A whole training run, validated on construction."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    epochs: Positive = 350.0
    """Passes over the training images."""
    batch_size: Count = 256
    """Images per optimizer step, over all processes and accumulated parts."""
    accumulate: Count = 1
    """Gradient accumulation: parts that each step's images are split into, to save memory."""
    eval_epochs: Annotated[float, Meta(ge=0, le=1e6)] = 10.0
    """Epochs between evaluations on the val split; 0 evaluates only at the end."""
    log_steps: Annotated[int, Meta(ge=1, le=10**9)] = 20
    """Log metrics every N steps."""
    save_seconds: NonNegative = 120.0
    """Seconds between checkpoints; every evaluation also writes one."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Seed of weights, order and augmentation."""
    threads: Annotated[int, Meta(ge=0, le=1000)] = 0
    """CPU threads; 0 uses as many as this process may. Results depend on it in their last bits."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1` ..."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of the convolutions; `auto` is bf16 on CUDA, else fp32."""
    channels_last: bool = True
    """Channels-last memory format; faster on most machines."""
    compile: bool = False
    """Compile the network with torch.compile."""

    def __post_init__(self) -> None:
        check_fields("data", self.data)
        check_fields("optim", self.optim)
        check_fields("", self)
        for name, heads in HEAD_SETTINGS.items():
            default = ModelConfig.__dataclass_fields__[name].default
            if self.model.head not in heads and getattr(self.model, name) != default:
                raise SpinetError(
                    f"model.{name} is not supported by head {self.model.head!r}, only by {' and '.join(heads)}; "
                    f"leave it at {default!r}"
                )
        if self.optim.schedule == "step" and max(self.optim.drops, default=0) >= self.epochs:
            raise SpinetError(
                f"optim.drops are {quoted(self.optim.drops)} epochs before the end of {self.epochs:g}, so before "
                "training starts; use smaller ones or optim.schedule 'cosine'"
            )
        check_range("data.crop_area", self.data.crop_area, most=1)
        check_range("data.scale_jitter", self.data.scale_jitter)

    def uses_bf16(self, device_type: str) -> bool:
        """Whether convolutions compute in bf16 on such a device."""
        return self.precision == "bf16" or (self.precision == "auto" and device_type == "cuda")

    def to_json(self) -> str:
        """Return all settings as a JSON string."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "TrainConfig":
        """Read settings from a JSON string, `where` in errors; missing ones take their defaults."""
        tree = parse_json(text, where)
        try:
            plain = _renamed(tree)
            _check_names(cls, plain, "settings")
            parts = {"model": ModelConfig, "data": DataConfig, "optim": OptimConfig}
            for name in parts.keys() & plain.keys():
                _check_names(parts[name], plain[name], name)
                plain[name] = parts[name](**plain[name])
            return cls(**plain)
        except SpinetError as error:
            raise SpinetError(f"{where}: {error}") from None


def _check_names(kind: type[Any], plain: Any, name: str) -> None:
    if not isinstance(plain, Mapping):
        raise SpinetError(f"{name}: must be an object of settings, got {quoted(plain)}")
    prefix = "" if kind is TrainConfig else f"{name}."
    known = [prefix + item.name for item in fields(kind)]
    for key in plain:
        if prefix + key not in known:
            raise unknown_name("setting", prefix + key, known)


def read_config(path: Path) -> TrainConfig:
    """Read the settings in a JSON file."""
    try:
        return TrainConfig.from_json(read_content(path).decode("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SpinetError(f"could not read the settings in {path}: {reason}") from None


def differences(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[object, object]]:
    """Return the settings that differ, by dotted name."""
    flat_one, flat_other = flatten(asdict(one)), flatten(asdict(other))
    return {key: (flat_one[key], flat_other[key]) for key in flat_one if flat_one[key] != flat_other[key]}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return the settings of a nested mapping by dotted name."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _renamed(settings: Any) -> Any:
    """Rename settings of older files: `optim.decay_depthwise` was a boolean."""
    optim = settings.get("optim") if isinstance(settings, Mapping) else None
    if not isinstance(optim, Mapping) or not isinstance(optim.get("decay_depthwise"), bool):
        return settings
    kept = {key: value for key, value in optim.items() if key != "decay_depthwise"}
    return {**settings, "optim": {"decay": "tpu" if optim["decay_depthwise"] else "mg", **kept}}
