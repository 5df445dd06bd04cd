"""From an address of weights to a file on this disk."""

import os
from pathlib import Path

from spinet.errors import SpinetError
from spinet.hub.addresses import WEIGHTS, Address, parse_address, suffix_of
from spinet.hub.published import find

OFFLINE = "SPINET_OFFLINE"


def local_path(address: str | Path, offline: bool = False) -> Path:
    """Return the file that an address of weights stands for, fetched and converted if it is not in the cache.

    Args:
        address: `published/NAME`, `https://...` or `file://...` (.safetensors, .pth or .tar.gz), or
            `hf://owner/name[/file][@revision]`; any other string is a path and returned as one.
        offline: fetch nothing; also with `SPINET_OFFLINE=1`.

    Raises:
        SpinetError: the address is not valid, what it stands for cannot be fetched or is something else, or it is not
            in the cache while offline. Nothing half-written is left but the start of a transfer, in the cache.
    """
    parsed = parse_address(address)
    if parsed is None:
        return Path(address)
    offline = offline or is_offline()
    if parsed.kind == "published":
        weights = find(parsed.target)
        if weights.path is not None:
            return weights.path
    if parsed.kind == "file" and suffix_of(parsed.target) in WEIGHTS:
        return _existing(parsed)
    raise SpinetError(f"{address} cannot be fetched")


def is_offline() -> bool:
    """Whether the environment forbids transfers."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def _existing(address: Address) -> Path:
    path = Path(address.target)
    if not path.is_file():
        raise SpinetError(f"there is no file {path}, which {address.text} names")
    return path
