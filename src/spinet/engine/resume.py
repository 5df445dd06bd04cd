"""What a run is bound to: its settings and data, and for bit-equal results its threads and versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from spinet.data.dataset import ImageDataset
from spinet.data.digest import Digest, differences, digest
from spinet.engine.config import TrainConfig, read_config
from spinet.engine.config import differences as changed_settings
from spinet.engine.machine import versions
from spinet.errors import SpinetError

# Settings that may differ when a run is resumed, because they do not change the result. `data.augment_on` does, because
# GPUs round differently when resizing.
MAY_CHANGE = ("data.workers", "data.cache_images", "log_steps", "save_seconds", "device", "threads")


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a run come from, as its checkpoint records it.

    Attributes:
        data: digest of each split.
        made_with: CPU threads, and versions of Spinet and PyTorch, all as strings.
    """

    data: Mapping[str, Digest] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, train: ImageDataset, val: ImageDataset) -> "Origin":
        """Return that of a training that starts now."""
        installed = versions()
        made_with = {
            "CPU threads": str(torch.get_num_threads()),
            "Spinet": installed.get("spinet", "unknown"),
            "PyTorch": str(torch.__version__),  # a class of its own, which checkpoints refuse
        }
        return cls({"train": digest(train), "val": digest(val)}, made_with)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Origin":
        """Read what `to_dict` returned; older checkpoints have nothing."""
        return cls(saved.get("data", {}), saved.get("made_with", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {"data": {split: dict(facts) for split, facts in self.data.items()}, "made_with": dict(self.made_with)}


def check_settings(config: TrainConfig, run: Path) -> None:
    """Refuse a folder that was trained with different settings; `check_data` sees to the dataset."""
    # Without a state nothing has been trained, so settings may be corrected after a failed start.
    if not (run / "state.pt").is_file() or not (run / "config.json").is_file():
        return
    changed = changed_settings(read_config(run / "config.json"), config)
    _refuse({name: values for name, values in changed.items() if name not in (*MAY_CHANGE, "data.root")}, run)


def check_data(config: TrainConfig, run: Path, before: Origin, now: Origin) -> None:
    """Refuse to resume on other data; the same data may have moved.

    Raises:
        SpinetError: the data have changed; or the run is older than digests, and its dataset has another path.
    """
    found = differences(before.data, now.data)
    if found:
        raise SpinetError(
            f"the data of {run} have changed: {' and '.join(found)}; restore them, or start another run folder from "
            "its weights with model.weights"
        )
    if before.data or not (run / "config.json").is_file():
        return
    old, new = read_config(run / "config.json").data.root, config.data.root
    if Path(old).resolve() != Path(new).resolve():
        _refuse({"data.root": (old, new)}, run)


def notes(before: Origin, now: Origin, device: torch.device) -> list[str]:
    """Return a sentence where the rest of a run may not be bit-equal to an uninterrupted one."""
    changed = [
        f"{name} {old}, now {now.made_with[name]}"
        for name, old in before.made_with.items()
        if now.made_with.get(name, old) != old and not (name == "CPU threads" and device.type != "cpu")
    ]
    if not changed:
        return []
    return [
        f"note: the run was trained with {'; '.join(changed)}: its end will not be bit-equal to an uninterrupted run"
    ]


def _refuse(changed: Mapping[str, tuple[object, object]], run: Path) -> None:
    if not changed:
        return
    shown = ", ".join(f"{name} was {old!r:.40}, now {new!r:.40}" for name, (old, new) in [*changed.items()][:2])
    shown += f", and {len(changed) - 2} more" if len(changed) > 2 else ""
    raise SpinetError(f"{run} was trained with different settings ({shown}); use another run folder")
