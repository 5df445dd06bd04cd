"""The order in which Keras numbers the layers of a functional model; its checkpoints name variables by these numbers.

Keras does not number layers as they were built. It walks back from the outputs depth first, then sorts layers by their
longest distance to an output (farthest first), ties by when the walk reached them (keras/engine/functional.py,
`_map_graph_network`). Layers without weights, even each operation on a tensor's shape, count for the distance but get
no number, so that one forgotten identity changes the order of layers that have weights.
"""

from collections.abc import Sequence


class LayerGraph:
    """Layers in the order of building. A layer is its index here; layers with weights also have a name."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.inputs: list[tuple[int, ...]] = []

    def add(self, name: str, *inputs: int) -> int:
        """Add a layer after `inputs` and return its index; layers without weights have an empty name."""
        self.names.append(name)
        self.inputs.append(inputs)
        return len(self.names) - 1

    def chain(self, start: int, *names: str) -> int:
        """Add layers one after the other and return the last."""
        for name in names:
            start = self.add(name, start)
        return start

    def upsample(self, data: int) -> int:
        """Add the operations of `nearest_upsampling` (tensorflow/models spatial_transform_ops.py).

        The tensor is reshaped, tiled and reshaped again; reading its height and width from `tf.shape` adds layers too.
        """
        shape = self.add("", data)
        height, width = self.add("", shape), self.add("", shape)
        tiled = self.chain(self.add("", data, height, width), "")
        return self.add("", tiled, self.add("", height), self.add("", width))

    def numbered(self, outputs: Sequence[int]) -> tuple[list[str], int]:
        """Return the names of the layers with weights as Keras numbers them, and the number of all layers."""
        met, finished = self._walk(outputs)
        # Reversed finishing order has every layer before its inputs, so one pass finds the longest distances.
        distance = dict.fromkeys(met, 0)
        for layer in reversed(finished):
            for source in self.inputs[layer]:
                distance[source] = max(distance[source], distance[layer] + 1)
        order = sorted(met, key=lambda layer: (-distance[layer], met[layer]))
        return [self.names[layer] for layer in order if self.names[layer]], len(order)

    def _walk(self, outputs: Sequence[int]) -> tuple[dict[int, int], list[int]]:
        """Walk back depth first; return when each layer was reached, and the layers in the order they were finished."""
        met: dict[int, int] = {}
        finished: list[int] = []
        for output in outputs:
            stack = [(output, False)]
            while stack:
                layer, done = stack.pop()
                if done:
                    finished.append(layer)
                elif layer not in met:
                    met[layer] = len(met)
                    stack.append((layer, True))
                    stack += [(source, False) for source in reversed(self.inputs[layer])]
        return met, finished
