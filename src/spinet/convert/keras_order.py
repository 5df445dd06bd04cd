"""The order in which Keras numbers the layers of a functional model, from which its checkpoints take their names.

Keras walks back from the outputs, remembers when it first met each layer, sorts by the longest way to an output
(farthest first) and, where that is equal, by when the layer was met (keras/engine/functional.py,
`_map_graph_network`). Layers without weights count for the distance but get no number.
"""

from collections.abc import Sequence


class LayerGraph:
    """Layers in the order of building; a layer is known by its place, and by its name if it has weights."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.inputs: list[tuple[int, ...]] = []

    def add(self, name: str, *inputs: int) -> int:
        """Add a layer behind `inputs` and return its place; the name is empty for a layer without weights."""
        self.names.append(name)
        self.inputs.append(inputs)
        return len(self.names) - 1

    def chain(self, start: int, *names: str) -> int:
        """Add one layer behind the other and return the last."""
        for name in names:
            start = self.add(name, start)
        return start

    def upsample(self, data: int) -> int:
        """Add the operations of `nearest_upsampling` (tensorflow/models spatial_transform_ops.py)."""
        shape = self.add("", data)
        height, width = self.add("", shape), self.add("", shape)
        tiled = self.chain(self.add("", data, height, width), "")
        return self.add("", tiled, self.add("", height), self.add("", width))

    def numbered(self, outputs: Sequence[int]) -> tuple[list[str], int]:
        """Return the names of the layers with weights as Keras numbers them, and the number of all layers."""
        met, finished = self._walk(outputs)
        distance = dict.fromkeys(met, 0)
        for layer in reversed(finished):
            for source in self.inputs[layer]:
                distance[source] = max(distance[source], distance[layer] + 1)
        order = sorted(met, key=lambda layer: (-distance[layer], met[layer]))
        return [self.names[layer] for layer in order if self.names[layer]], len(order)

    def _walk(self, outputs: Sequence[int]) -> tuple[dict[int, int], list[int]]:
        """Walk back depth first; return when each layer was met, and the layers as they were finished."""
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
