"""Variable names in SpineNet checkpoints of tensorflow/models (official/vision, the "model garden").

Backbone layers are identified only by the numbers that Keras gave them, so the model is laid out here layer by layer
as `modeling/backbones/spinenet.py` and `spinenet_mobile.py` do, and numbered as Keras does.
"""

import re
from collections.abc import Iterable
from functools import reduce

from spinet.arch.block_spec import BlockSpec
from spinet.arch.genotype import Genotype
from spinet.convert import names as naming
from spinet.convert.keras_order import LayerGraph
from spinet.convert.names import Names, biased, branch, conv_bn
from spinet.convert.protobuf import Message, parse_message
from spinet.convert.tf_checkpoint import Checkpoint
from spinet.errors import SpinetError

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def backbone_prefix(names: Iterable[str]) -> str | None:
    """Return the prefix of the numbered backbone layers, or None if there are none."""
    matches = (re.match(r"((?:model/)?(?:backbone/)?)layer_with_weights-0/kernel(?:/|$)", name) for name in names)
    return next((match[1] for match in matches if match), None)


def backbone_names(graph: Genotype, repeats: int, prefix: str, projection: bool) -> tuple[Names, int]:
    """Return our names -> theirs for a backbone, and the number of its Keras layers.

    `prefix` is that of `layer_with_weights-`; with `projection` the shortcut of the first block has a convolution.
    """
    order, count = _layers(graph, repeats)
    layers = {name: f"{prefix}layer_with_weights-{number}" for number, name in enumerate(order)}
    names: Names = {}
    for name, theirs in layers.items():
        role, module = name.split()
        if role in ("conv", "depthwise"):
            names |= conv_bn(module, theirs, layers[f"norm {module}"], role)
        elif role != "norm":
            names |= _block(module, theirs, role, projection and module == "blocks.0.0")
    return names, count


def head_names(levels: Iterable[int], convs: int, separable: bool, prefix: str) -> Names:
    """Return our names -> theirs for the RetinaNet head (official/vision/modeling/heads/dense_prediction_heads.py)."""
    bn = "norms/{position}/{index}"
    towers = {
        ours: (f"{prefix}{predictor}", f"{prefix}{short}_convs/{{index}}", f"{prefix}{short}_{bn}")
        for ours, short, predictor in (("cls_tower", "_cls", "_classifier"), ("box_tower", "_box", "_box_regressor"))
    }
    return naming.head_names(levels, convs, separable, towers)


def layer_count(checkpoint: Checkpoint, prefix: str) -> int:
    """Return the number of layers of the saved backbone, with and without weights."""
    try:
        nodes = parse_message(checkpoint.strings[GRAPH]).messages(1)
        node = nodes[0]
        for part in prefix.split("/")[:-1]:
            node = nodes[_children(node)[part]]
    except (IndexError, KeyError, ValueError):
        raise SpinetError(f"{checkpoint.where} has no object graph of the saved model") from None
    return sum(name.startswith("layer-") for name in _children(node))


def _children(node: Message) -> dict[str, int]:
    """Return the children of an object by name (tensorflow/core/protobuf/trackable_object_graph.proto)."""
    return {child.content(2)[0].decode(): child.number(1) for child in node.messages(1)}


def _layers(graph: Genotype, repeats: int) -> tuple[list[str], int]:
    """Build the layer graph; return the layers with weights as Keras numbers them, and the number of all layers."""
    mobile = graph.stem[0].kind == "mbconv"
    layers = LayerGraph()
    x = layers.chain(layers.add(""), "conv stem.conv", "norm stem.conv", "", *([] if mobile else [""]))
    features: list[int] = []
    for index, spec in enumerate(graph.all_blocks):
        if spec.parents:
            body = f"blocks.{index}.body"
            x = layers.add("", _fused(layers, graph, index, features))
        else:
            body = f"blocks.{index}"
        # The reference names every group of blocks by an identity layer after it, which counts for the distance.
        x = layers.chain(x, *(f"{spec.kind} {body}.{repeat}" for repeat in range(repeats)), "")
        features.append(x)
    outputs = [
        layers.chain(features[index], f"conv endpoints.{level}", f"norm endpoints.{level}", "")
        for level, index in graph.endpoints.items()
    ]
    return layers.numbered(outputs)


def _fused(layers: LayerGraph, graph: Genotype, index: int, features: list[int]) -> int:
    """Add the connections into a block, and their sum."""
    spec = graph.all_blocks[index]
    addends = [
        _resample(layers, features[parent], graph.all_blocks[parent], spec, f"blocks.{index}.parents.{parent}")
        for parent in spec.parents
    ]
    addends += [features[merged] for merged in graph.merges.get(index, ())]
    if spec.kind != "mbconv":
        return layers.add("", *addends)
    return reduce(lambda total, addend: layers.add("", total, addend), addends)


def _resample(layers: LayerGraph, x: int, parent: BlockSpec, child: BlockSpec, ours: str) -> int:
    halvings = child.level - parent.level
    if child.kind == "mbconv":
        for step in range(halvings):
            x = layers.chain(x, f"depthwise {ours}.down.{step}", f"norm {ours}.down.{step}", "")
    else:
        x = layers.chain(x, f"conv {ours}.reduce", f"norm {ours}.reduce", "")
        if halvings > 0:
            x = layers.chain(x, f"conv {ours}.down", f"norm {ours}.down", "", *[""] * (halvings - 1))
    if halvings < 0:
        x = layers.upsample(x)
    return layers.chain(x, f"conv {ours}.expand", f"norm {ours}.expand")


def _block(ours: str, theirs: str, kind: str, projection: bool) -> Names:
    """Return the names inside one block (official/vision/modeling/layers/nn_blocks.py)."""
    parts, first = branch(kind), 0 if kind == "mbconv" else 1
    names = conv_bn(f"{ours}.shortcut", f"{theirs}/_shortcut", f"{theirs}/_norm0") if projection and first else {}
    convs = [(part, layer) for part, layer in parts if layer != "biased"]
    for number, (part, layer) in enumerate(convs, start=first):
        names |= conv_bn(f"{ours}.{part}", f"{theirs}/_conv{number}", f"{theirs}/_norm{number}", layer)
    for part in (part for part, layer in parts if layer == "biased"):
        names |= biased(f"{ours}.{part}", f"{theirs}/_squeeze_excitation/_se_{part.rpartition('.')[2]}")
    return names
