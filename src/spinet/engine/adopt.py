"""Fine-tuning: the settings that a training takes from the weights that it starts from."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spinet.arch.catalog import Network
from spinet.engine.build import ModelInfo, choose_network
from spinet.engine.checkpoint import read_notes
from spinet.engine.config import HEAD_SETTINGS, ModelConfig, TrainConfig, read_config
from spinet.engine.pretrained import same_head
from spinet.errors import SpinetError
from spinet.models.options import DETECTOR_DEFAULTS

# Settings of the network that a recipe keeps: how it is trained, not what it computes.
KEPT = ("weights", "new_classes", "class_start", "freeze", "freeze_norm", "bn_momentum", "roi_samples", "mask_samples")
# Those of anchors: with a new head they are the recipe's.
ANCHORS = ("anchor_scale", "octaves", "aspect_ratios")


def adopted(
    config: TrainConfig,
    weights: str,
    head: str = "",
    run: Path | None = None,
    *,
    find_weights: Callable[[str], Path] = Path,
) -> TrainConfig:
    """Return settings whose network and image size are those of a weights file, to fine-tune it on other data.

    Args:
        config: the recipe, which says how to train.
        weights: the weights file or run folder, or what stands for it.
        head: the head to train, if it is not that of the weights. With another kind of head, or weights of a backbone
            alone, anchors and image size are those of the recipe.
        run: the run folder. One that has a checkpoint is resumed without the weights, which may be gone.
        find_weights: returns the file that `weights` stands for, where that may be an address.

    Raises:
        SpinetError: the weights are missing, corrupt, or not ours.
    """
    saved = _saved(run, weights)
    if saved is not None:
        return _with(config, saved.model, weights, saved.data.image_size)
    info = describe(find_weights(weights))
    model = replace(info.model, head=head or info.model.head)  # type: ignore[arg-type]
    if same_head(info, model.head):
        return _with(config, _named(model, info), weights, info.image_size)
    settings = {name: getattr(config.model, name) for name in ANCHORS}
    settings["box_coding"] = DETECTOR_DEFAULTS.box_coding
    size = config.data.image_size
    return _with(config, _named(replace(model, **settings), info), weights, size)


def describe(weights: Path) -> ModelInfo:
    """Return the description in a weights file or run folder."""
    return read_notes(weights)[1]


def _saved(run: Path | None, weights: str) -> TrainConfig | None:
    """Return the settings of a run that started from these weights and can be resumed."""
    if run is None or not (run / "state.pt").is_file() or not (run / "config.json").is_file():
        return None
    config = read_config(run / "config.json")
    return config if config.model.weights == weights else None


def _with(config: TrainConfig, model: ModelConfig, weights: str, image_size: int) -> TrainConfig:
    kept = {name: getattr(config.model, name) for name in KEPT}
    # Settings of another head, and the background class of the weights' own dataset.
    heads = {name: getattr(ModelConfig(), name) for name, heads in HEAD_SETTINGS.items() if model.head not in heads}
    changes = {**kept, **heads, "weights": weights, "new_classes": True, "background": False}
    return replace(config, model=replace(model, **changes), data=replace(config.data, image_size=image_size))


def _named(model: ModelConfig, info: ModelInfo) -> ModelConfig:
    """Return settings that lead to the architecture of the weights: by its name, if that still means the same."""
    network: Network | None
    try:
        network = choose_network(model)
    except SpinetError:
        network = None
    if network == info.architecture:
        return model
    text = json.dumps(json.loads(info.architecture.to_json()), separators=(",", ":"))
    return replace(model, arch=text, scaling="")
