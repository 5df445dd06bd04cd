"""What to do with the result of a search: the commands that train it, and what it has to beat, at the same size."""

import shlex
from pathlib import Path

from spinet.nas.driver import BEST
from spinet.nas.references import published_network
from spinet.nas.spaces import SPACES
from spinet.nas.state import SearchState

# Recipes by machine, and the scaling of their network, at which they finish in a sensible time.
_RECIPES = {"cpu": ("small-cpu", "spinenet49-quarter"), "gpu": ("small-gpu", "spinenet49s")}


def training_commands(state: SearchState, run: Path) -> list[str]:
    """Return commands that train the best network, and the published one beside it; none while nothing is measured."""
    if not state.best:
        return []
    run = run if run.name not in ("", "..") else run.resolve()  # the runs lie beside it
    device = str(state.sessions[-1].get("device", "cpu"))
    recipe, scaling = _RECIPES["cpu" if device.startswith("cpu") else "gpu"]
    best, published = run / BEST, published_network(state.space).name
    space = SPACES.get(state.space.name)
    if state.space.scaling.family == "mobile":  # small at its full size
        sizes: tuple[object, object] = "", ""
    elif space and state.space.scaling == space.scaling:
        sizes = scaling, scaling
    else:  # the search was given another size, which best.json has
        sizes = "", best
    commands = [_command(recipe, state, best, sizes[0], run.parent / f"{run.name}-best")]
    if not state.best.first.is_reference:
        commands.append(_command(recipe, state, published, sizes[1], run.parent / f"{run.name}-{published}"))
    return commands


def _command(recipe: str, state: SearchState, arch: object, scaling: object, run: Path) -> str:
    words = ["spinet", "train", recipe, "--data.root", state.header.get("data") or "DIR"]
    if state.header.get("val_share"):
        words += ["--data.val-share", state.header["val_share"], "--data.val-seed", state.header.get("val_seed", 0)]
    words += ["--model.arch", arch]
    words += ["--model.scaling", scaling] if scaling else []
    return shlex.join(map(str, [*words, "--run", run]))
