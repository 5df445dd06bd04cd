"""Variable names and settings of Faster, Mask and Cascade R-CNNs in checkpoints of Google's two repositories."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from spinet.convert.names import Names, biased, norm
from spinet.convert.tpu import Scope
from spinet.errors import SpinetError
from spinet.models.options import Activation
from spinet.models.rcnn import CASCADE_OVERLAPS

RcnnHead = Literal["faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn"]

# First parts of the names of the heads: region proposals, boxes and masks.
TPU_HEADS = ("rpn_head/", "fast_rcnn_head/", "mask_head/")
GARDEN_HEADS = ("rpn_head/", "detection_head/", "mask_head/")


@dataclass(frozen=True)
class PublishedRcnn:
    """Settings of a published R-CNN that its checkpoint does not contain; image size in pixels, None if RetinaNet's."""

    anchor_scale: float = 3.0
    image_size: int | None = None
    activation: Activation = "relu"


_MASK, _CASCADE = PublishedRcnn(), PublishedRcnn(activation="swish")

# Publisher and whether it is a cascade -> architecture, "" for the others (tensorflow/tpu
# models/official/detection/configs/spinenet/*_mrcnn.yaml, tensorflow/models
# official/vision/configs/experiments/maskrcnn/coco_spinenet*.yaml).
PUBLISHED = {
    ("tensorflow/tpu", False): {"": _MASK, "spinenet190": PublishedRcnn(5.0, 1536, "swish")},
    ("tensorflow/models", False): {"": _MASK, "spinenet143": replace(_MASK, anchor_scale=4.0)},
    ("tensorflow/models", True): {
        "": _CASCADE,
        "spinenet96": replace(_CASCADE, anchor_scale=4.0),
        "spinenet143": replace(_CASCADE, anchor_scale=4.0),
    },
}


@dataclass(frozen=True)
class RcnnLayout:
    """What an R-CNN's checkpoint contains, counted from its variables.

    Args:
        stages: box heads; more than one in a cascade.
        rpn_convs: 3x3 convolutions of the region proposal network.
        box_convs: those of each box head.
        mask_convs: those of the mask head; None if there is none.
    """

    stages: int
    rpn_convs: int
    box_convs: int
    mask_convs: int | None

    @property
    def head(self) -> RcnnHead:
        """Our name of such a network."""
        if self.stages > 1:
            return "cascade-rcnn" if self.mask_convs is None else "cascade-mask-rcnn"
        return "faster-rcnn" if self.mask_convs is None else "mask-rcnn"

    def published(self, source: str, architecture: str) -> PublishedRcnn:
        """Return the settings of the network that `source` published with this architecture."""
        table = PUBLISHED[source, self.stages > 1]
        return table.get(architecture, table[""])


def has_rcnn(names: Iterable[str], heads: tuple[str, ...], prefix: str = "") -> bool:
    """Whether there are a region proposal network and a box head."""
    names = list(names)
    return all(any(name.startswith(prefix + head) for name in names) for head in heads[:2])


def tpu_layout(names: Iterable[str]) -> RcnnLayout:
    """Return what a checkpoint of tensorflow/tpu contains."""
    names = list(names)
    masks = any(name.startswith("mask_head/") for name in names)
    return RcnnLayout(
        stages=1,
        rpn_convs=1,  # its code builds one, whatever `rpn_head.num_convs` says
        box_convs=_count(r"fast_rcnn_head/conv_(\d+)/kernel", names),
        mask_convs=_count(r"mask_head/mask-conv-l(\d+)/kernel", names) if masks else None,
    )


