"""Proxy tasks as data: the short, narrow training whose result is a trial's reward (paper section 4.1)."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from spinet.arch.genotype import check_keys
from spinet.arch.scaling import Scaling
from spinet.errors import SpinetError, unknown_name
from spinet.files import read_json

Reward = Literal["AP", "AP50", "loss"]
Activation = Literal["relu", "swish", "hard_swish"]

# Least and greatest value of every number.
_WHOLE: dict[str, tuple[float, float]] = {
    "endpoint_channels": (1, 10**5),
    "stem_channels": (1, 10**5),
    "head_channels": (1, 10**5),
    "head_convs": (0, 100),
    "octaves": (1, 100),
    "image_size": (1, 10**5),
    "batch_size": (1, 10**6),
    "max_objects": (1, 10**6),
    "split_seed": (0, 2**62),
}
_REAL: dict[str, tuple[float, float]] = {
    "width": (1e-6, 1e3),
    "alpha": (1e-6, 1e3),
    "anchor_scale": (0.1, 100.0),
    "lr": (0.0, 1e6),
    "warmup_epochs": (0.0, 1e6),
    "weight_decay": (0.0, 1.0),
    "clip_norm": (0.0, 1e9),
    "bn_momentum": (0.0, 1.0),
    "held_out": (1e-9, 1 - 1e-9),
    "data_fraction": (1e-9, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A training task small enough to be repeated for every trial, checked at birth.

    The learning rate follows half a cosine to zero within each training: without that, short trainings rank badly.

    Args:
        name: what it is called.
        width: share of the width of the space's scaling.
        alpha: share of channels that resampling keeps, whatever the space's.
        endpoint_channels: channels of the backbone's features.
        stem_channels: channels of the first convolution.
        head_channels: channels of RetinaNet's towers.
        head_convs: convolutions of each tower.
        octaves: anchor sizes a level.
        aspect_ratios: width / height of the anchors of each size.
        anchor_scale: side of the smallest anchor in strides.
        activation: of backbone and heads.
        bn_momentum: share of the newest batch in batch norm's running statistics.
        image_size: side of the square images, pixels.
        scale_jitter: range of the random scale of a training image.
        horizontal_flip: mirror half of the training images.
        vertical_flip: turn half of the training images upside down.
        max_objects: most objects of a training image that are learnt from.
        batch_size: images a step.
        lr: highest learning rate, at this batch size.
        warmup_epochs: epochs of linear warm-up.
        weight_decay: L2 decay of convolution weights.
        clip_norm: largest norm of the gradient; 0 turns clipping off.
        rungs: epochs of each rung, ascending.
        held_out: share of the training images that the reward is measured on; they are never learnt from.
        data_fraction: share of the other training images that is learnt from.
        split_seed: seed of both choices, which hang on it and on the ids of the images alone.
        reward: AP or AP50 on the held-out images, or minus the loss there.
        cache_images: keep decoded images in memory; for what fits.

    Raises:
        SpinetError: a value is out of range; the sentence names it.
    """

    name: str
    width: float = 0.25
    alpha: float = 0.25
    endpoint_channels: int = 64
    stem_channels: int = 64
    head_channels: int = 64
    head_convs: int = 4
    octaves: int = 3
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_scale: float = 3.0
    activation: Activation = "relu"
    bn_momentum: float = 0.01
    image_size: int = 512
    scale_jitter: tuple[float, float] = (0.8, 1.2)
    horizontal_flip: bool = True
    vertical_flip: bool = False
    max_objects: int = 100
    batch_size: int = 64
    lr: float = 0.08
    warmup_epochs: float = 1.0
    weight_decay: float = 4e-5
    clip_norm: float = 10.0
    rungs: tuple[float, ...] = (5.0,)
    held_out: float = 1 / 16
    data_fraction: float = 1.0
    split_seed: int = 0
    reward: Reward = "AP"
    cache_images: bool = False

    def __post_init__(self) -> None:
        for name in ("aspect_ratios", "scale_jitter", "rungs"):
            object.__setattr__(self, name, self._numbers(name))
        for name, limits in (_WHOLE | _REAL).items():
            self._check_number(name, *limits)
        for name, choices in {"reward": get_args(Reward), "activation": get_args(Activation)}.items():
            if getattr(self, name) not in choices:
                raise unknown_name(f"{name} in proxy", str(getattr(self, name)), choices)
        for name in ("horizontal_flip", "vertical_flip", "cache_images"):
            if not isinstance(getattr(self, name), bool):
                raise SpinetError(f"proxy: {name} {getattr(self, name)!r:.60} is neither true nor false")
        if not isinstance(self.name, str) or not self.name:
            raise SpinetError(f"proxy: name {self.name!r:.60} is not a text")
        if len(self.scale_jitter) != 2 or self.scale_jitter[0] > self.scale_jitter[1]:
            raise SpinetError(f"proxy: scale_jitter {self.scale_jitter} is not a range (low, high)")
        if any(first >= second for first, second in zip(self.rungs, self.rungs[1:], strict=False)):
            raise SpinetError(f"proxy: the epochs of its rungs {self.rungs} do not ascend")

    def _numbers(self, name: str) -> tuple[float, ...]:
        values = getattr(self, name)
        good = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
        if not good or not all(_is_number(value) and 0 < value < math.inf for value in values):
            raise SpinetError(f"proxy: {name} {values!r:.60} are not one or more finite numbers above 0")
        return tuple(map(float, values))

    def _check_number(self, name: str, low: float, high: float) -> None:
        value, whole = getattr(self, name), name in _WHOLE
        if not _is_number(value) or (whole and not isinstance(value, int)) or not low <= value <= high:
            what = "a whole number" if whole else "a number"
            raise SpinetError(f"proxy: {name} {value!r:.60} is not {what} from {low:g} to {high:g}")

    @property
    def anchors(self) -> int:
        """Anchors of each place of a feature map."""
        return self.octaves * len(self.aspect_ratios)

    def epochs(self, rung: int) -> float:
        """Return the length of the training at a rung, 0 being the first.

        Raises:
            SpinetError: there is no such rung.
        """
        if not 0 <= rung < len(self.rungs):
            raise SpinetError(f"the proxy {self.name} has no rung {rung}; its rungs are 0 to {len(self.rungs) - 1}")
        return self.rungs[rung]

    def scaling(self, base: Scaling) -> Scaling:
        """Return the narrow copy of a space's scaling; family, repeats and rules are kept.

        Raises:
            SpinetError: it leaves no channel at the finest level.
        """
        return replace(
            base,
            width=base.width * self.width,
            alpha=self.alpha,
            endpoint_channels=self.endpoint_channels,
            stem_channels=self.stem_channels,
            head_channels=self.head_channels,
            head_convs=self.head_convs,
        )

    def split(self, image_ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the places of the images to learn from, and of those held out, both ascending.

        Images are ordered by a hash of `split_seed` and their id, so the choice depends on neither their order nor
        their names. Of COCO's 118,287 training images 1/16 are 7,392, as many as the paper holds out.

        >>> [len(part) for part in Proxy(name="paper").split(range(118287))]
        [110895, 7392]
        """
        held = set(self._chosen("held out", image_ids, range(len(image_ids)), self.held_out))
        others = [place for place in range(len(image_ids)) if place not in held]
        learnt = self._chosen("learnt", image_ids, others, self.data_fraction) if self.data_fraction < 1 else others
        return learnt, sorted(held)

    def _chosen(self, purpose: str, ids: Sequence[int], places: Sequence[int], share: float) -> list[int]:
        def order(place: int) -> bytes:
            text = f"{self.split_seed} {purpose} {ids[place]}"
            return hashlib.blake2b(text.encode(), digest_size=8).digest()

        return sorted(sorted(places, key=order)[: math.floor(share * len(places))])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `from_dict` reads them back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Proxy":
        """Build a proxy from JSON; values left out take their defaults.

        Raises:
            SpinetError: a name is unknown or a value out of range.
        """
        check_keys("proxy", data, required=("name",), optional=[field.name for field in fields(cls)])
        return cls(**data)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# The paper leaves batch size, learning rate, its decay and the endpoints' width open: batch 64, rate 0.08 and 64
# channels are those of Google's later public proxies, the cosine is ours.
_PAPER = Proxy(name="paper")
_LEAN = replace(_PAPER, name="lean", stem_channels=16, head_convs=2, octaves=1, aspect_ratios=(1.0,))

PROXIES: dict[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        _PAPER,
        _LEAN,
        # A tenth of the data at half the resolution, for sifting many architectures.
        replace(_LEAN, name="lean-fast", image_size=256, data_fraction=0.1, rungs=(3, 10), cache_images=True),
        # A few hundred photos on two CPU cores.
        Proxy(
            name="tiny",
            stem_channels=16,
            endpoint_channels=32,
            head_channels=32,
            head_convs=1,
            octaves=1,
            aspect_ratios=(1.0,),
            anchor_scale=3.0,
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


def load_proxy(name_or_path: str) -> Proxy:
    """Return the proxy of a name, or the one in a JSON file.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not a valid proxy.
    """
    if name_or_path in PROXIES:
        return PROXIES[name_or_path]
    path = Path(name_or_path)
    if path.suffix != ".json" and not path.is_file():
        raise unknown_name("proxy", name_or_path, PROXIES)
    return read_json(path, "proxy", Proxy.from_dict)
