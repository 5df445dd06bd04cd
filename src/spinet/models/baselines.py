"""Scale-decreasing backbones with a feature pyramid: the baselines of the paper."""

import math
from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model

from spinet.arch.baseline import LAST_LEVEL, LEVELS, NO_NECK, TIMM, Baseline
from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.models.backbone import Backbone, Parts, choose_levels
from spinet.models.blocks import Conv2d, batch_norm
from spinet.models.nas_fpn import NasFpn
from spinet.models.options import BACKBONE_DEFAULTS, BackboneOptions

# Levels of the bodies' features, which the necks start from.
BODY_LEVELS = (3, 4, 5)


class ResNetBody(nn.Module):
    """torchvision's ResNet without its classifier; gives the features of strides 8, 16 and 32."""

    def __init__(self, name: str, in_channels: int, options: BackboneOptions) -> None:
        super().__init__()
        whole = get_model(name, weights=None, norm_layer=partial(batch_norm, options=options))
        first = whole.conv1 if in_channels == 3 else nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.stem = nn.Sequential(first, whole.bn1, nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.ModuleList([whole.layer1, whole.layer2, whole.layer3, whole.layer4])
        self.widths = tuple(whole.fc.in_features // factor for factor in (4, 2, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images `(N, in, H, W)` to features of levels 3, 4 and 5."""
        x = self.stem(images)
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features[1:]

    def lower_and_upper(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the modules up to stride 4, and those after them."""
        first, *rest = self.layers
        return [self.stem, first], rest


class TimmBody(nn.Module):
    """Any convolutional model of timm that gives features of strides 8, 16 and 32."""

    def __init__(self, name: str, in_channels: int, options: BackboneOptions) -> None:
        super().__init__()
        timm = import_extra("timm", "timm", f"the backbone 'timm/{name}'")
        try:
            strides = timm.create_model(name, features_only=True, in_chans=in_channels).feature_info.reduction()
        except Exception as error:  # timm's models fail in many ways if they do not support features_only
            reason = str(error).split("\n")[0] or type(error).__name__
            raise SpinetError(f"timm has no multi-scale features of {name!r}: {reason:.100}") from None
        if not {2**level for level in BODY_LEVELS} <= set(strides):
            raise SpinetError(f"timm's {name!r} has features of strides {strides}, not of 8, 16 and 32")
        wanted = [strides.index(2**level) for level in BODY_LEVELS]
        self.body = timm.create_model(name, features_only=True, in_chans=in_channels, out_indices=wanted)
        self.widths = tuple(self.body.feature_info.channels())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = options.bn_eps, options.bn_momentum

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images `(N, in, H, W)` to features of levels 3, 4 and 5."""
        features: list[Tensor] = self.body(images)
        return features

    def lower_and_upper(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the first quarter of the modules, and the others: timm's models have no common structure."""
        units: list[nn.Module] = []
        for child in self.body.children():
            # Some models have all their blocks in one container.
            inner = list(child.children()) if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
            units += [unit for unit in inner if next(unit.parameters(), None) is not None]
        quarter = math.ceil(len(units) / 4)
        return units[:quarter], units[quarter:]


class FeaturePyramid(nn.Module):
    """FPN with two coarser levels from strided convolutions, as in RetinaNet (tensorflow/tpu fpn.py).

    Levels 6 and 7 come from level 5 of the pyramid; a batch norm ends every level.
    """

    def __init__(self, widths: Sequence[int], channels: int, options: BackboneOptions) -> None:
        super().__init__()
        self.lateral = nn.ModuleDict(
            {str(level): Conv2d(width, channels, bias=True) for level, width in zip(BODY_LEVELS, widths, strict=True)}
        )
        self.convs = nn.ModuleDict(
            {
                str(level): Conv2d(channels, channels, 3, stride=1 if level in BODY_LEVELS else 2, bias=True)
                for level in LEVELS
            }
        )
        self.norms = nn.ModuleDict({str(level): batch_norm(channels, options) for level in LEVELS})

    def forward(self, features: Sequence[Tensor]) -> dict[int, Tensor]:
        """Map features of levels 3, 4 and 5 to `{level: (N, channels, H, W)}` of levels 3 to 7."""
        lateral = {level: self.lateral[str(level)](x) for level, x in zip(BODY_LEVELS, features, strict=True)}
        for level in reversed(BODY_LEVELS[:-1]):
            lateral[level] = lateral[level] + F.interpolate(lateral[level + 1], size=lateral[level].shape[-2:])
        pyramid = {level: self.convs[str(level)](x) for level, x in lateral.items()}
        pyramid[6] = self.convs["6"](pyramid[5])
        pyramid[7] = self.convs["7"](F.relu(pyramid[6]))
        return {level: self.norms[str(level)](x) for level, x in pyramid.items()}


class LastFeatures(nn.Module):
    """No neck: the coarsest features of the body."""

    def forward(self, features: Sequence[Tensor]) -> dict[int, Tensor]:
        """Map features of levels 3, 4 and 5 to `{5: (N, C, H, W)}`."""
        return {LAST_LEVEL: features[-1]}


class BaselineBackbone(Backbone):
    """Body and neck of a baseline, with the interface of `SpineNet`.

    Args:
        baseline: what to build.
        options: batch norm, and the activation of NAS-FPN; the bodies keep their own.
        levels: levels of the output features; None gives 3 to 7, or 5 without a neck.
        in_channels: channels of the image.

    Raises:
        SpinetError: a level is not available, or timm has no such model.
    """

    def __init__(
        self,
        baseline: Baseline,
        options: BackboneOptions = BACKBONE_DEFAULTS,
        *,
        levels: Sequence[int] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.levels = choose_levels(levels, baseline.levels)
        make_body = TimmBody if baseline.body.startswith(TIMM) else ResNetBody
        self.body = body = make_body(baseline.body.removeprefix(TIMM), in_channels, options)
        self.out_channels = body.widths[-1] if baseline.neck == NO_NECK else baseline.channels
        self.neck: nn.Module
        if baseline.neck == NO_NECK:
            self.neck = LastFeatures()
        elif baseline.neck == "fpn":
            self.neck = FeaturePyramid(body.widths, baseline.channels, options)
        else:
            self.neck = NasFpn(body.widths, baseline.channels, baseline.repeats, options)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Map images `(N, in, H, W)` to `{level: (N, out_channels, H / 2**level, W / 2**level)}`, rounded up."""
        pyramid = self.neck(self.body(images))
        return {level: pyramid[level] for level in self.levels}

    def parts(self) -> Parts:
        """See `Backbone`."""
        stem, blocks = self.body.lower_and_upper()
        return Parts(stem, blocks, [self.neck])