def tpu_names(levels: Iterable[int], layout: RcnnLayout) -> Names:
    """Return our names -> theirs in tensorflow/tpu (models/official/detection/modeling/architecture/heads.py)."""
    names = biased("rpn.convs.0", "rpn_head/rpn")
    for level in levels:
        names |= norm(f"rpn.norms.{level}.0", f"rpn_head/rpn-l{level}-bn")
    names |= biased("rpn.cls_logits", "rpn_head/rpn-class") | biased("rpn.bbox_pred", "rpn_head/rpn-box")
    box = Scope("fast_rcnn_head")  # its batch norms have no names of their own
    for index in range(layout.box_convs):
        names |= biased(f"box_heads.0.convs.convs.{index}", f"{box.name}/conv_{index}")
        names |= norm(f"box_heads.0.convs.norms.{index}", box.layer("batch_normalization"))
    names |= biased("box_heads.0.fc", f"{box.name}/fc6")
    names |= norm("box_heads.0.norm", box.layer("batch_normalization"))
    names |= biased("box_heads.0.cls_score", f"{box.name}/class-predict")
    names |= biased("box_heads.0.bbox_pred", f"{box.name}/box-predict")
    if layout.mask_convs is None:
        return names
    mask = Scope("mask_head")
    for index in range(layout.mask_convs):
        names |= biased(f"mask_head.convs.convs.{index}", f"{mask.name}/mask-conv-l{index}")
        names |= norm(f"mask_head.convs.norms.{index}", mask.layer("batch_normalization"))
    names |= biased("mask_head.deconv", f"{mask.name}/conv5-mask")
    names |= norm("mask_head.norm", mask.layer("batch_normalization"))
    return names | biased("mask_head.predictor", f"{mask.name}/mask_fcn_logits")


def garden_layout(names: Iterable[str], prefix: str, where: str) -> RcnnLayout:
    """Return what a checkpoint of tensorflow/models contains, with `prefix` before the names of the heads.

    Raises:
        SpinetError: it is a cascade with more stages than the released ones.
    """
    names, start = list(names), re.escape(prefix)
    stages = _count(start + r"detection_head/(\d+)/_classifier/kernel", names)
    if stages > len(CASCADE_OVERLAPS):
        raise SpinetError(
            f"{where} is a cascade of {stages} box heads, but only up to {len(CASCADE_OVERLAPS)}, as released, can be "
            "converted"
        )
    masks = any(name.startswith(f"{prefix}mask_head/") for name in names)
    return RcnnLayout(
        stages=stages,
        rpn_convs=_count(start + r"rpn_head/_convs/(\d+)/kernel", names),
        box_convs=_count(start + r"detection_head/0/_convs/(\d+)/kernel", names),
        mask_convs=_count(start + r"mask_head/_convs/(\d+)/kernel", names) if masks else None,
    )


def garden_names(levels: Iterable[int], layout: RcnnLayout, prefix: str) -> Names:
    """Return our names -> theirs in tensorflow/models (official/vision/modeling/heads).

    The region proposal network is in dense_prediction_heads.py, the others are in instance_heads.py.
    """
    rpn = f"{prefix}rpn_head"
    names = biased("rpn.cls_logits", f"{rpn}/_classifier") | biased("rpn.bbox_pred", f"{rpn}/_box_regressor")
    for index in range(layout.rpn_convs):
        names |= biased(f"rpn.convs.{index}", f"{rpn}/_convs/{index}")
        for position, level in enumerate(sorted(levels)):
            names |= norm(f"rpn.norms.{level}.{index}", f"{rpn}/_norms/{position}/{index}")
    for stage in range(layout.stages):
        ours, theirs = f"box_heads.{stage}", f"{prefix}detection_head/{stage}"
        names |= _roi_convs(ours, theirs, layout.box_convs)
        names |= biased(f"{ours}.fc", f"{theirs}/_fcs/0") | norm(f"{ours}.norm", f"{theirs}/_fc_norms/0")
        names |= biased(f"{ours}.cls_score", f"{theirs}/_classifier")
        names |= biased(f"{ours}.bbox_pred", f"{theirs}/_box_regressor")
    if layout.mask_convs is None:
        return names
    theirs = f"{prefix}mask_head"
    names |= _roi_convs("mask_head", theirs, layout.mask_convs)
    names |= biased("mask_head.deconv", f"{theirs}/_deconv") | norm("mask_head.norm", f"{theirs}/_deconv_bn")
    return names | biased("mask_head.predictor", f"{theirs}/_mask_regressor")


def _roi_convs(ours: str, theirs: str, count: int) -> Names:
    """Return the names of the convolutions on RoI features in tensorflow/models."""
    names: Names = {}
    for index in range(count):
        names |= biased(f"{ours}.convs.convs.{index}", f"{theirs}/_convs/{index}")
        names |= norm(f"{ours}.convs.norms.{index}", f"{theirs}/_conv_norms/{index}")
    return names


def _count(pattern: str, names: Iterable[str]) -> int:
    """Return one more than the highest number in names that match; a missing one below it is found by comparing."""
    matches = (re.fullmatch(pattern, name) for name in names)
    return max((int(match[1]) + 1 for match in matches if match), default=0)
