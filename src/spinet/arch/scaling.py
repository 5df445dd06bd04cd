"""The few numbers and rules that turn a graph into a network (paper section 3.4, appendix A)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import check_keys
from spinet.errors import SpinetError, unknown_name

Family = Literal["spinenet", "mobile"]
AlphaRule = Literal["all", "v1"]

# Channels of each level: FILTER_SIZE_MAP in tensorflow/tpu spinenet.py and spinenet_mbconv.py (paper appendix A).
LEVEL_CHANNELS = {
    "spinenet": {1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256},
    "mobile": {1: 16, 2: 24, 3: 40, 4: 80, 5: 112, 6: 112, 7: 112},
}

# Far beyond any network that can be built; keeps the channel counts finite.
MAX_FACTOR = 1000

_FACTORS = ("width", "alpha")
_CHOICES = {"family": get_args(Family), "alpha_rule": get_args(AlphaRule)}
_SWITCHES = ("same_level_conv", "head_separable")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Width, depth, the channel counts around the blocks, and the rules that the published families differ in.

    Args:
        width: multiplies the channels of every level; truncated to whole channels, as the released code does.
        repeats: times each block is stacked.
        alpha: share of the parent's channels that a resampling keeps between its two 1x1 convolutions.
        endpoint_channels: channels of every feature map that leaves the backbone.
        stem_channels: channels of the first convolution; 64 whatever the width, in all published models that are
            not mobile.
        head_channels: channels of the detector's class and box towers.
        head_convs: convolutions in each of these towers.
        family: `"spinenet"`: first convolution 7x7, resampling by two 1x1 convolutions around the change of
            resolution. `"mobile"`: fewer channels, first convolution 3x3, resampling by 3x3 depthwise convolutions
            of stride 2 and one 1x1 convolution; `alpha` has no meaning there.
        alpha_rule: where `alpha` applies. `"all"` is the released code: on every connection. `"v1"` reproduces the
            parameters that the paper's first version gives: only where the parent is a bottleneck, and not from
            level 2 to level 2.
        same_level_conv: whether a connection without change of level and channels has convolutions too. The
            released code has them always; the mobile models of the paper's first version do not.
        head_separable: whether the detector's towers are of separable convolutions.

    Raises:
        SpinetError: a number is out of range; the sentence names it.
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
                raise unknown_name(f"{name} in scaling", str(value), _CHOICES[name])
        elif name in _SWITCHES:
            if not isinstance(value, bool):
                raise SpinetError(f"scaling: {name} {value!r:.60} is neither true nor false")
        elif name in _FACTORS:
            if not number or not 0 < value <= MAX_FACTOR:
                raise SpinetError(f"scaling: {name} {value!r:.60} is not a number above 0 and up to {MAX_FACTOR}")
        else:
            least = 0 if name == "head_convs" else 1
            if not number or not isinstance(value, int) or value < least:
                raise SpinetError(f"scaling: {name} {value!r} is not a whole number of {least} or more")

    def channels(self, level: int) -> int:
        """Channels inside the blocks of a level."""
        return int(LEVEL_CHANNELS[self.family][level] * self.width)

    def out_channels(self, block: BlockSpec) -> int:
        """Channels that a block gives to its consumers."""
        return self.channels(block.level) * block.expansion

    def resample_channels(self, parent: BlockSpec, child: BlockSpec) -> int:
        """Channels between the two 1x1 convolutions of a resampling from `parent` to `child`."""
        channels = self.channels(parent.level)
        if self.alpha_rule == "v1" and (parent.expansion == 1 or parent.level == child.level == 2):
            return channels
        return int(channels * self.alpha)

    def is_direct(self, parent: BlockSpec, child: BlockSpec) -> bool:
        """Whether a parent is added to its sibling as it is, without convolutions."""
        same = parent.level == child.level and parent.expansion == child.expansion
        return same and not self.same_level_conv

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Scaling":
        """Build a scaling from JSON; numbers left out take their defaults.

        Raises:
            SpinetError: a name is unknown or a number out of range.
        """
        check_keys("scaling", data, required=(), optional=[field.name for field in fields(cls)])
        return cls(**data)
