"""The few numbers that turn a graph into a network, and the published family (paper section 3.4, Table 1)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from spinet.arch.genotype import BlockSpec, check_keys
from spinet.errors import SpinetError

# tensorflow/tpu spinenet.py, FILTER_SIZE_MAP.
LEVEL_CHANNELS = {1: 32, 2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}

# Far beyond any network that can be built; keeps the channel counts finite.
MAX_FACTOR = 1000


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Width, depth and the channel counts around the blocks.

    Args:
        width: multiplies the channels of every level; truncated to whole channels, as the released code does.
        repeats: times each block is stacked.
        alpha: share of the parent's channels that a resampling keeps between its two 1x1 convolutions.
        endpoint_channels: channels of every feature map that leaves the backbone.
        stem_channels: channels of the first 7x7 convolution; 64 whatever the width, in all published models.
        head_channels: channels of the detector's class and box towers.
        head_convs: convolutions in each of these towers.

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

    def __post_init__(self) -> None:
        for name in ("width", "alpha"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_FACTOR:
                raise SpinetError(f"scaling: {name} {value!r:.60} is not a number above 0 and up to {MAX_FACTOR}")
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "head_convs" else 1
            whole = isinstance(value, int) and not isinstance(value, bool)
            if field.name not in ("width", "alpha") and (not whole or value < least):
                raise SpinetError(f"scaling: {field.name} {value!r} is not a whole number of {least} or more")
        if int(int(LEVEL_CHANNELS[1] * self.width) * self.alpha) < 1:
            raise SpinetError(f"scaling: width {self.width} with alpha {self.alpha} leaves no channel at level 1")

    def channels(self, level: int) -> int:
        """Channels inside the blocks of a level."""
        return int(LEVEL_CHANNELS[level] * self.width)

    def out_channels(self, block: BlockSpec) -> int:
        """Channels that a block gives to its consumers."""
        return self.channels(block.level) * block.expansion

    def resample_channels(self, parent: BlockSpec) -> int:
        """Channels between the two 1x1 convolutions of a resampling from `parent`."""
        return int(self.channels(parent.level) * self.alpha)

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


# Name -> (genotype file, scaling). Widths, repeats, alphas and endpoint channels are those of SCALING_MAP in
# tensorflow/tpu spinenet.py; head widths those of its RetinaNet configurations. The published SpineNet-49S
# checkpoint has 256-wide endpoints although the released code says 128, hence its two entries.
PUBLISHED = {
    "spinenet49s": (
        "spinenet49",
        Scaling(width=0.65, endpoint_channels=128, head_channels=128),
    ),
    "spinenet49s-256": (
        "spinenet49",
        Scaling(width=0.65, endpoint_channels=256, head_channels=128),
    ),
    "spinenet49": ("spinenet49", Scaling()),
    "spinenet96": ("spinenet49", Scaling(repeats=2)),
    "spinenet143": ("spinenet49", Scaling(repeats=3, alpha=1.0)),
    "spinenet190": (
        "spinenet49",
        Scaling(width=1.3, repeats=4, alpha=1.0, endpoint_channels=512, head_channels=512, head_convs=7),
    ),
}

# Ours: the published graph narrow enough to train from scratch on a few hundred photos with a CPU.
SMALL = {
    "spinenet49-quarter": (
        "spinenet49",
        Scaling(width=0.25, endpoint_channels=64, stem_channels=32, head_channels=64, head_convs=2),
    ),
}
