"""What the naming schemes of published checkpoints share: mappings from our parameter names to theirs."""

from collections.abc import Iterable, Mapping

from spinet.errors import SpinetError

# Our name of a tensor -> theirs.
Names = dict[str, str]

# Kind of block with published weights -> our name and the kind of each layer of its branch, in building order.
BRANCHES = {
    "residual": (("convs.0", "conv"), ("convs.1", "conv")),
    "bottleneck": (("convs.0", "conv"), ("convs.1", "conv"), ("convs.2", "conv")),
    "mbconv": (
        ("expand", "conv"),
        ("depthwise", "depthwise"),
        ("squeeze_excite.reduce", "biased"),
        ("squeeze_excite.expand", "biased"),
        ("project", "conv"),
    ),
}

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
CONV = {"weight": "kernel", "bias": "bias"}


def norm(ours: str, theirs: str) -> Names:
    """Return the names of a TensorFlow batch norm."""
    return {f"{ours}.{leaf}": f"{theirs}/{name}" for leaf, name in NORM.items()}


def conv_bn(ours: str, conv: str, bn: str, kind: str = "conv") -> Names:
    """Return the names of our `ConvBN` in TensorFlow: a convolution without bias and a batch norm."""
    kernel = "depthwise_kernel" if kind == "depthwise" else "kernel"
    return {f"{ours}.conv.weight": f"{conv}/{kernel}"} | norm(f"{ours}.norm", bn)


def biased(ours: str, theirs: str) -> Names:
    """Return the names of a convolution or dense layer with bias in TensorFlow."""
    return {f"{ours}.{leaf}": f"{theirs}/{name}" for leaf, name in CONV.items()}


def head_conv(ours: str, theirs: str, separable: bool) -> Names:
    """Return the names of a convolution of the detector's head; a separable one is depthwise and 1x1."""
    if not separable:
        return biased(ours, theirs)
    return {
        f"{ours}.depthwise.weight": f"{theirs}/depthwise_kernel",
        f"{ours}.pointwise.weight": f"{theirs}/pointwise_kernel",
        f"{ours}.pointwise.bias": f"{theirs}/bias",
    }


def head_names(levels: Iterable[int], convs: int, separable: bool, towers: Mapping[str, tuple[str, str, str]]) -> Names:
    """Return the names of a RetinaNet head; `towers` maps ours to formats of predictor, convolution and batch norm."""
    names: Names = {}
    for tower, (predictor, conv, bn) in towers.items():
        names |= head_conv(f"{tower}.predictor", predictor, separable)
        for index in range(convs):
            names |= head_conv(f"{tower}.convs.{index}", conv.format(index=index), separable)
            for position, level in enumerate(sorted(levels)):
                theirs = bn.format(index=index, position=position, level=level)
                names |= norm(f"{tower}.norms.{level}.{index}", theirs)
    return names


def branch(kind: str, *, mobile: bool = True) -> tuple[tuple[str, str], ...]:
    """Return the entry of a block in `BRANCHES`; unless `mobile`, "mbconv" is refused like a kind without weights."""
    if kind not in BRANCHES or (kind == "mbconv" and not mobile):
        raise SpinetError(f"no weights were published for blocks of kind {kind!r}")
    return BRANCHES[kind]
