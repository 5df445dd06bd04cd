"""Variable names in SpineNet checkpoints of tensorflow/tpu (models/official/detection).

TensorFlow numbers unnamed layers of a scope in the order of building, so the network is traversed here as
`modeling/architecture/spinenet.py` and `spinenet_mbconv.py` build it.
"""

from collections.abc import Iterable

from spinet.arch.genotype import Genotype
from spinet.convert.names import Names, biased, branch_convs, conv_bn, head_conv, norm


class Scope:
    """A variable scope, and how many layers of each kind it has so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[str, int] = {}

    def layer(self, kind: str) -> str:
        """Return the name of the next layer of a kind: `conv2d`, then `conv2d_1`."""
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        return f"{self.name}/{kind}_{number}" if number else f"{self.name}/{kind}"

    def conv_bn(self, ours: str) -> Names:
        """Return the names of the next convolution and batch norm."""
        return conv_bn(ours, self.layer("conv2d"), self.layer("batch_normalization"))

    def depthwise_bn(self, ours: str) -> Names:
        """Return the names of the next depthwise convolution and batch norm."""
        bn = self.layer("batch_normalization")
        return conv_bn(ours, self.layer("depthwise_conv2d"), bn, "depthwise_kernel")


def backbone_names(graph: Genotype, repeats: int, projection: bool) -> Names:
    """Return our names -> theirs for a backbone.

    Args:
        graph: its blocks.
        repeats: of each block.
        projection: whether the shortcut of the first block has a convolution.
    """
    root = Scope("spinenet_mbconv" if graph.stem[0].kind == "mbconv" else "spinenet")
    names = root.conv_bn("stem.conv")
    for index, spec in enumerate(graph.stem):
        for repeat in range(repeats):
            first = projection and index == repeat == 0
            names |= _block(f"blocks.{index}.{repeat}", spec.kind, root, projection=first)
    for number in range(len(graph.blocks)):
        names |= _permuted(graph, number, repeats, root.name)
    for level in graph.endpoints:
        names |= root.conv_bn(f"endpoints.{level}")
    return names


def head_names(levels: Iterable[int], convs: int, separable: bool) -> Names:
    """Return our names -> theirs for the RetinaNet head (modeling/architecture/heads.py)."""
    levels = tuple(levels)
    names: Names = {}
    for ours, theirs in (("cls_tower", "retinanet/class_net/class"), ("box_tower", "retinanet/box_net/box")):
        names |= head_conv(f"{ours}.predictor", f"{theirs}-predict", separable)
        for index in range(convs):
            names |= head_conv(f"{ours}.convs.{index}", f"{theirs}-{index}", separable)
            for level in levels:
                names |= norm(f"{ours}.norms.{level}.{index}", f"{theirs}-{index}-{level}")
    return names


def classifier_names() -> Names:
    """Return our names -> theirs for the classification head: one dense layer (heads.py)."""
    return biased("fc", "classification_head/dense")


def _permuted(graph: Genotype, number: int, repeats: int, root: str) -> Names:
    """Return the names of one permuted block and of the connections into it."""
    index = number + len(graph.stem)
    spec, policy = graph.all_blocks[index], f"{root}/sub_policy{number}"
    mobile = spec.kind == "mbconv"
    names: Names = {}
    for side, parent in enumerate(spec.parents):
        ours, steps = f"blocks.{index}.parents.{parent}", spec.level - graph.all_blocks[parent].level
        scope = Scope(f"{policy}/resample_with_{'sepconv' if mobile else 'alpha'}_resample_{number}_{side}")
        if mobile:
            for step in range(steps):
                names |= scope.depthwise_bn(f"{ours}.down.{step}")
        else:
            names |= scope.conv_bn(f"{ours}.reduce") | (scope.conv_bn(f"{ours}.down") if steps > 0 else {})
        names |= scope.conv_bn(f"{ours}.expand")
    scope = Scope(f"{policy}/scale_permuted_block_{index}")
    for repeat in range(repeats):
        names |= _block(f"blocks.{index}.body.{repeat}", spec.kind, scope)
    return names


def _block(ours: str, kind: str, scope: Scope, *, projection: bool = False) -> Names:
    """Return the names inside one block (modeling/architecture/nn_blocks.py)."""
    if kind == "mbconv":
        names = scope.conv_bn(f"{ours}.expand") | scope.depthwise_bn(f"{ours}.depthwise")
        for part in ("reduce", "expand"):
            names |= biased(f"{ours}.squeeze_excite.{part}", scope.layer("conv2d"))
        return names | scope.conv_bn(f"{ours}.project")
    names = scope.conv_bn(f"{ours}.shortcut") if projection else {}
    for index in range(branch_convs(kind)):
        names |= scope.conv_bn(f"{ours}.convs.{index}")
    return names
