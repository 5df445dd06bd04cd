"""Baselines of the paper: a scale-decreasing body, with or without a neck."""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from spinet.arch.genotype import check_keys
from spinet.arch.scaling import COUNTS, check_count
from spinet.errors import SpinetError, quoted, unknown_name

Neck = Literal["fpn", "nas-fpn", "none"]

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
NECKS = ("fpn", "nas-fpn")
NO_NECK = "none"
TIMM = "timm/"
LEVELS = (3, 4, 5, 6, 7)
# The only level without a neck: the last features, for classifiers.
LAST_LEVEL = 5

_NAME = re.compile(r"(?P<body>.+?)-(?P<neck>nas-fpn|fpn)")
# Of timm's own models: it takes Hugging Face repositories and local folders too, which a file of others shall not name.
_TIMM_NAME = re.compile(rf"{TIMM}[A-Za-z0-9_.]{{1,100}}")
_COUNTS = {
    "channels": COUNTS["endpoint_channels"],
    "repeats": COUNTS["repeats"],
    "head_channels": COUNTS["head_channels"],
    "head_convs": COUNTS["head_convs"],
}


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A network without a scale-permuted graph, named `BODY-fpn`, `BODY-nas-fpn`, or `BODY` without a neck.

    Args:
        body: `resnet18` to `resnet152`, or `timm/NAME` for any timm model with features of strides 8, 16 and 32 (needs
            the extra `timm`).
        neck: computes levels 3 to 7 from these: a feature pyramid, or NAS-FPN. `"none"` gives only the body's last
            features, for classifiers; `channels` is ignored then.
        channels: channels of the neck's feature maps.
        repeats: how often the cell of NAS-FPN is stacked.
        head_channels: channels of the detector's class and box towers.
        head_convs: convolutions in each of these towers.

    Raises:
        SpinetError: a value is unknown or out of range.
    """

    body: str
    neck: Neck = "fpn"
    channels: int = 256
    repeats: int = 7
    head_channels: int = 256
    head_convs: int = 4

    def __post_init__(self) -> None:
        if self.neck not in (*NECKS, NO_NECK):
            raise unknown_name("neck", self.neck, (*NECKS, NO_NECK))
        if not isinstance(self.body, str) or (self.body not in RESNETS and not self.body.startswith(TIMM)):
            raise unknown_name("body", self.body, (*RESNETS, f"{TIMM}NAME"))
        if self.body not in RESNETS and not _TIMM_NAME.fullmatch(self.body):
            raise SpinetError(
                f"baseline: body must be {TIMM} and the name of one of its models, not {quoted(self.body)}"
            )
        for name, bounds in _COUNTS.items():
            check_count(f"baseline: {name}", getattr(self, name), *bounds)

    @property
    def name(self) -> str:
        """The name that `load_network` accepts."""
        return self.body if self.neck == NO_NECK else f"{self.body}-{self.neck}"

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of its features, finest first."""
        return (LAST_LEVEL,) if self.neck == NO_NECK else LEVELS

    def to_json(self) -> str:
        """Return the description as a JSON string."""
        return json.dumps({"baseline": asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_name(cls, name: str) -> Self:
        """Return the baseline of a name that `is_baseline` accepts."""
        match = _NAME.fullmatch(name)
        if match is None:
            return cls(body=name, neck="none")
        return cls(body=match["body"], neck="nas-fpn" if match["neck"] == "nas-fpn" else "fpn")

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read the value of the key `baseline` in the output of `to_json`.

        Raises:
            SpinetError: a key is missing or unknown, or a value is invalid.
        """
        check_keys("baseline", data, ("body",), [field.name for field in fields(cls)])
        return cls(**data)


BASELINES = tuple(f"{body}-{neck}" for neck in NECKS for body in RESNETS)


def is_baseline(name: str) -> bool:
    """Return whether a name is that of a baseline.

    >>> [is_baseline(name) for name in ("resnet50-fpn", "resnet50", "timm/hrnet_w18-fpn", "spinenet49")]
    [True, True, True, False]
    """
    return name in BASELINES or name in RESNETS or (name.startswith(TIMM) and _NAME.fullmatch(name) is not None)
