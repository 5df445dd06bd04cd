"""Addresses of weights: which strings are one, and what they say. Everything else is a path."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from spinet.errors import SpinetError, quoted

Kind = Literal["published", "web", "file", "hub"]

PUBLISHED = "published/"
# What an address of a file may end with: a weights file, a state dict, or an archive of a checkpoint.
WEIGHTS, STATE_DICTS, ARCHIVES = (".safetensors",), (".pth",), (".tar.gz", ".tgz", ".tar")
SUFFIXES = (*WEIGHTS, *STATE_DICTS, *ARCHIVES)

FORMS = "published/NAME, https://..., file://... (.safetensors, .pth or .tar.gz) or hf://owner/name[/file][@revision]"

# A Path has only one slash left.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
_HUB_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class Address:
    """What an address says.

    Args:
        text: the address, as it is quoted in messages and recorded.
        kind: `"published"`, `"web"`, `"file"` or `"hub"`.
        target: the published name, the URL, the path, or the repository `owner/name`.
        file: hub: the file in the repository; empty for its only weights file.
        revision: hub: branch, tag or commit; empty for the default branch.
    """

    text: str
    kind: Kind
    target: str
    file: str = ""
    revision: str = ""

    @property
    def file_name(self) -> str:
        """Name of the file at the end of a URL or path."""
        path = urlsplit(self.target).path if self.kind == "web" else self.target
        return unquote(path).rstrip("/").rpartition("/")[2]

    @property
    def cache_name(self) -> str:
        """Name in the cache: that of published weights, else that of the file and a digest of the address."""
        if self.kind == "published":
            return self.target
        stem = self.file_name
        stem = stem.removesuffix(suffix_of(stem) or "")
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:10]
        return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem).strip('-')[:60] or 'weights'}-{digest}"


def suffix_of(name: str) -> str | None:
    """Return which of `SUFFIXES` a file name has.

    >>> suffix_of("a/Spinenet-49.tar.gz"), suffix_of("model.onnx")
    ('.tar.gz', None)
    """
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def parse_address(text: str | Path) -> Address | None:
    """Return what an address says; None for a path.

    `published/NAME` is a path if there is such a file or folder.

    >>> parse_address("hf://me/cells/model.safetensors@v2").revision, parse_address("runs/mine")
    ('v2', None)

    Raises:
        SpinetError: it is an address of a kind that is not supported, or not complete.
    """
    given = text.as_posix() if isinstance(text, Path) else text
    if given.startswith(PUBLISHED) and not Path(given).exists():
        return Address(given, "published", given.removeprefix(PUBLISHED).strip("/"))
    match = _SCHEME.match(given)
    if not match:
        return None
    scheme, rest = match[1].lower(), given[match.end() :]
    if scheme == "hf":
        return _hub(f"hf://{rest}", rest)
    if scheme == "file":
        rest = rest.removeprefix("localhost/")
        return _checked(Address(f"file:///{rest}", "file", f"/{unquote(rest)}"))
    if scheme in ("http", "https"):
        url = f"{scheme}://{rest}"
        check_url(url)
        return _checked(Address(url, "web", url))
    raise SpinetError(f"{quoted(given)} is not an address of weights; expected {FORMS}")


def is_address(text: str | Path) -> bool:
    """Whether a string is an address, not a path; raises a SpinetError for addresses that are not supported."""
    return parse_address(text) is not None


def check_url(url: str) -> None:
    """Raise a SpinetError unless a URL is https, or http to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SpinetError(f"{quoted(url)} is not a valid address: {error}") from None
    if not host:
        raise SpinetError(f"{quoted(url)} names no host")
    if parts.username is not None:
        raise SpinetError(f"an address on {host} has a user's name in it, which is not supported; leave it out")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SpinetError(f"{quoted(url)} is not encrypted, so what arrives could be anything; use https://")
    if parts.scheme not in ("http", "https"):
        raise SpinetError(f"{quoted(url)} is not a web address; expected https://")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(address: Address) -> Address:
    if suffix_of(address.file_name) is None:
        raise SpinetError(
            f"{quoted(address.text)} is not an address of weights: it must end with {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}"
        )
    return address


def _hub(text: str, rest: str) -> Address:
    path, _, revision = rest.partition("@")
    parts = path.strip("/").split("/")
    named = len(parts) > 1 and all(map(_HUB_PART.fullmatch, parts[:2])) and not {"", "..", "."} & set(parts)
    if not named or ("@" in rest) != bool(revision):
        raise SpinetError(f"{quoted(text)} is not an address on the hub; expected hf://owner/name[/file][@revision]")
    return Address(text, "hub", "/".join(parts[:2]), "/".join(parts[2:]), revision)
