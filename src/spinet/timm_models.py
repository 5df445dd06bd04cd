"""Importing this module makes every architecture of the catalogue known to timm, under its own name.

`timm.create_model("spinenet49", features_only=True, out_indices=(0, 1, 2))` then gives levels 3, 4 and 5. Weights are
loaded as into any other model: the keys are those of `SpineNet`, behind `body.`.
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
    """A backbone as timm gives them with `features_only=True`: an image in, a list of features out, finest first.

    Attributes:
        feature_info: channels, strides and module of each feature map.
    """

    def __init__(self, body: SpineNet) -> None:
        super().__init__()
        self.body = body
        every = [
            {"num_chs": body.out_channels, "reduction": 2**level, "module": f"body.endpoints.{level}"}
            for level in body.genotype.endpoints
        ]
        known = list(body.genotype.endpoints)
        self.feature_info = FeatureInfo(every, out_indices=tuple(known.index(level) for level in body.levels))

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
        out_indices: places of the levels to give among all of the architecture (for SpineNet-49: 0 is level 3), or how
            many of the last; None gives all.
        in_chans: channels of the image.
        features_only: must be on; classifiers are not made here.
        pretrained: must be off; timm's hub holds no weights of these networks.
        activation: `"relu"`, `"swish"` or `"hard_swish"`.
        drop_path_rate: stochastic depth of the last block.

    Raises:
        SpinetError: a level or an option is not available.
    """
    if pretrained:
        raise SpinetError(f"timm's hub holds no weights of {name}; load a converted file into the model instead")
    if not features_only:
        raise SpinetError(f"{name} is a backbone without a classifier; pass features_only=True")
    architecture = load_architecture(name)
    known = tuple(architecture.genotype.endpoints)
    try:
        places, _ = feature_take_indices(
            len(known), list(out_indices) if isinstance(out_indices, Sequence) else out_indices
        )
    except AssertionError:
        levels = ", ".join(f"{place} (level {level})" for place, level in enumerate(known))
        raise SpinetError(f"{name} has no features at out_indices {out_indices}; there are {levels}") from None
    return FeatureList(
        SpineNet(
            architecture.genotype,
            architecture.scaling,
            levels=[known[place] for place in places],
            in_channels=in_chans,
            activation=activation,
            stochastic_depth=drop_path_rate,
        )
    )


def _entry(name: str) -> Callable[..., FeatureList]:
    def create(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
        cache_dir: Any = None,
        **settings: Any,
    ) -> FeatureList:
        # timm passes what it knows of weights on its hub; there are none.
        del pretrained_cfg, pretrained_cfg_overlay, cache_dir
        return create_features(name, pretrained=pretrained, **settings)

    create.__name__ = create.__qualname__ = name
    return create


for _name in names():
    if not is_model(_name):  # importing twice changes nothing
        register_model(_entry(_name))
