"""Variable names in SpineNet checkpoints of tensorflow/tpu (models/official/detection).

TensorFlow numbers unnamed layers of a scope in the order of building, so the network is traversed here as
`modeling/architecture/spinenet.py` and `spinenet_mbconv.py` build it.
"""

from collections.abc import Iterable

from spinet.arch.genotype import Genotype
from spinet.convert import names as naming
from spinet.convert.names import Names, biased, branch, conv_bn


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

    def add(self, ours: str, kind: str = "conv") -> Names:
        """Return the names of the next layer: a `"biased"` convolution, or one with its batch norm."""
        if kind == "biased":
            return biased(ours, self.layer("conv2d"))
        conv = self.layer("depthwise_conv2d" if kind == "depthwise" else "conv2d")
        return conv_bn(ours, conv, self.layer("batch_normalization"), kind)


def backbone_names(graph: Genotype, repeats: int, projection: bool) -> Names:
    """Return our names -> theirs for a backbone; with `projection` the first block's shortcut has a convolution."""
    root = Scope("spinenet_mbconv" if graph.stem[0].kind == "mbconv" else "spinenet")
    names = root.add("stem.conv")
    for index, spec in enumerate(graph.stem):
        for repeat in range(repeats):
            first = projection and index == repeat == 0
            names |= _block(f"blocks.{index}.{repeat}", spec.kind, root, projection=first)
    for number in range(len(graph.blocks)):
        names |= _permuted(graph, number, repeats, root.name)
    for level in graph.endpoints:
        names |= root.add(f"endpoints.{level}")
    return names


def head_names(levels: Iterable[int], convs: int, separable: bool) -> Names:
    """Return our names -> theirs for the RetinaNet head (modeling/architecture/heads.py)."""
    nets = {"cls_tower": "retinanet/class_net/class", "box_tower": "retinanet/box_net/box"}
    towers = {
        ours: (f"{theirs}-predict", f"{theirs}-{{index}}", f"{theirs}-{{index}}-{{level}}")
        for ours, theirs in nets.items()
    }
    return naming.head_names(levels, convs, separable, towers)


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
                names |= scope.add(f"{ours}.down.{step}", "depthwise")
        else:
            names |= scope.add(f"{ours}.reduce") | (scope.add(f"{ours}.down") if steps > 0 else {})
        names |= scope.add(f"{ours}.expand")
    scope = Scope(f"{policy}/scale_permuted_block_{index}")
    for repeat in range(repeats):
        names |= _block(f"blocks.{index}.body.{repeat}", spec.kind, scope)
    return names


def _block(ours: str, kind: str, scope: Scope, *, projection: bool = False) -> Names:
    """Return the names inside one block (modeling/architecture/nn_blocks.py)."""
    names = scope.add(f"{ours}.shortcut") if projection and kind != "mbconv" else {}
    for part, layer in branch(kind):
        names |= scope.add(f"{ours}.{part}", layer)
    return names
