"""The training protocols of the papers and the released code, as tables. Sources: docs/paper.md, "Recipes"."""

from dataclasses import replace
from typing import Any

from spinet.engine.config import DataConfig, ModelConfig, OptimConfig, TrainConfig

Settings = dict[str, Any]

# tensorflow/tpu starts the warm-up at a learning rate of 0.0067, regardless of the full one.
WARMUP_LR = 0.0067


def change(config: TrainConfig, settings: Settings) -> TrainConfig:
    """Return `config` with some settings replaced by dotted name.

    >>> change(TrainConfig(), {"epochs": 90.0, "data.image_size": 224}).data.image_size
    224
    """
    parts: dict[str, Settings] = {"model": {}, "data": {}, "optim": {}, "": {}}
    for name, value in settings.items():
        part, _, key = name.rpartition(".")
        parts[part][key] = value
    return replace(
        config,
        model=replace(config.model, **parts["model"]),
        data=replace(config.data, **parts["data"]),
        optim=replace(config.optim, **parts["optim"]),
        **parts[""],
    )


# RetinaNet. Shared by all protocols: batch 256, learning rate 0.28, momentum 0.9, weight decay 4e-5, five epochs of
# warm-up, clipping at norm 10, batch-norm momentum 0.99, the rate divided by ten 30 and 10 epochs before the end.
_B = TrainConfig(epochs=350)
_RETINANET = {
    "-a": change(_B, {"epochs": 250.0, "model.dropblock": 0.1, "data.scale_jitter": (0.8, 1.2)}),
    "": _B,
    "-c": change(_B, {"epochs": 500.0, "model.activation": "swish", "model.stochastic_depth": 0.2}),
}
_RETINANET_SIZES: dict[str, Settings] = {
    "spinenet49s": {"data.image_size": 640},
    "spinenet49": {"data.image_size": 640},
    "spinenet49-896": {"model.arch": "spinenet49", "data.image_size": 896},
    "spinenet96": {"data.image_size": 1024},
    "spinenet143": {"data.image_size": 1280, "model.anchor_scale": 4.0},
    "spinenet190": {"data.image_size": 1280, "model.anchor_scale": 4.0},
}
_RETINANET_EXCEPTIONS: dict[str, Settings] = {
    "retinanet-spinenet143-c": {"model.stochastic_depth": 0.16, "data.scale_jitter": (0.1, 1.9)},
    "retinanet-spinenet190-c": {
        "epochs": 400.0,
        "optim.lr": 0.30,
        "optim.warmup_start": WARMUP_LR / 0.30,
        "data.scale_jitter": (0.1, 1.9),
    },
}

# On-device RetinaNet: tensorflow/tpu's, and tensorflow/models'.
_MOBILE_TPU = change(
    _B, {"epochs": 600.0, "model.activation": "swish", "optim.weight_decay": 3e-5, "optim.clip_norm": 0.0}
)
_MOBILE_MG = change(
    _MOBILE_TPU,
    {
        "model.activation": "hard_swish",
        "model.squeeze_mode": "mg",
        "model.stochastic_depth": 0.2,
        "model.depth_rule": "mg",
        "optim.decay": "mg",
        "optim.lr": 0.32,
        "optim.warmup_start": WARMUP_LR / 0.32,
    },
)
_MOBILE = {"": _MOBILE_TPU, "-mg": _MOBILE_MG}
_MOBILE_SIZES: dict[str, Settings] = {
    "spinenet49xs-mobile": {"data.image_size": 256},
    "spinenet49s-mobile": {"data.image_size": 384},
    "spinenet49-mobile": {"data.image_size": 384},
}
_MOBILE_EXCEPTIONS: dict[str, Settings] = {"retinanet-spinenet49xs-mobile-mg": {"model.activation": "swish"}}

