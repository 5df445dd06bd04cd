"""Networks that the paper compares with: a body that only goes down in resolution, with or without a neck on it."""

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.arch.genotype import check_keys
from spinet.errors import SpinetError, unknown_name

Neck = Literal["fpn", "nas-fpn", "none"]

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
NECKS = ("fpn", "nas-fpn")
NO_NECK = "none"
TIMM = "timm/"
LEVELS = (3, 4, 5, 6, 7)
# The one level of a body alone: its last features, for classifiers.
LAST_LEVEL = 5

_NAME = re.compile(r"(?P<body>.+?)-(?P<neck>nas-fpn|fpn)")
_COUNTS = {"channels": 1, "repeats": 1, "head_channels": 1, "head_convs": 0}


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A network without a scale-permuted graph, named `BODY-fpn`, `BODY-nas-fpn`, or `BODY` without a neck.

    Args:
        body: `resnet18` to `resnet152`, or `timm/NAME` for any model of timm that gives features of strides 8, 16 and
            32 (the extra `timm`).
        neck: makes levels 3 to 7 of one width from these: feature pyramid, or the one found by NAS-FPN. `"none"` gives
            the body's last features alone, what a classifier takes; `channels` has no meaning then.
        channels: channels of every feature map that leaves the neck.
        repeats: times the cell of NAS-FPN is stacked.
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
            raise unknown_name("neck", str(self.neck), (*NECKS, NO_NECK))
        if not isinstance(self.body, str) or (self.body not in RESNETS and not self.body.startswith(TIMM)):
            raise unknown_name("body", str(self.body), (*RESNETS, f"{TIMM}NAME"))
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SpinetError(f"baseline: {name} {value!r} is not a whole number of {least} or more")

    @property
    def name(self) -> str:
        """The name that `load_network` knows it by."""
        return self.body if self.neck == NO_NECK else f"{self.body}-{self.neck}"

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of its features, finest first."""
        return (LAST_LEVEL,) if self.neck == NO_NECK else LEVELS

    def to_json(self) -> str:
        """Return the description as JSON text."""
        return json.dumps({"baseline": asdict(self)}, indent=2) + "\n"


Network = Architecture | Baseline

BASELINES = tuple(f"{body}-{neck}" for neck in NECKS for body in RESNETS)


def is_baseline(name: str) -> bool:
    """Whether a name is that of a baseline.

    >>> [is_baseline(name) for name in ("resnet50-fpn", "resnet50", "timm/hrnet_w18-fpn", "spinenet49")]
    [True, True, True, False]
    """
    return name in BASELINES or name in RESNETS or (name.startswith(TIMM) and _NAME.fullmatch(name) is not None)


def load_network(name_or_path: str | Path) -> Network:
    """Return the baseline of a name, else what `load_architecture` returns for it.

    Raises:
        SpinetError: the name is unknown, or the file is missing or not valid.
    """
    text = str(name_or_path)
    if text in RESNETS:
        return Baseline(body=text, neck="none")
    if is_baseline(text):
        found = _NAME.fullmatch(text)
        assert found is not None
        neck: Neck = "nas-fpn" if found["neck"] == "nas-fpn" else "fpn"
        return Baseline(body=found["body"], neck=neck)
    if text.endswith(NECKS) and not Path(text).is_file():
        raise unknown_name("baseline", text, (*BASELINES, f"{TIMM}NAME-fpn", f"{TIMM}NAME-nas-fpn"))
    path = Path(text)
    if text not in names() and path.is_file() and _holds_baseline(path):
        return network_from_json(path.read_text(encoding="utf-8"), text)
    return load_architecture(name_or_path)


def network_from_json(text: str, where: str) -> Network:
    """Read what `to_json` of an architecture or a baseline wrote; `where` names it in errors.

    Raises:
        SpinetError: the text is not JSON or not a valid network.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        data = None  # Architecture.from_json says what is wrong
    if not isinstance(data, dict) or "baseline" not in data:
        return Architecture.from_json(text, where)
    try:
        check_keys("network", data, required=("baseline",))
        check_keys("baseline", data["baseline"], ("body",), [field.name for field in fields(Baseline)])
        return Baseline(**data["baseline"])
    except SpinetError as error:
        raise SpinetError(f"{where}: {error}") from None


def _holds_baseline(path: Path) -> bool:
    try:
        return '"baseline"' in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
