"""Proxy tasks as data: the short, narrow training whose result is a trial's reward (paper section 4.1)."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from spinet.arch.genotype import check_keys
from spinet.arch.scaling import Scaling
from spinet.engine.config import DataConfig, OptimConfig, TrainConfig
from spinet.errors import SpinetError, unknown_name
from spinet.fields import Count, Name, Natural, Positive, check_fields
from spinet.files import read_json

Reward = Literal["AP", "AP50", "loss", "train_loss"]

# Settings of the training that a proxy chooses, by part of `TrainConfig`. In JSON they stand beside its own: that is
# how journals and proxy files have always had them.
_TRAINING = {
    "model": ("activation", "bn_momentum", "anchor_scale", "octaves", "aspect_ratios"),
    "data": ("image_size", "scale_jitter", "horizontal_flip", "vertical_flip", "max_objects", "cache_images"),
    "optim": ("lr", "warmup_epochs", "weight_decay", "clip_norm"),
}

# The learning rate follows half a cosine to zero within each training: without that, short trainings rank badly.
_PAPER_TRAINING = TrainConfig(
    data=DataConfig(image_size=512, scale_jitter=(0.8, 1.2)),
    optim=OptimConfig(lr=0.08, schedule="cosine", warmup_epochs=1.0),
    batch_size=64,
    eval_epochs=0,
)


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A training task small enough to be repeated for every trial, validated on construction.

    Args:
        name: of the proxy.
        train: the training, its learning rate given for its batch size.
        width: fraction of the width of the space's scaling.
        alpha: fraction of the channels that resampling keeps, whatever the space's.
        endpoint_channels: channels of the backbone's features.
        stem_channels: channels of the first convolution.
        head_channels: channels of RetinaNet's towers.
        head_convs: convolutions of each tower.
        rungs: epochs of each rung, ascending.
        held_out: fraction of the training images that the reward is measured on; they are never trained on.
        data_fraction: fraction of the other training images that is trained on.
        split_seed: seed of both choices, which depend on it and on the ids of the images alone.
        reward: AP or AP50 on the held-out images, or minus the loss there; `train_loss` is minus the training loss at
            the end, for which nothing is evaluated.

    Raises:
        SpinetError: a value is out of range.
    """

    name: Name
    train: TrainConfig = field(default=_PAPER_TRAINING)
    width: Positive = 0.25
    alpha: Positive = 0.25
    endpoint_channels: Count = 64
    stem_channels: Count = 64
    head_channels: Count = 64
    head_convs: Annotated[int, Meta(ge=0, le=100)] = 4
    rungs: Annotated[tuple[Positive, ...], Meta(min_length=1)] = (5.0,)
    held_out: Annotated[float, Meta(gt=0, lt=1)] = 1 / 16
    data_fraction: Annotated[float, Meta(gt=0, le=1)] = 1.0
    split_seed: Natural = 0
    reward: Reward = "AP"

    def __post_init__(self) -> None:
        check_fields("proxy", self)
        if any(first >= second for first, second in zip(self.rungs, self.rungs[1:], strict=False)):
            raise SpinetError(f"proxy: rungs must be ascending numbers of epochs, got {self.rungs}")

    @property
    def anchors(self) -> int:
        """Anchors per location of a feature map."""
        return self.train.model.octaves * len(self.train.model.aspect_ratios)

    def epochs(self, rung: int) -> float:
        """Return the length of the training at a rung, 0 being the first."""
        if not 0 <= rung < len(self.rungs):
            raise SpinetError(f"the proxy {self.name} has no rung {rung}; its rungs are 0 to {len(self.rungs) - 1}")
        return self.rungs[rung]

    def scaling(self, base: Scaling) -> Scaling:
        """Return the narrow copy of a space's scaling; family, repeats and rules are kept."""
        channels = ("alpha", "endpoint_channels", "stem_channels", "head_channels", "head_convs")
        return replace(base, width=base.width * self.width, **{name: getattr(self, name) for name in channels})

    def split(self, image_ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the indices of the images to train on, and of those held out, both ascending.

        Images are ordered by a hash of `split_seed` and their id, so the choice depends on neither their order nor
        their names. Of COCO's 118,287 training images 1/16 are 7,392, as many as the paper holds out.

        >>> [len(part) for part in Proxy(name="paper").split(range(118287))]
        [110895, 7392]
        """
        # The words in the keys keep the two choices independent; they are part of the hash and must not change.
        held = set(self._chosen("held out", image_ids, range(len(image_ids)), self.held_out))
        others = [index for index in range(len(image_ids)) if index not in held]
        train = self._chosen("learnt", image_ids, others, self.data_fraction) if self.data_fraction < 1 else others
        return train, sorted(held)

    def _chosen(self, purpose: str, ids: Sequence[int], indices: Sequence[int], fraction: float) -> list[int]:
        def order(index: int) -> bytes:
            text = f"{self.split_seed} {purpose} {ids[index]}"
            return hashlib.blake2b(text.encode(), digest_size=8).digest()

        return sorted(sorted(indices, key=order)[: math.floor(fraction * len(indices))])

    def with_settings(self, **changes: Any) -> "Proxy":
        """Return a copy with other settings, those of the training among them, by the names that `to_dict` has."""
        return Proxy.from_dict(self.to_dict() | changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` reads them back."""
        train = asdict(self.train)
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "train"}
        training = {name: train[part][name] for part, names in _TRAINING.items() for name in names}
        plain = own | {"batch_size": self.train.batch_size} | training
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Proxy":
        """Build a proxy from JSON; missing values take their defaults."""
        own = [field.name for field in fields(cls) if field.name != "train"]
        training = ["batch_size", *(name for names in _TRAINING.values() for name in names)]
        check_keys("proxy", data, required=("name",), optional=[*own, *training])
        plain = asdict(_PAPER_TRAINING)
        for part, names in _TRAINING.items():
            plain[part] |= {name: data[name] for name in names if name in data}
        plain |= {name: data[name] for name in ("batch_size",) if name in data}
        train = TrainConfig.from_json(json.dumps(plain), "proxy")
        return cls(train=train, **{name: data[name] for name in own if name in data})


# The paper leaves batch size, learning rate, its decay and the endpoints' width open: batch 64, rate 0.08 and 64
# channels are those of Google's later public proxies, the cosine is ours.
_PAPER = Proxy(name="paper")
_LEAN = _PAPER.with_settings(name="lean", stem_channels=16, head_convs=2, octaves=1, aspect_ratios=[1.0])

PROXIES: dict[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        _PAPER,
        _LEAN,
        # A tenth of the data at half the resolution, to screen many architectures.
        _LEAN.with_settings(name="lean-fast", image_size=256, data_fraction=0.1, rungs=(3, 10), cache_images=True),
        # A few hundred images on two CPU cores.
        _LEAN.with_settings(
            name="tiny",
            endpoint_channels=32,
            head_channels=32,
            head_convs=1,
            bn_momentum=0.1,
            image_size=128,
            batch_size=8,
            lr=0.02,
            warmup_epochs=0.5,
            rungs=(7, 28),
            held_out=0.2,
            reward="AP50",
            cache_images=True,
        ),
    )
}


def load_proxy(name_or_path: str | Path) -> Proxy:
    """Return a proxy by name, or from a JSON file.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not a valid proxy.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name in PROXIES:
        return PROXIES[name]
    if path.suffix != ".json" and not path.is_file():
        raise unknown_name("proxy", name, PROXIES)
    return read_json(path, "proxy", Proxy.from_dict)
