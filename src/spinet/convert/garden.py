"""Names of the variables in tensorflow/models' checkpoints of SpineNet (official/vision).

Layers of the backbone are known by the numbers that Keras gave them, so the model is laid out here layer by layer as
`modeling/backbones/spinenet.py` and `spinenet_mobile.py` do, and numbered as Keras does.
"""

import re
from collections.abc import Iterable

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import Genotype
from spinet.convert.keras_order import LayerGraph
from spinet.convert.names import Names, biased, branch_convs, conv_bn, head_conv, norm
from spinet.convert.protobuf import Message, parse_message
from spinet.convert.tf_checkpoint import Checkpoint
from spinet.errors import SpinetError

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def backbone_prefix(names: Iterable[str]) -> str | None:
    """Return what precedes the numbered layers of the backbone, or None where there are none."""
    found = (re.match(r"((?:model/)?(?:backbone/)?)layer_with_weights-0/kernel(?:/|$)", name) for name in names)
    return next((match[1] for match in found if match), None)


def backbone_names(graph: Genotype, repeats: int, prefix: str, projection: bool) -> tuple[Names, int]:
    """Return our names -> theirs for a backbone, and how many layers Keras has for it.

    Args:
        graph: its blocks.
        repeats: how often each is stacked.
        prefix: what precedes `layer_with_weights-`.
        projection: whether the first block has a convolution in its shortcut.
    """
    order, count = _layers(graph, repeats)
    place = {name: f"{prefix}layer_with_weights-{number}" for number, name in enumerate(order)}
    names: Names = {}
    for name, theirs in place.items():
        role, module = name.split()
        if role in ("conv", "depthwise"):
            kernel = "depthwise_kernel" if role == "depthwise" else "kernel"
            names |= conv_bn(module, theirs, place[f"norm {module}"], kernel)
        elif role != "norm":
            names |= _block(module, theirs, role, projection and module == "blocks.0.0")
    return names, count


def head_names(levels: Iterable[int], convs: int, separable: bool, prefix: str) -> Names:
    """Return our names -> theirs for the RetinaNet head (official/vision/modeling/heads/dense_prediction_heads.py)."""
    names: Names = {}
    for ours, short, predictor in (("cls_tower", "cls", "_classifier"), ("box_tower", "box", "_box_regressor")):
        names |= head_conv(f"{ours}.predictor", f"{prefix}{predictor}", separable)
        for index in range(convs):
            names |= head_conv(f"{ours}.convs.{index}", f"{prefix}_{short}_convs/{index}", separable)
            for place, level in enumerate(sorted(levels)):
                names |= norm(f"{ours}.norms.{level}.{index}", f"{prefix}_{short}_norms/{place}/{index}")
    return names


def layer_count(checkpoint: Checkpoint, prefix: str) -> int:
    """Return how many layers the saved backbone had, with weights or without.

    Raises:
        SpinetError: the checkpoint does not say.
    """
    try:
        nodes = parse_message(checkpoint.strings[GRAPH]).messages(1)
        node = nodes[0]
        for part in prefix.split("/")[:-1]:
            node = nodes[_children(node)[part]]
    except (IndexError, KeyError, ValueError):
        raise SpinetError(f"{checkpoint.where} does not hold the graph of the objects that it was saved from") from None
    return sum(name.startswith("layer-") for name in _children(node))


def _children(node: Message) -> dict[str, int]:
    """Children of an object, by name (tensorflow/core/protobuf/trackable_object_graph.proto)."""
    return {child.content(2)[0].decode(): child.number(1) for child in node.messages(1)}


def _layers(graph: Genotype, repeats: int) -> tuple[list[str], int]:
    """Lay the network out in layers; return those with weights as Keras numbers them, and the number of all."""
    mobile = graph.stem[0].kind == "mbconv"
    layers = LayerGraph()
    flow = layers.chain(layers.add(""), "conv stem.conv", "norm stem.conv", "", *([] if mobile else [""]))
    features: list[int] = []
    for index, spec in enumerate(graph.all_blocks):
        if spec.parents:
            body = f"blocks.{index}.body"
            flow = layers.add("", _fused(layers, graph, index, features))
        else:
            body = f"blocks.{index}"
        # Behind every group of blocks stands an identity that carries its name.
        flow = layers.chain(flow, *(f"{spec.kind} {body}.{each}" for each in range(repeats)), "")
        features.append(flow)
    outputs = [
        layers.chain(features[index], f"conv endpoints.{level}", f"norm endpoints.{level}", "")
        for level, index in graph.endpoints.items()
    ]
    return layers.numbered(outputs)


def _fused(layers: LayerGraph, graph: Genotype, index: int, features: list[int]) -> int:
    """Add the connections into a block and their sum."""
    spec = graph.all_blocks[index]
    resample = _mobile_resample if spec.kind == "mbconv" else _resample
    addends = [
        resample(layers, features[parent], graph.all_blocks[parent], spec, f"blocks.{index}.parents.{parent}")
        for parent in spec.parents
    ]
    addends += [features[merged] for merged in graph.merges.get(index, ())]
    if spec.kind != "mbconv":
        return layers.add("", *addends)
    total = addends[0]
    for addend in addends[1:]:
        total = layers.add("", total, addend)
    return total


def _resample(layers: LayerGraph, flow: int, parent: BlockSpec, child: BlockSpec, ours: str) -> int:
    flow = layers.chain(flow, f"conv {ours}.reduce", f"norm {ours}.reduce", "")
    if parent.level < child.level:
        pools = [""] * (child.level - parent.level - 1)
        flow = layers.chain(flow, f"conv {ours}.down", f"norm {ours}.down", "", *pools)
    elif parent.level > child.level:
        flow = layers.upsample(flow)
    return layers.chain(flow, f"conv {ours}.expand", f"norm {ours}.expand")


def _mobile_resample(layers: LayerGraph, flow: int, parent: BlockSpec, child: BlockSpec, ours: str) -> int:
    for step in range(child.level - parent.level):
        flow = layers.chain(flow, f"depthwise {ours}.down.{step}", f"norm {ours}.down.{step}", "")
    if parent.level > child.level:
        flow = layers.upsample(flow)
    return layers.chain(flow, f"conv {ours}.expand", f"norm {ours}.expand")


def _block(ours: str, theirs: str, kind: str, projection: bool) -> Names:
    """Names inside one block (official/vision/modeling/layers/nn_blocks.py)."""
    if kind == "mbconv":
        return _mbconv(ours, theirs)
    names: Names = {}
    for index in range(branch_convs(kind)):
        names |= conv_bn(f"{ours}.convs.{index}", f"{theirs}/_conv{index + 1}", f"{theirs}/_norm{index + 1}")
    return names | (conv_bn(f"{ours}.shortcut", f"{theirs}/_shortcut", f"{theirs}/_norm0") if projection else {})


def _mbconv(ours: str, theirs: str) -> Names:
    names = biased(f"{ours}.squeeze_excite.reduce", f"{theirs}/_squeeze_excitation/_se_reduce")
    names |= biased(f"{ours}.squeeze_excite.expand", f"{theirs}/_squeeze_excitation/_se_expand")
    for index, part in enumerate(("expand", "depthwise", "project")):
        kernel = "depthwise_kernel" if part == "depthwise" else "kernel"
        names |= conv_bn(f"{ours}.{part}", f"{theirs}/_conv{index}", f"{theirs}/_norm{index}", kernel)
    return names
