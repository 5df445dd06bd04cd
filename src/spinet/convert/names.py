"""What the naming schemes of published checkpoints share: mappings from our parameter names to theirs."""

from spinet.errors import SpinetError

# Our name of a tensor -> theirs.
Names = dict[str, str]

# Block kinds with published weights, and the number of convolutions in their branch.
BLOCK_CONVS = {"residual": 2, "bottleneck": 3}

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
CONV = {"weight": "kernel", "bias": "bias"}


def norm(ours: str, theirs: str) -> Names:
    """Return the names of a TensorFlow batch norm."""
    return {f"{ours}.{leaf}": f"{theirs}/{name}" for leaf, name in NORM.items()}


def conv_bn(ours: str, conv: str, bn: str, kernel: str = "kernel") -> Names:
    """Return the names of our `ConvBN` in TensorFlow: a convolution without bias and a batch norm."""
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


def branch_convs(kind: str) -> int:
    """Return the number of convolutions in the branch of a block.

    Raises:
        SpinetError: no weights were published for this kind.
    """
    if kind not in BLOCK_CONVS:
        raise SpinetError(f"no weights were published for blocks of kind {kind!r}")
    return BLOCK_CONVS[kind]
