"""Weights files, and loading models from them.

Weights are safetensors whose metadata holds the kind of network, architecture, settings and classes: one file is a
working detector, classifier or backbone.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spinet.engine.build import Detector, Model, ModelInfo, ModelKind
from spinet.engine.key_names import current_name
from spinet.engine.packed import MODEL, PackedWeights
from spinet.errors import SpinetError
from spinet.files import write_atomically
from spinet.formats.listing import image_suffixes
from spinet.models.backbone import Backbone
from spinet.models.classifier import Classifier

T = TypeVar("T")

BACKBONE = "backbone."
# Of the metadata in the header of a safetensors file.
KEY = "__metadata__"
# In a run folder, the better ones first, or in the folder of a shared model.
WEIGHTS = ("best.safetensors", "last.safetensors", MODEL)

# Settings without parameters of their own: weights trained with another value would load and compute nonsense.
CONVENTIONS = ("activation", "pad_mode", "pool_mode", "squeeze_mode", "endpoint_activation")


def save_weights(
    path: Path,
    weights: dict[str, Tensor],
    info: ModelInfo,
    notes: Mapping[str, float],
    *,
    half: bool = False,
    source: Mapping[str, str] | None = None,
) -> None:
    """Write a weights file.

    Args:
        path: the file.
        weights: the tensors.
        info: what they are.
        notes: the step and the metrics; finite ones go into the metadata as JSON.
        half: store kernels and matrices in fp16; `read_weights` makes them fp32 again. Vectors stay as they are: the
            variances of batch norm may be out of fp16's range.
        source: where the weights come from, such as their dataset, licence and address, for the metadata.

    Raises:
        SpinetError: a value does not fit into fp16, or the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    if half:
        tensors = {name: _in_half(name, value) for name, value in tensors.items()}
    finite = {name: value for name, value in notes.items() if math.isfinite(value)}
    metadata = {**info.to_metadata(), "notes": json.dumps(finite)}
    if source:
        metadata["source"] = json.dumps(source, sort_keys=True)
    write_atomically(path, _ordered(save(tensors, metadata)))


def _in_half(name: str, value: Tensor) -> Tensor:
    if value.ndim < 2 or not value.is_floating_point():
        return value
    half = value.half()
    if not torch.isfinite(half).all():
        raise SpinetError(f"{name} has values that do not fit into fp16 (above 65504, or not finite)")
    return half


