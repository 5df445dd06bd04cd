"""Checkpoints to resume from: files of tensors and plain values, read with `weights_only=True`."""

import io
from pathlib import Path
from typing import Any

import torch

from spinet.arch.catalog import Network, network_from_json
from spinet.engine.build import FORMAT
from spinet.errors import SpinetError
from spinet.files import write_atomically


def save_state(path: Path, state: dict[str, Any], architecture: Network) -> None:
    """Write a checkpoint: tensors and plain values, tagged with the architecture."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "architecture": architecture.to_json(), "state": state}, buffer)
    write_atomically(path, buffer.getvalue())


def read_state(path: Path, architecture: Network) -> dict[str, Any]:
    """Read the checkpoint of a run of `architecture`."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SpinetError(f"could not read the checkpoint {path}: {error.strerror}") from None
    except Exception:  # the unpickler may raise anything on a corrupt file
        raise SpinetError(
            f"could not read the checkpoint {path}: it is corrupt; the weights files of the run are not affected, and "
            "model.weights starts a new run from them"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SpinetError(f"{path} is not a checkpoint of this version ({FORMAT})")
    saved = network_from_json(content["architecture"], str(path))
    if saved != architecture and saved.name == architecture.name:
        raise SpinetError(f"the architecture {saved.name} has changed since {path} was written; start in a new folder")
    if saved != architecture:
        raise SpinetError(
            f"{path} has another architecture ({saved.name}) than the settings ({architecture.name}); "
            "start in a new run folder"
        )
    state: dict[str, Any] = content["state"]
    return state
