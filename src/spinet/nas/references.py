"""The published network of a space, which a search trains first, so that every reward has something beside it."""

from spinet.arch.catalog import Architecture, load_architecture, names
from spinet.errors import SpinetError
from spinet.nas.encoding import encode
from spinet.nas.space import Choices, Space


def published_network(space: Space) -> Architecture:
    """Return the published architecture to compare with; the space need not hold it."""
    if space.name in names():
        return load_architecture(space.name)
    return load_architecture("spinenet49-mobile" if space.scaling.family == "mobile" else "spinenet49")


def published_choices(space: Space) -> Choices | None:
    """Return the choices that give the published network; None if the space does not hold it."""
    try:
        return encode(space, published_network(space).genotype)
    except SpinetError:
        return None
