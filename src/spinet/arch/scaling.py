"""The numbers and rules that turn a graph into a network (paper section 3.4, appendix A)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import check_keys
from spinet.errors import SpinetError, quoted, unknown_name

Family = Literal["spinenet", "mobile"]
AlphaRule = Literal["all", "v1"]

# Channels of each level: FILTER_SIZE_MAP in tensorflow/tpu spinenet.py and spinenet_mbconv.py (paper appendix A).
LEVEL_CHANNELS = {
    "spinenet": {1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256},
    "mobile": {1: 16, 2: 24, 3: 40, 4: 80, 5: 112, 6: 112, 7: 112},
}

# Far beyond any published network, and soon computed: descriptions of networks come from files of others.
MAX_FACTOR = 100
_CHANNELS, _DEPTH = 2**14, 100
COUNTS = {
    "repeats": (1, _DEPTH),
    "endpoint_channels": (1, _CHANNELS),
    "stem_channels": (1, _CHANNELS),
    "head_channels": (1, _CHANNELS),
    "head_convs": (0, _DEPTH),
}

_FACTORS = ("width", "alpha")
_CHOICES = {"family": get_args(Family), "alpha_rule": get_args(AlphaRule)}
_SWITCHES = ("same_level_conv", "head_separable")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Width, depth, channel counts around the blocks, and the rules in which the published families differ.

    Args:
        width: multiplies the channels of every level; truncated to an integer, as in the released code.
        repeats: how often each block is stacked.
        alpha: fraction of the parent's channels that a resampling keeps between its two 1x1 convolutions.
        endpoint_channels: channels of the backbone's feature maps.
        stem_channels: channels of the first convolution; 64 at any width in all published models except mobile ones.
        head_channels: channels of the detector's class and box towers.
        head_convs: convolutions in each of these towers.
        family: `"spinenet"`: first convolution 7x7, resampling by two 1x1 convolutions around the change of
            resolution. `"mobile"`: fewer channels, first convolution 3x3, resampling by 3x3 depthwise convolutions
            of stride 2 and one 1x1 convolution; `alpha` is ignored.
        alpha_rule: where `alpha` applies. `"all"` is the released code: to every connection. `"v1"` reproduces the
            parameters in the paper's first version: only if the parent is a bottleneck, not from level 2 to level 2.
        same_level_conv: whether connections without a change of level and channels have convolutions too. They always
            do in the released code, but not in the mobile models of the paper's first version.
        head_separable: whether the detector's towers have separable convolutions.

    Raises:
        SpinetError: a value is out of range; the message names it.
    """

    width: float = 1.0
    repeats: int = 1
    alpha: float = 0.5
    endpoint_channels: int = 256
    stem_channels: int = 64
    head_channels: int = 256
    head_convs: int = 4
    family: Family = "spinenet"
    alpha_rule: AlphaRule = "all"
    same_level_conv: bool = True
    head_separable: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, getattr(self, field.name))
        if self.channels(1) < 1 or (self.family == "spinenet" and int(self.channels(1) * self.alpha) < 1):
            raise SpinetError(f"scaling: width {self.width} with alpha {self.alpha} leaves no channel at level 1")

    @staticmethod
    def _check(name: str, value: Any) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _CHOICES:
            if not isinstance(value, str) or value not in _CHOICES[name]:
                raise unknown_name(f"{name} in scaling", value, _CHOICES[name])
        elif name in _SWITCHES:
            if not isinstance(value, bool):
                raise SpinetError(f"scaling: {name} must be true or false, not {quoted(value)}")
        elif name in _FACTORS:
            if not number or not 0 < value <= MAX_FACTOR:
                raise SpinetError(f"scaling: {name} must be above 0 and at most {MAX_FACTOR}, not {quoted(value)}")
        else:
            check_count(f"scaling: {name}", value, *COUNTS[name])

    def channels(self, level: int) -> int:
        """Channels inside the blocks of a level."""
        return int(LEVEL_CHANNELS[self.family][level] * self.width)

    def out_channels(self, block: BlockSpec) -> int:
        """Output channels of a block."""
        return self.channels(block.level) * block.expansion

    def resample_channels(self, parent: BlockSpec, child: BlockSpec) -> int:
        """Channels between the two 1x1 convolutions of a resampling from `parent` to `child`."""
        channels = self.channels(parent.level)
        if self.alpha_rule == "v1" and (parent.expansion == 1 or parent.level == child.level == 2):
            return channels
        return int(channels * self.alpha)

    def is_direct(self, parent: BlockSpec, child: BlockSpec) -> bool:
        """Whether a parent is added to a child of its level unchanged, without convolutions."""
        same = parent.level == child.level and parent.expansion == child.expansion
        return same and not self.same_level_conv

    def to_dict(self) -> dict[str, Any]:
        """Return all fields for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Scaling":
        """Build a scaling from JSON; missing fields take their defaults.

        Raises:
            SpinetError: a name is unknown or a value out of range.
        """
        check_keys("scaling", data, required=(), optional=[field.name for field in fields(cls)])
        return cls(**data)


def check_count(what: str, value: object, least: int, most: int) -> None:
    """Raise a SpinetError unless `value` is an integer from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SpinetError(f"{what} must be an integer from {least} to {most}, not {quoted(value)}")
