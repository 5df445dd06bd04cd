"""The settings of a run as they are handed on: without paths of the machine that it was trained on."""

import json
import re
from dataclasses import asdict, replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from spinet.arch.baseline import is_baseline
from spinet.arch.catalog import Architecture, Network, names, network_from_json
from spinet.engine.build import ModelInfo
from spinet.engine.config import ModelConfig, TrainConfig, flatten

# Settings that say how a machine was used, not what was trained.
_OF_MACHINE = (
    "data.root",
    "data.workers",
    "data.cache_images",
    "data.augment_on",
    "log_steps",
    "save_seconds",
    "threads",
    "device",
    "channels_last",
    "compile",
)
_ALWAYS = ("epochs", "batch_size", "data.image_size", "optim.lr", "seed")
_PUBLIC = ("published/", "hf://", "https://")
# Folders may have spaces in their names, so a path reaches to its last separator before a quote or the like.
_PATH = re.compile(r"(?<![\w/:.])(?:file:|~|[A-Za-z]:)?[/\\](?:[^'\",;)]*[/\\])?([^\s'\",;)/\\]*)")


def shared_config(config: TrainConfig) -> TrainConfig:
    """Return the settings without the folder of the dataset; other paths are reduced to a name."""
    return replace(config, model=_shared_model(config.model), data=replace(config.data, root=""))


def shared_info(info: ModelInfo) -> ModelInfo:
    """Return the description of a network without paths."""
    return replace(info, architecture=_shared_network(info.architecture), model=_shared_model(info.model))


def _shared_network(network: Network) -> Network:
    if not isinstance(network, Architecture):
        return network
    return replace(network, name=without_paths(network.name), source=without_paths(network.source))


def shown_settings(config: TrainConfig) -> list[tuple[str, str]]:
    """Return the settings that a reader may want: the main ones, and those that differ from the defaults."""
    chosen, usual = flatten(asdict(shared_config(config))), flatten(asdict(TrainConfig()))
    shown = [name for name in chosen if name in _ALWAYS or chosen[name] != usual[name]]
    return [(name, _text(chosen[name])) for name in shown if name not in _OF_MACHINE and chosen[name] != ""]


def weights_name(weights: str) -> str:
    """Return the public address of weights without what may be secret in it, or the name of a local file or folder.

    >>> weights_name("/home/me/runs/cells/best.safetensors"), weights_name("https://me:pass@a.org/w.pth?token=1")
    ('best.safetensors', 'https://a.org/w.pth')
    """
    if not weights.startswith(_PUBLIC):
        return _last(weights)
    if not weights.startswith("https://"):
        return weights
    parts = urlsplit(weights)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def without_paths(text: str) -> str:
    """Reduce absolute paths in a string to their last names; addresses on the web stay.

    >>> without_paths("trial 7 of /home/me/runs/search"), without_paths("tensorflow/tpu, https://arxiv.org/abs/1")
    ('trial 7 of search', 'tensorflow/tpu, https://arxiv.org/abs/1')
    >>> without_paths("of /home/jane doe/runs/search, by file:///home/me/x.pth")
    'of search, by x.pth'
    """
    return _PATH.sub(r"\1", text)


def _shared_model(model: ModelConfig) -> ModelConfig:
    arch, scaling = (_network_name(name) for name in (model.arch, model.scaling))
    return replace(model, arch=arch, scaling=scaling, weights=weights_name(model.weights))


def _network_name(name: str) -> str:
    """Return what `model.arch` says without paths; it may hold a network itself, see `engine.adopt`."""
    if name.startswith("{"):
        network = _shared_network(network_from_json(name, "the architecture"))
        return json.dumps(json.loads(network.to_json()), separators=(",", ":"))
    return name if not name or name in names() or is_baseline(name) else _last(name)


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _text(value: object) -> str:
    if isinstance(value, str) and value.startswith("{"):
        return network_from_json(value, "the architecture").name
    return " ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
