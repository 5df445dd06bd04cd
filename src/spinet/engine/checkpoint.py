"""Weights with everything needed to use them, and the state of a run that was interrupted.

Weights are safetensors whose metadata holds the task, the architecture, the model's settings and the classes: one file
is a working detector, classifier or backbone. The training state is a file of tensors and plain values, read with
`weights_only=True`.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spinet.arch.catalog import Network, network_from_json
from spinet.engine.build import Detector, Model, backbone_settings, create_model
from spinet.engine.config import ModelConfig, TrainConfig
from spinet.engine.key_names import current_name
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.models.backbone import Backbone
from spinet.models.classifier import Classifier
from spinet.models.factory import create_backbone

Task = Literal["detector", "classifier", "backbone"]

FORMAT = "spinet-1"
BACKBONE = "backbone."
MASK_HEAD = "mask_head."
# In a run folder, the better ones first.
WEIGHTS = ("best.safetensors", "last.safetensors")

# Heads that differ by masks alone.
SHARED_HEADS = ({"faster-rcnn", "mask-rcnn"}, {"cascade-rcnn", "cascade-mask-rcnn"})

# Settings under which weights of another value compute something else.
CONVENTIONS = ("activation", "pad_mode", "pool_mode", "squeeze_mode", "endpoint_activation")


@dataclass(frozen=True)
class ModelInfo:
    """What a weights file says about its network.

    Args:
        architecture: graph and scaling, or a baseline.
        model: the settings that it was built with.
        class_names: name of each label; none for a backbone alone.
        category_ids: COCO category id of each label.
        image_size: side of the square images it was trained on, pixels.
    """

    architecture: Network
    model: ModelConfig
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image_size: int

    @property
    def task(self) -> Task:
        """What the network does; without classes it is a backbone."""
        if not self.class_names:
            return "backbone"
        return "classifier" if self.model.head == "classifier" else "detector"

    def to_metadata(self) -> dict[str, str]:
        """Return the strings that safetensors stores."""
        return {
            "format": FORMAT,
            "task": self.task,
            "architecture": self.architecture.to_json(),
            "model": json.dumps(asdict(self.model)),
            "class_names": json.dumps(self.class_names),
            "category_ids": json.dumps(self.category_ids),
            "image_size": str(self.image_size),
        }

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, where: str) -> "ModelInfo":
        """Read what `to_metadata` wrote; `where` names the file in errors."""
        if not metadata or metadata.get("format") != FORMAT:
            raise SpinetError(f"{where} is not a Spinet weights file: its metadata does not say format {FORMAT!r}")
        try:
            settings = TrainConfig.from_json(f'{{"model": {metadata["model"]}}}', where)
            return cls(
                network_from_json(metadata["architecture"], where),
                settings.model,
                tuple(json.loads(metadata["class_names"])),
                tuple(json.loads(metadata["category_ids"])),
                int(metadata["image_size"]),
            )
        except SpinetError:
            raise
        except (KeyError, ValueError, TypeError) as error:
            raise SpinetError(f"the metadata of {where} is damaged: {error!r:.100}") from None

    def create_model(self) -> Model:
        """Build the network, with untrained weights."""
        return create_model(self.architecture, self.model, len(self.class_names))

    def create_detector(self) -> Detector:
        """Build the network, which is known to be a detector."""
        model = self.create_model()
        assert not isinstance(model, Classifier)
        return model

    def create_backbone(self) -> Backbone:
        """Build the backbone alone, with untrained weights."""
        return create_backbone(self.architecture, levels=None, **backbone_settings(self.model))


def save_weights(path: Path, weights: dict[str, Tensor], info: ModelInfo, notes: Mapping[str, float]) -> None:
    """Write a weights file; `notes` (the step, the metrics) go into its metadata as JSON, if they are finite."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    finite = {name: value for name, value in notes.items() if math.isfinite(value)}
    write_atomically(path, save(tensors, {**info.to_metadata(), "notes": json.dumps(finite)}))


