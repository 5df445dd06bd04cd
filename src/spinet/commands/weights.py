"""`spinet weights`: published weights, by name or address."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from spinet.commands.console import say
from spinet.errors import SpinetError, unknown_name
from spinet.text import megabytes

if TYPE_CHECKING:
    from spinet.hub.published import PublishedWeights

State = Literal["included", "in cache", "to fetch", "unsupported"]


def weights_command(args: list[str]) -> None:
    """List and fetch published weights."""
    actions: dict[str, Callable[..., None]] = {
        "list": list_weights,
        "get": get_weights,
        "path": find_weights,
        "remove": remove_weights,
    }
    if not args or args[0] in ("-h", "--help"):
        say("usage: spinet weights ACTION [options]\n")
        say("\n".join(f"  {name:8}{action.__doc__}" for name, action in actions.items()))
        say("\nRun `spinet weights ACTION --help` for the options of an action.")
        raise SystemExit(0 if args else 2)
    if args[0] not in actions:
        raise unknown_name("action", args[0], actions)
    tyro.cli(actions[args[0]], args=args[1:], prog=f"spinet weights {args[0]}")


def list_weights(
    filter: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILTER")] = "",
    json: bool = False,
) -> None:
    """Print the table of published weights, and what of it is on this disk.

    Args:
        filter: Only rows with this word in their name, task, dataset or source.
        json: Print one line of JSON with all that is known instead.
    """
    from spinet.hub.published import all_weights

    words = filter.lower().split()
    rows = [(weights, state_of(weights)) for weights in all_weights()]
    chosen = [(weights, state) for weights, state in rows if all(word in _searched(weights, state) for word in words)]
    if not chosen:
        raise SpinetError(f"no published weights match {filter!r:.60}; `spinet weights list` has all of them")
    if json:
        sys.stdout.write(_json(chosen))
        return
    # A pipe has no width of its own.
    width = None if sys.stdout.isatty() else 200
    Console(soft_wrap=True, highlight=False, width=width).print(_table(chosen), markup=False)
    reasons = dict.fromkeys(weights.unsupported for weights, state in chosen if state == "unsupported")
    for reason in reasons:
        names = ", ".join(weights.name for weights, _ in chosen if weights.unsupported == reason)
        say(f"\nunsupported, because {reason}: {names}")
    say("\nAP, mask AP and top-1 are as published, in percent; addresses are as published too.")


def get_weights(
    address: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    offline: bool = False,
) -> None:
    """Fetch weights into the cache, and print their path.

    Args:
        address: Name in the table, or an address: https://, file:// (.safetensors, .pth, .tar.gz) or
            hf://owner/name[/file][@revision].
        out: Also copy the weights to this file.
        offline: Fetch nothing; take what is in the cache.
    """
    from spinet.hub.fetch import local_path

    path = local_path(_address(address), offline)
    if out is None:
        say(str(path))
        return
    _copy(path, out / path.name if out.is_dir() else out)


def find_weights(address: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]) -> None:
    """Print the path of weights that are on this disk; fail if they are not.

    Args:
        address: Name in the table, or an address.
    """
    from spinet.hub.fetch import local_path

    say(str(local_path(_address(address), offline=True)))


def remove_weights(address: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]) -> None:
    """Remove weights, and what has been transferred of them, from the cache.

    Args:
        address: Name in the table, or an address.
    """
    from spinet.hub.addresses import parse_address
    from spinet.hub.cache import slot
    from spinet.hub.published import find

    parsed = parse_address(_address(address))
    if parsed is None or parsed.kind == "hub":
        raise SpinetError(f"{address} is not in this cache; `hf cache` manages that of the hub's client")
    if parsed.kind == "published" and find(parsed.target).path:
        raise SpinetError(f"{parsed.target} comes with Spinet and is not in the cache")
    place = slot(parsed.cache_name)
    with place.exclusive():
        freed = place.remove()
    if not freed:
        raise SpinetError(f"{address} is not in the cache {place.folder}")
    say(f"removed {address}: {megabytes(freed)}")


def state_of(weights: "PublishedWeights") -> State:
    """Return whether weights are on this disk, and if not, whether they can be."""
    from spinet.hub.cache import slot

    if weights.path:
        return "included"
    if slot(weights.name).is_stored():
        return "in cache"
    return "unsupported" if weights.unsupported or not weights.address else "to fetch"


def _address(text: str) -> str:
    """Return an address; a name alone means published weights."""
    from spinet.hub.addresses import PUBLISHED, is_address

    return text if is_address(text) else f"{PUBLISHED}{text}"


def _copy(path: Path, out: Path) -> None:
    if out.exists() and out.samefile(path):
        raise SpinetError(f"{out} is the file in the cache itself; choose another one for --out")
    partial = out.with_name(f".{out.name[:100]}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, partial)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SpinetError(f"could not write {out}: {error.strerror}") from None
    say(str(out))


def _searched(weights: "PublishedWeights", state: State) -> str:
    source = weights.source.repository if weights.source else ""
    return " ".join((weights.name, weights.task, weights.head, weights.dataset or "", source, state)).lower()


def _table(rows: list[tuple["PublishedWeights", State]]) -> Table:
    table = Table("name", "task", "dataset", "size", "AP, top-1", "state", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for weights, state in rows:
        size = megabytes(weights.bytes) if weights.bytes else "-"
        table.add_row(weights.name, weights.task, weights.dataset or "-", size, weights.metric or "-", state)
    return table


def _json(rows: list[tuple["PublishedWeights", State]]) -> str:
    def plain(weights: "PublishedWeights", state: State) -> dict[str, Any]:
        return {**asdict(weights), "path": str(weights.path) if weights.path else None, "state": state}

    return json.dumps([plain(*row) for row in rows]) + "\n"
