"""The architectures of the package as a table: graph, kind of block, scaling, source."""

from dataclasses import dataclass
from typing import Any

from spinet.arch.scaling import Scaling


@dataclass(frozen=True)
class CatalogEntry:
    """How to build one architecture of the catalogue from a `file` in `spinet/arch/genotypes`.

    Without `scaling` it has that of the file; `kind`, if any, replaces that of every block. `source` is that of scaling
    and kind, `image_size` the side of the images of its published detector, pixels.
    """

    file: str
    scaling: Scaling | None
    source: str
    kind: str = ""
    image_size: int = 640


_TPU = "scaling: SCALING_MAP of tensorflow/tpu spinenet.py, heads of its RetinaNet configurations"
_V1 = "scaling: arXiv 1912.05027v1 section 3.4; resampling: the rule that reproduces the parameters it gives"
_MBCONV = "scaling: SCALING_MAP of tensorflow/tpu spinenet_mbconv.py"
_MBCONV_V1 = "scaling: arXiv 1912.05027v1 appendix A; connections within a level as its Table 9 implies"
_RESNEXT = "blocks: arXiv 1912.05027v1 appendix B"
_PLUS = "blocks: arXiv 1912.05027v1 Table 3, all bottlenecks, on the graph of SpineNet-49"

_49, _MOBILE = "spinenet49", "spinenet-mobile"
_S: dict[str, Any] = {"width": 0.65, "head_channels": 128}
_143: dict[str, Any] = {"repeats": 3, "alpha": 1.0}
_190: dict[str, Any] = {"width": 1.3, "repeats": 4, "alpha": 1.0, "head_convs": 7}
_ALPHA_V1 = Scaling(alpha_rule="v1")


def _spinenet(source: str = _TPU, image_size: int = 640, **scaling: Any) -> CatalogEntry:
    return CatalogEntry(_49, Scaling(**scaling), source, image_size=image_size)


def _mobile(width: float, stem: int, channels: int, image_size: int, *, v1: bool = False) -> CatalogEntry:
    scaling = Scaling(
        family="mobile",
        width=width,
        endpoint_channels=channels,
        stem_channels=stem,
        head_channels=channels,
        head_separable=True,
        same_level_conv=not v1,
    )
    return CatalogEntry(_MOBILE, scaling, _MBCONV_V1 if v1 else _MBCONV, image_size=image_size)


# The published SpineNet-49S checkpoint has 256-wide endpoints although the released code says 128, hence its two
# entries. SpineNet-143 of the first version is that of the release: with alpha 1 both resampling rules are the same.
PUBLISHED = {
    "spinenet49s": _spinenet(**_S, endpoint_channels=128),
    "spinenet49s-256": _spinenet(f"{_TPU}; endpoints of its checkpoint", **_S),
    "spinenet49": _spinenet(),
    "spinenet96": _spinenet(image_size=1024, repeats=2),
    "spinenet143": _spinenet(image_size=1280, **_143),
    "spinenet143l": _spinenet(f"{_TPU} (key '143l'; in no paper, head and image size ours)", 1280, **_143, width=1.3),
    "spinenet190": _spinenet(image_size=1280, **_190, endpoint_channels=512, head_channels=512),
    "spinenet49s-v1": _spinenet(_V1, alpha_rule="v1", width=0.75, head_channels=128),
    "spinenet49-v1": _spinenet(_V1, alpha_rule="v1"),
    "spinenet96-v1": _spinenet(_V1, 1024, alpha_rule="v1", repeats=2),
    "spinenet49xs-mobile": _mobile(0.6, 4, 24, 256),
    "spinenet49s-mobile": _mobile(0.65, 5, 40, 384),
    "spinenet49-mobile": _mobile(1.0, 8, 48, 384),
    "spinenet49xxs-mobile-v1": _mobile(0.6, 4, 24, 256, v1=True),
    "spinenet49xs-mobile-v1": _mobile(0.65, 5, 40, 384, v1=True),
    "spinenet49s-mobile-v1": _mobile(0.75, 6, 48, 384, v1=True),
    "spinenet49-mobile-v1": _mobile(1.0, 8, 48, 384, v1=True),
    "spinenet49-resnext32x4d": CatalogEntry(_49, Scaling(), _RESNEXT, "resnext32x4d"),
    "spinenet49-resnext32x8d": CatalogEntry(_49, Scaling(), _RESNEXT, "resnext32x8d"),
    "spinenet49-resnext32x4d-v1": CatalogEntry(_49, _ALPHA_V1, f"{_RESNEXT}; {_V1}", "resnext32x4d"),
    "spinenet49-resnext32x8d-v1": CatalogEntry(_49, _ALPHA_V1, f"{_RESNEXT}; {_V1}", "resnext32x8d"),
    "r0-sp53": CatalogEntry("r0-sp53", Scaling(), _TPU),
    "r0-sp53-plus": CatalogEntry(_49, Scaling(), _PLUS, "bottleneck"),
    "r0-sp53-plus-v1": CatalogEntry(_49, _ALPHA_V1, f"{_PLUS}; {_V1}", "bottleneck"),
    "hourglass": CatalogEntry("hourglass", Scaling(), "scaling: that of SpineNet-49"),
    "fish": CatalogEntry("fish", Scaling(), "scaling: that of SpineNet-49"),
}

# Our own, for training from scratch on a few hundred images with a CPU, for the demo and for tests.
SMALL = {
    "spinenet49-quarter": _spinenet(
        "scaling: our own", width=0.25, endpoint_channels=64, stem_channels=32, head_channels=64, head_convs=2
    ),
    "tiny": CatalogEntry("tiny", None, "scaling: our own"),
}


def usual_size(name: str) -> int:
    """Return the image size of the published detector of this name, 640 if there is none.

    >>> usual_size("spinenet190"), usual_size("mine")
    (1280, 640)
    """
    return PUBLISHED[name].image_size if name in PUBLISHED else 640
