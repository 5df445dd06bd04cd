"""Named training configurations. A recipe is a value; settings on the command line replace parts of it.

The sources of the numbers stand in docs/paper.md, "Recipes"; protocols A, B and C are those of the paper's later
version (v3), as FPN, SpineNet and RetinaNet are trained there from scratch on COCO.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig, read_config
from spinet.errors import unknown_name


@dataclass(frozen=True)
class Recipe:
    """A configuration and one line about it."""

    config: TrainConfig
    summary: str


# Shared by all protocols: batch 256, learning rate 0.28, momentum 0.9, weight decay 4e-5, five epochs of warm-up
# from 0.0067, clipping at norm 10, batch-norm momentum 0.99, the rate divided by ten 30 and 10 epochs before the
# end (v3, training details; tensorflow/tpu configs/yaml/retinanet/spinenet*.yaml).
_B = TrainConfig(epochs=350)
_A = replace(_B, epochs=250, model=ModelConfig(dropblock=0.1), data=replace(_B.data, scale_jitter=(0.8, 1.2)))
_C = replace(_B, epochs=500, model=ModelConfig(activation="swish", stochastic_depth=0.2))
_PROTOCOLS = {"-a": ("A", _A), "": ("B", _B), "-c": ("C", _C)}

# Architecture -> image size and anchor scale (tensorflow/tpu: 3 up to SpineNet-96, 4 above).
_SIZES = {
    "spinenet49s": (640, 3.0),
    "spinenet49": (640, 3.0),
    "spinenet96": (1024, 3.0),
    "spinenet143": (1280, 4.0),
    "spinenet190": (1280, 4.0),
}


def _published() -> dict[str, Recipe]:
    table = {}
    for arch, (size, anchor_scale) in _SIZES.items():
        for suffix, (letter, protocol) in _PROTOCOLS.items():
            config = replace(
                protocol,
                model=replace(protocol.model, arch=arch, anchor_scale=anchor_scale),
                data=replace(protocol.data, image_size=size),
            )
            summary = f"protocol {letter}: {config.epochs:g} epochs at {size} px, batch 256, {config.model.activation}"
            table[f"retinanet-{arch}{suffix}"] = Recipe(config, summary)
    return table


def _exceptions(table: dict[str, Recipe]) -> dict[str, Recipe]:
    """The two sizes that the released configurations treat differently under protocol C."""
    deep = table["retinanet-spinenet143-c"]
    model = replace(deep.config.model, stochastic_depth=0.16)
    data = replace(deep.config.data, scale_jitter=(0.1, 1.9))
    table["retinanet-spinenet143-c"] = replace(deep, config=replace(deep.config, model=model, data=data))
    wide = table["retinanet-spinenet190-c"].config
    config = replace(
        wide,
        epochs=400,
        data=replace(wide.data, scale_jitter=(0.1, 1.9)),
        optim=replace(wide.optim, lr=0.30, warmup_start=0.0067 / 0.30),
    )
    table["retinanet-spinenet190-c"] = Recipe(config, "protocol C as released: 400 epochs at 1280 px, batch 256, swish")
    return table


# Ours, measured in docs/results.md. Few images and small batches want swish, faster batch-norm statistics, a cosine
# to zero and an average of the weights; jitter is gentler and anchors are smaller, because at these sizes an object
# of a few pixels is common.
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
    # A mirrored digit is another sign.
    data=replace(_SMALL_CPU.data, image_size=128, horizontal_flip=False),
    optim=replace(_SMALL_CPU.optim, warmup_epochs=1),
    epochs=20,
    batch_size=16,
    eval_epochs=5,
)

RECIPES: dict[str, Recipe] = {
    "demo": Recipe(_DEMO, "generated photos of digits at 128 px, minutes on two CPU cores"),
    "small-cpu": Recipe(_SMALL_CPU, "a few hundred photos from scratch at 256 px on a CPU"),
    "small-gpu": Recipe(_SMALL_GPU, "a few hundred photos from scratch at 640 px on one GPU"),
    **_exceptions(_published()),
}


def load_recipe(name_or_path: str) -> TrainConfig:
    """Return the configuration of a recipe, or the one in a JSON file such as a run's `config.json`.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not valid.
    """
    if name_or_path in RECIPES:
        return RECIPES[name_or_path].config
    path = Path(name_or_path)
    if path.suffix == ".json" or path.is_file():
        return read_config(path)
    raise unknown_name("recipe", name_or_path, RECIPES)