# Mask R-CNN: the released steps, and paper v1's cosine.
_MASK_STEP = change(_B, {"model.head": "mask-rcnn", "model.octaves": 1, "model.rpn_convs": 1, "optim.clip_norm": 0.0})
_MASK_COSINE = change(
    _MASK_STEP,
    {
        "epochs": 250.0,
        "model.octaves": 3,
        "model.anchor_scale": 4.0,
        "model.dropblock": 0.1,
        "data.scale_jitter": (0.4, 1.6),
        "optim.schedule": "cosine",
    },
)
_MASK = {"": _MASK_STEP, "-cosine": _MASK_COSINE}
_MASK_SIZES: dict[str, Settings] = {
    "spinenet49s": {"data.image_size": 640},
    "spinenet49": {"data.image_size": 640},
    "spinenet96": {"data.image_size": 1024},
    "spinenet143": {"data.image_size": 1280},
    "spinenet190": {"data.image_size": 1536},
}
_MASK_EXCEPTIONS: dict[str, Settings] = {
    "maskrcnn-spinenet190": {
        "epochs": 400.0,
        "model.activation": "swish",
        "model.stochastic_depth": 0.2,
        "model.anchor_scale": 5.0,
        "data.scale_jitter": (0.1, 2.0),
    }
}

# Cascade R-CNN-RS of tensorflow/models. Its warm-up takes 2,000 of 462 steps an epoch.
_CASCADE = {
    "": change(
        _B,
        {
            "epochs": 500.0,
            "model.head": "cascade-mask-rcnn",
            "model.activation": "swish",
            "model.stochastic_depth": 0.2,
            "model.depth_rule": "mg",
            "model.rpn_convs": 2,
            "data.scale_jitter": (0.1, 2.5),
            "optim.lr": 0.32,
            "optim.warmup_epochs": 4.33,
            "optim.warmup_start": WARMUP_LR / 0.32,
            "optim.drops": (25.0, 10.0),
            "optim.decay": "mg",
            "optim.clip_norm": 0.0,
        },
    )
}
_CASCADE_SIZES: dict[str, Settings] = {
    "spinenet49": {"data.image_size": 640},
    "spinenet96": {"data.image_size": 1024, "model.anchor_scale": 4.0},
    "spinenet143": {"data.image_size": 1280, "model.anchor_scale": 4.0},
}

# Classification: paper v1, and the later release's improved protocol.
_CLASSIFY_V1 = TrainConfig(
    model=ModelConfig(head="classifier", bn_eps=1e-5, bn_momentum=0.1),
    data=DataConfig(image_size=224),
    optim=OptimConfig(lr=0.1, weight_decay=1e-4, schedule="cosine", warmup_start=0.25, clip_norm=0.0),
    epochs=90,
    batch_size=1024,
)
_CLASSIFY_IMPROVED = change(
    _CLASSIFY_V1,
    {
        "epochs": 200.0,
        "batch_size": 4096,
        "model.activation": "swish",
        "model.stochastic_depth": 0.2,
        "model.label_smoothing": 0.1,
        "optim.warmup_start": WARMUP_LR / 1.6,
    },
)
_CLASSIFY = {"": _CLASSIFY_V1, "-improved": _CLASSIFY_IMPROVED}
_CLASSIFIERS = ("spinenet49s", "spinenet49", "spinenet96", "spinenet143", "spinenet190")
# ResNets have neither swish nor stochastic depth.
_RESNETS = ("resnet34", "resnet50", "resnet101", "resnet152")


def published() -> dict[str, TrainConfig]:
    """Return the published recipes by name: every size of a family with every protocol."""
    return {
        **_family("retinanet", _RETINANET, _RETINANET_SIZES, _RETINANET_EXCEPTIONS),
        **_family("retinanet", _MOBILE, _MOBILE_SIZES, _MOBILE_EXCEPTIONS),
        **_family("maskrcnn", _MASK, _MASK_SIZES, _MASK_EXCEPTIONS),
        **_family("cascade", _CASCADE, _CASCADE_SIZES, {}),
        **_family("classify", _CLASSIFY, {name: {} for name in _CLASSIFIERS}, {}),
        **_family("classify", {"": _CLASSIFY_V1}, {name: {} for name in _RESNETS}, {}),
    }


def _family(
    head: str, protocols: dict[str, TrainConfig], sizes: dict[str, Settings], exceptions: dict[str, Settings]
) -> dict[str, TrainConfig]:
    """Combine protocols (by name suffix) with sizes; later settings replace earlier ones."""
    table = {}
    for size, settings in sizes.items():
        for suffix, protocol in protocols.items():
            name = f"{head}-{size}{suffix}"
            changes = {"model.arch": size, **settings, **exceptions.get(name, {})}
            table[name] = change(protocol, changes)
    return table
