"""From an address of weights to a file on this disk."""

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.hub.addresses import ARCHIVES, WEIGHTS, Address, parse_address, suffix_of
from spinet.hub.cache import Record, Slot, is_offline, sha256_of, slot
from spinet.hub.progress import note, shown
from spinet.hub.published import PublishedWeights, find
from spinet.hub.transfer import Patience, fetch_url


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
    if parsed.kind == "hub":
        from spinet.hub.client import Repository
        from spinet.hub.huggingface import download

        repository = Repository(parsed.target, parsed.file, parsed.revision)
        return _weights(download(repository, offline=offline), parsed)
    published = find(parsed.target) if parsed.kind == "published" else None
    if published and published.path:
        return published.path
    if parsed.kind == "file" and suffix_of(parsed.target) in WEIGHTS:
        return _weights(_existing(parsed), parsed)
    return _cached(parsed, published, offline)


def _cached(address: Address, published: PublishedWeights | None, offline: bool) -> Path:
    """Return the file in the cache, which is filled by one process at a time."""
    place = slot(address.cache_name)
    url = _source(address, published)
    with place.exclusive(lambda: note(f"another process fetches {address.text}; waiting for it")):
        try:
            found = place.stored(url)
        except SpinetError as error:
            if offline:
                raise
            note(f"{error}; fetching it again")
            found = None
        if found is None and address.kind != "file" and offline:
            raise SpinetError(f"{address.text} is not in the cache {place.folder}, and offline nothing is fetched")
        return found or _fill(place, address, url, published)


def _source(address: Address, published: PublishedWeights | None) -> str:
    """Return what a record in the cache calls the source: the URL, or the file in its present version."""
    if published:
        if published.unsupported or not published.address:
            raise SpinetError(f"{address.text} cannot be fetched: {published.unsupported or 'no address is known'}")
        return published.address
    if address.kind == "file":
        facts = _existing(address).stat()
        return f"{address.text}#{facts.st_size}-{facts.st_mtime_ns}"
    return address.target


def _fill(place: Slot, address: Address, url: str, published: PublishedWeights | None) -> Path:
    from spinet.hub.making import make_weights  # and torch, which what is in the cache does not need

    name = urlsplit(url).path if published else address.target
    suffix = suffix_of(name)
    if suffix is None:
        raise SpinetError(f"{address.text} cannot be fetched: {url} is no archive or weights file")
    if suffix in ARCHIVES:  # better now than after a long transfer
        import_extra("google_crc32c", "convert", "reading a TensorFlow checkpoint")
    source = _existing(address) if address.kind == "file" else _transferred(place, address, url, published)
    checksum, size = sha256_of(source), source.stat().st_size
    if published and published.sha256 and checksum != published.sha256:
        place.forget_partial()
        raise SpinetError(
            f"{url} has another checksum than the one that was published ({checksum[:12]}..., not "
            f"{published.sha256[:12]}...); nothing is kept"
        )
    try:
        with place.workspace() as folder:
            origin = {"address": url if published else address.text, "sha256": checksum}
            made = make_weights(source, suffix, folder, address.text, published, origin)
            place.keep(made, Record(url, sha256_of(made), made.stat().st_size, checksum, size))
    except SpinetError as error:
        # The disk may have room later; after any other error another try gives the same file.
        if not isinstance(error.__cause__, OSError):
            place.forget_partial()
        raise
    return place.weights


def _transferred(place: Slot, address: Address, url: str, published: PublishedWeights | None) -> Path:
    with shown(address.text) as report:
        size = published.bytes if published else None
        fetch_url(_public(url), place.partial, place.partial_record, report, size=size, patience=patience())
    return place.partial


def _public(url: str) -> str:
    """Return the URL of a public object in Google's storage that does not ask to sign in."""
    parts = urlsplit(url)
    if parts.hostname != "storage.cloud.google.com":
        return url
    return urlunsplit(parts._replace(netloc="storage.googleapis.com", query=""))


def patience() -> Patience:
    """Return how long transfers are tried; `SPINET_TIMEOUT` is in seconds."""
    given = os.environ.get("SPINET_TIMEOUT")
    if not given:
        return Patience()
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e6:
        raise SpinetError(f"SPINET_TIMEOUT is {given!r:.40}; expected a number of seconds")
    return replace(Patience(), timeout=seconds)


def _existing(address: Address) -> Path:
    path = Path(address.target)
    if not path.is_file():
        raise SpinetError(f"there is no file {path}, which {address.text} names")
    return path


def _weights(path: Path, address: Address) -> Path:
    """Return a weights file after a look at its header."""
    from spinet.engine.checkpoint import read_notes

    try:
        read_notes(path)
    except SpinetError as error:
        raise SpinetError(f"{address.text} does not hold weights of Spinet: {error}") from None
    return path
