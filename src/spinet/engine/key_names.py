"""Parameter names in weights of earlier versions, whose detector parts had other names."""

import re
from typing import TypeVar

V = TypeVar("V")

# Tried in order; backbones keep their names.
_RENAMED = {
    r"classes\.": "cls_tower.",
    r"boxes\.": "box_tower.",
    r"dense\.": "fc.",
    r"regions\.scores\.": "rpn.cls_logits.",
    r"regions\.boxes\.": "rpn.bbox_pred.",
    r"regions\.": "rpn.",
    r"stages\.(\d+)\.classes\.": r"box_heads.\1.cls_score.",
    r"stages\.(\d+)\.boxes\.": r"box_heads.\1.bbox_pred.",
    r"stages\.(\d+)\.dense\.": r"box_heads.\1.fc.",
    r"stages\.": "box_heads.",
    r"masks\.masks\.": "mask_head.predictor.",
    r"masks\.upsampling\.": "mask_head.deconv.",
    r"masks\.": "mask_head.",
}


def current_name(name: str) -> str:
    """Return the present name of a parameter.

    >>> current_name("stages.0.classes.bias"), current_name("backbone.stem.conv.conv.weight")
    ('box_heads.0.cls_score.bias', 'backbone.stem.conv.conv.weight')
    """
    for old, new in _RENAMED.items():
        if re.match(old, name):
            return re.sub(rf"^{old}", new, name)
    return name


def rename_keys(tensors: dict[str, V]) -> dict[str, V]:
    """Return a state dict with the present names."""
    return {current_name(name): value for name, value in tensors.items()}
