"""Settings of networks, each held once: configurations inherit them, networks take them whole. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta

from spinet.errors import unknown_name
from spinet.fields import Fraction, Rate, Regions, check_fields

Activation = Literal["relu", "swish", "hard_swish"]
PadMode = Literal["symmetric", "same"]
PoolMode = Literal["symmetric", "mg", "tpu", "mmdet"]
DepthRule = Literal["tpu", "mg"]
DropBlockPlaces = Literal["v1", "tpu"]
SqueezeMode = Literal["tpu", "mg"]
AspectRatio = Annotated[float, Meta(ge=0.01, le=100)]
BoxCoding = Literal["exact", "tpu", "mmdet"]
RoiAlign = Literal["torchvision", "google"]


@dataclass(frozen=True)
class BackboneOptions:
    """Settings of a backbone; heads use its activation and batch norm too.

    Raises:
        SpinetError: a value is out of range, or a mode is unknown.
    """

    activation: Activation = "relu"
    """Activation of backbone and heads."""
    pad_mode: PadMode = "symmetric"
    """Padding of strided convolutions: PyTorch's and tensorflow/tpu's (symmetric) or tensorflow/models' (same)."""
    pool_mode: PoolMode = "symmetric"
    """How connections downsample by four and more: repeated 3x3 pools with PyTorch's (symmetric) or SAME padding (mg,
    tensorflow/models), or one pool with SAME (tpu, tensorflow/tpu) or PyTorch's padding (mmdet, ports of SpineNet)."""
    bn_eps: Fraction = 1e-3
    """Epsilon of batch norm; 1e-3 in tensorflow/models, 1e-4 in the final tensorflow/tpu."""
    bn_momentum: Fraction = 0.01
    """Batch-norm momentum (PyTorch convention: weight of the newest batch)."""
    stochastic_depth: Rate = 0.0
    """Drop rate of the last permuted block; block i of n has rate * (i + 1) / n."""
    depth_rule: DepthRule = "tpu"
    """That n: SpineNet-49 has 15 in tensorflow/tpu, and 16 in tensorflow/models, which counts an unused block of level
    2; mobile networks always 15."""
    dropblock: Rate = 0.0
    """Drop probability of 3x3 DropBlock in the permuted blocks (the paper's keep probability 0.9 is 0.1 here)."""
    dropblock_places: DropBlockPlaces = "v1"
    """Where DropBlock acts: after each convolution of the permuted blocks and their projections (v1, tensorflow/tpu's
    first release), or in the stem's blocks and on identity shortcuts too (tpu, its later code)."""
    squeeze_mode: SqueezeMode = "tpu"
    """Squeeze and excitation of mobile blocks: swish and sigmoid, or tensorflow/models' relu and hard sigmoid."""
    endpoint_activation: bool = True
    """Whether an activation follows the last convolution of each level (mmdetection's ports: no)."""

    def __post_init__(self) -> None:
        check_fields("", self)


@dataclass(frozen=True)
class DetectorOptions(BackboneOptions):
    """Settings of a detector: its anchors, what one kind of head needs, and its backbone."""

    anchor_scale: Annotated[float, Meta(ge=0.1, le=100)] = 3.0
    """Side of the smallest anchor in strides; published: 3 for SpineNet-49S, 49 and 96, 4 for 143 and 190."""
    octaves: Annotated[int, Meta(ge=1, le=10)] = 3
    """Anchor sizes per level, evenly spaced up to the next level's."""
    aspect_ratios: Annotated[tuple[AspectRatio, ...], Meta(min_length=1, max_length=20)] = (0.5, 1.0, 2.0)
    """Width / height of the anchors of each size."""
    box_coding: BoxCoding = "exact"
    """How anchors and RoIs count pixels: exactly, one pixel larger while decoding (tpu, tensorflow/tpu), or, RetinaNet
    only, rounded to whole pixels (mmdet, mmdetection 1.1)."""
    background: bool = False
    """Whether class 0 is the background, never reported (Google's published detectors: yes)."""
    proposals: Regions = 1000
    """R-CNN: proposals per image from the first stage."""
    roi_samples: Regions = 512
    """R-CNN: RoIs sampled per image to train the box head."""
    mask_samples: Regions = 128
    """Mask R-CNN: RoIs sampled per image to train the mask head."""
    rpn_convs: Annotated[int, Meta(ge=0, le=100)] = 0
    """R-CNN: 3x3 convolutions of the region proposal network; 0 takes the released number, 1, and 2 in a cascade."""
    roi_align: RoiAlign = "torchvision"
    """R-CNN: features of a RoI: the mean of 2 x 2 samples per bin, with pixel centers at 0.5 (torchvision), or one
    sample in the middle of a bin, with pixel centers at 0 (google, tensorflow/tpu and tensorflow/models)."""


Options = TypeVar("Options", bound=BackboneOptions)


def change_options(options: Options, settings: Mapping[str, Any]) -> Options:
    """Return options with single fields changed.

    Raises:
        SpinetError: a field is unknown, or a value is out of range.
    """
    known = [field.name for field in fields(options)]
    for name in settings:
        if name not in known:
            raise unknown_name("option", name, known)
    return replace(options, **settings)


BACKBONE_DEFAULTS = BackboneOptions()
DETECTOR_DEFAULTS = DetectorOptions()