def holds_weights(path: Path) -> bool:
    """Whether a path is a folder with weights in it, as run folders are."""
    return any((path / name).is_file() for name in WEIGHTS)


def weights_file(path: Path) -> Path:
    """Return the weights file that a path means: itself, or the best (else the last) one of a run folder.

    Raises:
        SpinetError: there is none.
    """
    if path.is_file():
        return path
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
    if path.is_dir():
        raise SpinetError(f"the folder {path} holds neither best.safetensors nor last.safetensors: is it a run folder?")
    raise SpinetError(f"there is no weights file or run folder {path}")


def read_info(path: Path) -> ModelInfo:
    """Read the description in a weights file or run folder, without its tensors.

    Raises:
        SpinetError: the file is missing, damaged, or not one of ours.
    """
    file = weights_file(path)
    try:
        with safe_open(file, framework="pt") as content:
            return ModelInfo.from_metadata(content.metadata(), str(file))
    except (SafetensorError, OSError) as error:
        raise SpinetError(f"could not read the weights file {file}: {error}") from None


def read_weights(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Read the tensors and the description in a weights file or run folder.

    Raises:
        SpinetError: the file is missing, damaged, or not one of ours.
    """
    file = weights_file(path)
    try:
        with safe_open(file, framework="pt") as content:
            info = ModelInfo.from_metadata(content.metadata(), str(file))
            return {current_name(name): content.get_tensor(name) for name in content.keys()}, info  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SpinetError(f"could not read the weights file {file}: {error}") from None


def load_model(path: Path, device: torch.device | str = "cpu") -> tuple[Detector, ModelInfo]:
    """Build the detector of a weights file or run folder, with its weights, in evaluation mode.

    Raises:
        SpinetError: the file is missing, damaged, holds no detector, or its tensors do not fit its own description.
    """
    tensors, info = read_weights(path)
    if info.task == "classifier":
        raise SpinetError(
            f"{path} holds a classifier of {len(info.class_names)} classes, but a detector is asked for; "
            "`load_classifier` reads it, and training starts from its backbone with --model.weights"
        )
    if info.task == "backbone":
        raise SpinetError(
            f"{path} holds a backbone without a detector's head: `load_backbone` reads it, and training starts from "
            "it with --model.weights"
        )
    model = info.create_detector()
    load_tensors(model, tensors, str(path))
    return model.to(device).eval(), info


def load_classifier(path: Path, device: torch.device | str = "cpu") -> tuple[Classifier, ModelInfo]:
    """Build the classifier of a weights file or run folder, with its weights, in evaluation mode.

    Raises:
        SpinetError: the file is missing, damaged, holds no classifier, or its tensors do not fit its own description.
    """
    tensors, info = read_weights(path)
    model = info.create_model() if info.task == "classifier" else None
    if not isinstance(model, Classifier):
        raise SpinetError(f"{path} holds a {info.task}, but a classifier is asked for")
    load_tensors(model, tensors, str(path))
    return model.to(device).eval(), info


def load_backbone(path: Path, device: torch.device | str = "cpu") -> tuple[Backbone, ModelInfo]:
    """Build the backbone of a weights file or run folder, with its weights, in evaluation mode; leave a head out.

    Raises:
        SpinetError: the file is missing, damaged, or its tensors do not fit its own description.
    """
    tensors, info = read_weights(path)
    backbone = info.create_backbone()
    own = {name.removeprefix(BACKBONE): value for name, value in tensors.items() if name.startswith(BACKBONE)}
    load_tensors(backbone, own, str(path))
    return backbone.to(device).eval(), info


def load_tensors(model: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Copy `tensors` into `model`.

    Raises:
        SpinetError: names or shapes differ; the first three are named.
    """
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        shown = "; ".join(f"{name} is {found.get(name)}, not {wanted.get(name)}" for name in wrong[:3])
        raise SpinetError(f"{where} does not fit this network in {len(wrong)} tensors, for example {shown}")
    model.load_state_dict(tensors)


def load_pretrained(model: Model, info: ModelInfo) -> str:
    """Start `model` from the weights that `info.model.weights` names.

    Returns:
        What was taken from them, in words.

    Raises:
        SpinetError: they belong to another architecture, were trained under other conventions, or tell other
            classes apart while `new_classes` is off.
    """
    path = info.model.weights
    tensors, source = read_weights(Path(path))
    if source.architecture != info.architecture:
        raise SpinetError(
            f"{path} holds weights of another architecture ({source.architecture.name}, not {info.architecture.name})"
        )
    _check_conventions(source.model, info.model, path)
    own = model.state_dict()
    if source.task == "backbone" or not _share_a_head(source.model.head, info.model.head):
        kept = {name: value for name, value in tensors.items() if name.startswith(BACKBONE)}
        fresh = {name: value for name, value in own.items() if not name.startswith(BACKBONE)}
    else:
        _check_names(source, info)
        anew = model.class_predictors if info.model.new_classes else ()
        anew += (MASK_HEAD,) if source.model.head != info.model.head else ()
        kept = {name: value for name, value in tensors.items() if not name.startswith(anew)}
        fresh = {name: value for name, value in own.items() if name.startswith(anew)}
    load_tensors(model, kept | fresh, path)
    new = sorted({name.split(".")[0] for name in fresh})
    return f"weights: from {path}" + (f", but for {', '.join(new)}, which start anew" if new else "")


def _share_a_head(one: str, other: str) -> bool:
    """Whether all but masks of a network goes into the other's head."""
    return one == other or any({one, other} <= heads for heads in SHARED_HEADS)


def _check_names(source: ModelInfo, info: ModelInfo) -> None:
    if info.model.new_classes or source.class_names == info.class_names:
        return
    theirs = ", ".join(source.class_names[:3])
    raise SpinetError(
        f"{info.model.weights} tells {len(source.class_names)} classes apart ({theirs} ...), "
        f"the data set has {len(info.class_names)} ({', '.join(info.class_names[:3])} ...); --model.new-classes "
        "starts a new class predictor on the old features"
    )


def _check_conventions(theirs: ModelConfig, ours: ModelConfig, path: str) -> None:
    wrong = [name for name in CONVENTIONS if getattr(theirs, name) != getattr(ours, name)]
    if wrong:
        flags = " ".join(_flag(name, getattr(theirs, name)) for name in wrong)
        raise SpinetError(f"{path} holds weights that were trained with other settings; go on with them: {flags}")


def _flag(name: str, value: str | bool) -> str:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--model.{option}" if value else f"--model.no-{option}"
    return f"--model.{option} {value}"


def save_state(path: Path, state: dict[str, Any], architecture: Network) -> None:
    """Write the training state: tensors and plain values, tagged with the architecture."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "architecture": architecture.to_json(), "state": state}, buffer)
    write_atomically(path, buffer.getvalue())


def read_state(path: Path, architecture: Network) -> dict[str, Any]:
    """Read the training state of a run of `architecture`.

    Raises:
        SpinetError: the file is damaged, not one of ours, or of another architecture.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SpinetError(f"could not read the training state {path}: {error.strerror}") from None
    except Exception:  # what a damaged file makes the unpickler raise is anything
        raise SpinetError(
            f"could not read the training state {path}: it is damaged or not one; the weights beside it are whole, "
            "and --model.weights starts a new run from them"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SpinetError(f"{path} is not a training state of this version ({FORMAT})")
    saved = network_from_json(content["architecture"], str(path))
    if saved != architecture:
        if saved.name == architecture.name:
            raise SpinetError(
                f"the architecture {saved.name} has changed since {path} was written; start in a new folder"
            )
        raise SpinetError(
            f"{path} is of another architecture ({saved.name}) than the settings ask for ({architecture.name}); "
            "start in a new run folder"
        )
    state: dict[str, Any] = content["state"]
    return state