def _ordered(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file, whose order is random: equal weights are to be equal files."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header = {KEY: dict(sorted(header.pop(KEY).items())), **header}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[8 + size :]])


def _open(file: Path) -> Any:
    return PackedWeights(file) if file.suffix.lower() == ".zip" else safe_open(file, framework="pt")


def holds_weights(path: Path) -> bool:
    """Whether a path is a folder that contains weights, like a run folder."""
    return any((path / name).is_file() for name in WEIGHTS)


def weights_file(path: str | Path) -> Path:
    """Return the weights file of a path: itself, or the best (else the last) one of a run folder.

    Raises:
        SpinetError: there is none.
    """
    path = Path(path)
    for file in (path, *(path / name for name in WEIGHTS)):
        if file.is_file():
            return file
    if path.is_dir():
        raise SpinetError(f"the folder {path} has neither best.safetensors nor last.safetensors: is it a run folder?")
    raise SpinetError(f"there is no weights file or run folder {path}")


def read_weights(
    path: str | Path, build: Callable[[ModelInfo], nn.Module] | None = None
) -> tuple[dict[str, Tensor], ModelInfo]:
    """Read the tensors and the description in a weights file or run folder.

    Args:
        path: the file or folder.
        build: the network that the tensors are for; it is built without values and compared with the header of the
            file, so that a description of an absurd network takes no memory.

    Raises:
        SpinetError: the file is missing, corrupt, or not one of ours, or its tensors do not match the network.
    """
    file = weights_file(path)
    if file.suffix.lower() in image_suffixes():
        raise SpinetError(f"{file} is an image; expected a model here: a run folder, .safetensors, .onnx, .xml or .pt2")
    try:
        with _open(file) as content:
            info = ModelInfo.from_metadata(content.metadata(), str(file))
            names = {current_name(name): name for name in content.keys()}  # noqa: SIM118
            if build is not None:
                with torch.device("meta"):
                    expected = build(info).state_dict()
                _check_shapes(
                    expected, {new: tuple(content.get_slice(old).get_shape()) for new, old in names.items()}, path
                )
            return {new: _in_single(content.get_tensor(old)) for new, old in names.items()}, info
    except (SafetensorError, OSError) as error:
        raise SpinetError(
            f"could not read the weights file {file}: {error!s:.60}; expected an intact .safetensors file or a run "
            "folder"
        ) from None


def _in_single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def read_source(path: Path) -> dict[str, str]:
    """Return where a weights file says that it comes from; empty if it does not. Raises as `read_notes` does."""
    return _read_metadata(path, lambda metadata: {**json.loads(metadata.get("source", "{}"))})


def read_notes(path: Path) -> tuple[dict[str, float], ModelInfo]:
    """Return the notes of a weights file (the step and the metrics) and its description, without its tensors.

    Raises:
        SpinetError: the file is missing, corrupt, or not one of ours.
    """

    def read(metadata: dict[str, str]) -> tuple[dict[str, float], ModelInfo]:
        info = ModelInfo.from_metadata(metadata, str(path))
        notes = json.loads(metadata.get("notes", "{}"))
        return {name: float(value) for name, value in notes.items()}, info

    return _read_metadata(path, read)


def _read_metadata(path: Path, read: Callable[[dict[str, str]], T]) -> T:
    try:
        with _open(weights_file(path)) as content:
            return read(content.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, SpinetError):
            raise
        raise SpinetError(f"could not read the weights file {path}: {error!s:.60}") from None


def load_model(path: str | Path, device: torch.device | str = "cpu") -> tuple[Model, ModelInfo]:
    """Build the detector or classifier of a weights file or run folder, with its weights, in evaluation mode.

    Raises:
        SpinetError: the file is missing or corrupt, holds a backbone only, or its tensors do not match its description.
    """
    return _load(path, device)


def load_detector(path: str | Path, device: torch.device | str = "cpu") -> tuple[Detector, ModelInfo]:
    """Load a detector as `load_model` does; classifiers raise a SpinetError too."""
    return cast(tuple[Detector, ModelInfo], _load(path, device, "detector"))


def load_classifier(path: str | Path, device: torch.device | str = "cpu") -> tuple[Classifier, ModelInfo]:
    """Load a classifier as `load_model` does; detectors raise a SpinetError too."""
    return cast(tuple[Classifier, ModelInfo], _load(path, device, "classifier"))


def load_backbone(path: str | Path, device: torch.device | str = "cpu") -> tuple[Backbone, ModelInfo]:
    """Build the backbone of a weights file or run folder, without a head, with its weights, in evaluation mode.

    Raises:
        SpinetError: the file is missing or corrupt, or its tensors do not match its description.
    """
    tensors, info = read_weights(path)
    weights = {name.removeprefix(BACKBONE): value for name, value in tensors.items() if name.startswith(BACKBONE)}
    with torch.device("meta"):
        expected = info.create_backbone().state_dict()
    _check_shapes(expected, {name: tuple(value.shape) for name, value in weights.items()}, path)
    backbone = info.create_backbone()
    backbone.load_state_dict(weights)
    return backbone.to(device).eval(), info


def _load(path: str | Path, device: torch.device | str, kind: ModelKind | None = None) -> tuple[Model, ModelInfo]:
    def build(info: ModelInfo) -> Model:
        if kind and info.kind != kind:
            raise SpinetError(f"{path} holds a {info.kind}, not a {kind}; load it with `load_{info.kind}`")
        if info.kind == "backbone":
            raise SpinetError(
                f"{path} holds a backbone without a head: load it with `load_backbone`, or train from it with "
                "model.weights"
            )
        return info.create_model()

    tensors, info = read_weights(path, build)
    model = info.create_model()
    model.load_state_dict(tensors)
    return model.to(device).eval(), info


def load_tensors(model: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Copy `tensors` into `model`; errors name the first three that are missing, unexpected or of another shape."""
    _check_shapes(model.state_dict(), {name: tuple(value.shape) for name, value in tensors.items()}, where)
    model.load_state_dict(tensors)


def _check_shapes(network: Mapping[str, Tensor], actual: Mapping[str, tuple[int, ...]], where: str | Path) -> None:
    expected = {name: tuple(value.shape) for name, value in network.items()}
    wrong = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    if wrong:
        shown = "; ".join(f"{name} is {actual.get(name)}, not {expected.get(name)}" for name in wrong[:3])
        raise SpinetError(f"{where} does not match this network in {len(wrong)} tensors, for example {shown:.160}")
