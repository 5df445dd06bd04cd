"""Importing this module registers every architecture of the catalogue with timm, under its own name.

`timm.create_model("spinenet49", features_only=True, out_indices=(0, 1, 2))` then gives levels 3, 4 and 5. State-dict
keys are those of `SpineNet`, prefixed with `body.`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from timm.models import is_model, register_model
from timm.models._features import FeatureInfo, feature_take_indices
from torch import Tensor, nn

from spinet.arch.catalog import load_architecture, names
from spinet.errors import SpinetError
from spinet.models.backbone import SpineNet
from spinet.models.options import Activation


class FeatureList(nn.Module):
    """A backbone with timm's `features_only` interface: an image in, a list of features out, finest first.

    Attributes:
        feature_info: channels, strides and module of each feature map.
    """

    def __init__(self, body: SpineNet) -> None:
        super().__init__()
        self.body = body
        levels = [
            {"num_chs": body.out_channels, "reduction": 2**level, "module": f"body.endpoints.{level}"}
            for level in body.genotype.endpoints
        ]
        available = list(body.genotype.endpoints)
        self.feature_info = FeatureInfo(levels, out_indices=tuple(available.index(level) for level in body.levels))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images `(N, in, H, W)` to features of each level."""
        return list(self.body(images).values())


def create_features(
    name: str,
    *,
    out_indices: int | Sequence[int] | None = None,
    in_chans: int = 3,
    features_only: bool = False,
    pretrained: bool = False,
    activation: Activation = "relu",
    drop_path_rate: float = 0.0,
) -> FeatureList:
    """Build the backbone of a catalogue name for timm.

    Args:
        name: catalogue name.
        out_indices: indices of the output levels among those of the architecture (for SpineNet-49: 0 is level 3), or
            the number of last levels; None gives all.
        in_chans: channels of the image.
        features_only: must be True; classifiers are not supported.
        pretrained: must be False; timm's hub has no weights of these networks.
        activation: `"relu"`, `"swish"` or `"hard_swish"`.
        drop_path_rate: stochastic depth of the last block.

    Raises:
        SpinetError: a level or an option is not available.
    """
    if pretrained:
        raise SpinetError(f"timm's hub has no weights of {name}; load a converted file into the model instead")
    if not features_only:
        raise SpinetError(f"{name} is a backbone without a classifier; pass features_only=True")
    architecture = load_architecture(name)
    available = tuple(architecture.genotype.endpoints)
    try:
        indices, _ = feature_take_indices(
            len(available), list(out_indices) if isinstance(out_indices, Sequence) else out_indices
        )
    except AssertionError:
        known = ", ".join(f"{index} (level {level})" for index, level in enumerate(available))
        raise SpinetError(f"{name} has no features at out_indices {out_indices}; its indices are {known}") from None
    return FeatureList(
        SpineNet(
            architecture.genotype,
            architecture.scaling,
            levels=[available[index] for index in indices],
            in_channels=in_chans,
            activation=activation,
            stochastic_depth=drop_path_rate,
        )
    )


def _entry(name: str) -> Callable[..., FeatureList]:
    def create(**settings: Any) -> FeatureList:
        # timm passes settings of weights on its hub, of which there are none.
        for unused in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
            settings.pop(unused, None)
        return create_features(name, **settings)

    create.__name__ = create.__qualname__ = name
    return create


for _name in names():
    if not is_model(_name):  # importing twice changes nothing
        register_model(_entry(_name))
