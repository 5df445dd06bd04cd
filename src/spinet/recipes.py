"""Named training configurations, whose settings can be overridden on the command line.

docs/paper.md, "Recipes", lists every setting of every recipe with its source. Those of the papers and the released code
are in recipes_published.py; these are our own, for small datasets.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig, read_config
from spinet.errors import SpinetError, unknown_name
from spinet.recipes_published import change, published


@dataclass(frozen=True)
class Recipe:
    """A configuration with a one-line summary.

    Attributes:
        adopts: whether the network and the image size are those of the weights to start from, which are needed.
    """

    config: TrainConfig
    summary: str
    adopts: bool = False


# Measured in docs/results.md. Few images and small batches need swish, faster batch-norm statistics, a cosine schedule
# and a moving average of the weights; scale jitter is weaker and anchors are smaller, because at these sizes objects of
# a few pixels are common.
_SMALL_CPU = TrainConfig(
    model=ModelConfig(arch="spinenet49-quarter", activation="swish", bn_momentum=0.05, anchor_scale=2.0),
    data=DataConfig(image_size=256, scale_jitter=(0.8, 1.25), cache_images=True, workers=0),
    optim=OptimConfig(lr=1.0, schedule="cosine", warmup_epochs=3, ema_decay=0.998),
    epochs=80,
    batch_size=8,
)
_SMALL_GPU = replace(
    _SMALL_CPU,
    model=replace(_SMALL_CPU.model, arch="spinenet49s", anchor_scale=3.0),
    data=replace(_SMALL_CPU.data, image_size=640, scale_jitter=(0.5, 2.0), workers=8),
    epochs=200,
    batch_size=16,
)
_DEMO = replace(
    _SMALL_CPU,
    model=replace(_SMALL_CPU.model, arch="tiny", anchor_scale=3.0),
    # A mirrored digit is not a digit.
    data=replace(_SMALL_CPU.data, image_size=128, horizontal_flip=False),
    optim=replace(_SMALL_CPU.optim, warmup_epochs=1),
    epochs=20,
    batch_size=16,
    eval_epochs=5,
)

# Few RoIs on a CPU, because the box head costs more than a narrow backbone.
_SMALL_CPU_MASKS = change(
    _SMALL_CPU,
    {
        "model.head": "mask-rcnn",
        "model.octaves": 1,
        "model.proposals": 256,
        "model.roi_samples": 64,
        "model.mask_samples": 16,
        "epochs": 60.0,
    },
)
_SMALL_GPU_MASKS = change(
    _SMALL_GPU, {"model.head": "mask-rcnn", "model.octaves": 1, "model.roi_samples": 256, "model.mask_samples": 64}
)
# Crops are larger than for ImageNet: a few hundred images per class do not teach small parts of objects.
_SMALL_CPU_CLASSES = TrainConfig(
    model=ModelConfig(head="classifier", arch="spinenet49-quarter", bn_momentum=0.05, label_smoothing=0.1),
    data=DataConfig(image_size=112, crop_area=(0.25, 1.0), cache_images=True, workers=0),
    optim=OptimConfig(lr=0.8, schedule="cosine", warmup_epochs=3, ema_decay=0.998),
    epochs=50,
    batch_size=64,
)
_SMALL_GPU_CLASSES = change(
    _SMALL_CPU_CLASSES,
    {
        "model.arch": "spinenet49s",
        "data.image_size": 224,
        "data.workers": 8,
        "epochs": 100.0,
    },
)

# Network, anchors and image size are those of the weights; what stands here is for those of a backbone alone.
_FINETUNE_CPU = change(
    _SMALL_CPU,
    {
        "model.roi_samples": 64,
        "model.mask_samples": 16,
        "data.crop_area": (0.25, 1.0),
        "model.class_start": "average",
        "optim.lr": 2.0,
        "optim.warmup_fraction": 0.1,
        "epochs": 30.0,
        "eval_epochs": 5.0,
    },
)
_FINETUNE_GPU = change(
    _FINETUNE_CPU,
    {
        "model.anchor_scale": 3.0,
        "model.roi_samples": 256,
        "model.mask_samples": 64,
        "data.image_size": 640,
        "data.scale_jitter": (0.5, 2.0),
        "data.workers": 8,
        "batch_size": 16,
        "optim.lr": 1.0,
    },
)

_KINDS = {"mask-rcnn": "Mask R-CNN", "cascade-mask-rcnn": "Cascade R-CNN-RS", "classifier": "classifier"}


_LETTERS = {"-a": "A", "-c": "C"}


def _summary(name: str, config: TrainConfig) -> str:
    """Return one line about a published recipe."""
    kind = _KINDS.get(config.model.head, "RetinaNet")
    if kind == "RetinaNet" and "mobile" not in name:
        kind = f"RetinaNet, protocol {_LETTERS.get(name[-2:], 'B')}"
    sizes = f"{config.epochs:g} epochs at {config.data.image_size} px, batch {config.batch_size}"
    return f"{kind}: {sizes}, {config.model.activation}, {config.optim.schedule}"


RECIPES: dict[str, Recipe] = {
    "demo": Recipe(_DEMO, "generated images of digits at 128 px, minutes on two CPU cores"),
    "small-cpu": Recipe(_SMALL_CPU, "a few hundred images from scratch at 256 px on a CPU"),
    "small-gpu": Recipe(_SMALL_GPU, "a few hundred images from scratch at 640 px on one GPU"),
    "small-cpu-masks": Recipe(_SMALL_CPU_MASKS, "boxes and masks, a few hundred images at 256 px on a CPU"),
    "small-gpu-masks": Recipe(_SMALL_GPU_MASKS, "boxes and masks, a few hundred images at 640 px on one GPU"),
    "small-cpu-classes": Recipe(_SMALL_CPU_CLASSES, "a classifier, a few thousand images at 112 px on a CPU"),
    "small-gpu-classes": Recipe(_SMALL_GPU_CLASSES, "a classifier, a few thousand images at 224 px on one GPU"),
    "finetune-cpu": Recipe(_FINETUNE_CPU, "from trained weights (model.weights), their network, on a CPU", adopts=True),
    "finetune-gpu": Recipe(
        _FINETUNE_GPU, "from trained weights (model.weights), their network, on one GPU", adopts=True
    ),
    **{name: Recipe(config, _summary(name, config)) for name, config in published().items()},
}


def load_recipe(name_or_path: str | Path) -> TrainConfig:
    """Return the configuration of a recipe, or the one in a JSON file such as a run's `config.json`.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not valid.
    """
    if str(name_or_path) in RECIPES:
        return RECIPES[str(name_or_path)].config
    path = Path(name_or_path)
    if path.suffix == ".json" or path.is_file():
        return read_config(path)
    if path.is_dir():
        raise SpinetError(
            f"{name_or_path} is a folder; name a recipe here, such as small-cpu, and the dataset as data.root"
        )
    raise unknown_name("recipe", str(name_or_path), RECIPES)


def start_recipe(name_or_path: str | Path, weights: str = "", head: str = "", run: Path | None = None) -> TrainConfig:
    """Return the configuration of a recipe for a training that starts from `weights`; see `engine.adopt.adopted`.

    Recipes that fine-tune take the network and the image size of the weights; others are as in `load_recipe`.

    Raises:
        SpinetError: as `load_recipe`; or the recipe needs weights, and there are none, or they cannot be read.
    """
    config, recipe = load_recipe(name_or_path), RECIPES.get(str(name_or_path))
    if recipe is None or not recipe.adopts:
        return config
    if not weights:
        raise SpinetError(
            f"{name_or_path} needs model.weights: the weights file (.safetensors), run folder or address to start "
            "from; other recipes, such as small-cpu, train from scratch"
        )
    from spinet.engine.adopt import adopted  # and torch, which a list of recipes does without
    from spinet.hub.fetch import local_path

    return adopted(config, weights, head, run, find_weights=local_path)
