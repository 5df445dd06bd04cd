"""The Hugging Face Hub: its repositories, its client, and the client's errors as sentences."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spinet.engine.machine import versions
from spinet.engine.packed import MODEL
from spinet.errors import SpinetError, first_line, quoted
from spinet.extras import import_extra
from spinet.hub.addresses import parse_address
from spinet.hub.cache import is_offline

SCHEME = "hf://"
SUFFIX = ".safetensors"


class NotReached(SpinetError):  # noqa: N818
    """The Hub did not answer."""


@dataclass(frozen=True)
class Repository:
    """A repository of models.

    Attributes:
        name: owner and name, with a slash between.
        file: a file in it; empty for the whole.
        revision: a branch, tag or commit; empty for the newest.
    """

    name: str
    file: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, address: str) -> "Repository":
        """Read an address, `hf://owner/name[/file][@revision]`.

        Raises:
            SpinetError: it is not one.
        """
        found = parse_address(address)
        if found is None or found.kind != "hub":
            raise SpinetError(f"{quoted(address)} is not an address on the hub; expected hf://owner/name")
        return cls(found.target, found.file, found.revision)

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}/{self.file}".rstrip("/") + (f"@{self.revision}" if self.revision else "")


def choose_weights(repository: Repository, names: list[str]) -> str:
    """Return the weights file among the names of a repository's files: the one asked for, or the one to expect.

    Raises:
        SpinetError: it is not there, or there is none, or there are several.
    """
    found = [name for name in names if name.endswith(SUFFIX)]
    where = SCHEME + repository.name
    if repository.file:
        if repository.file not in found:
            raise SpinetError(
                f"{where} has no weights {repository.file}; its safetensors are {_listed(found) or 'none'}"
            )
        return repository.file
    if MODEL in found or len(found) == 1:
        return MODEL if MODEL in found else found[0]
    if not found:
        raise SpinetError(
            f"{where} holds no safetensors, only {_listed(names) or 'nothing'}; other weights may run code and are not "
            "taken"
        )
    raise SpinetError(f"{where} holds several weights; name one as {where}/FILE: {_listed(found)}")


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def endpoint() -> str | None:
    """Return the address of the Hub where `HF_ENDPOINT` says it: the client reads that only once."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


@contextmanager
def connected(repository: Repository, purpose: str) -> Iterator[Any]:
    """Give the Hub's client (`HfApi`), whose errors become sentences; it prints only to a terminal.

    Raises:
        SpinetError: the client is not installed, or whatever it raised; `NotReached` if the Hub did not answer.
    """
    if is_offline():
        raise SpinetError(f"{purpose} needs a network, and SPINET_OFFLINE forbids all transfers")
    hub, utils, errors = (import_extra(f"huggingface_hub{part}", "hub", purpose) for part in ("", ".utils", ".errors"))
    api = hub.HfApi(endpoint=endpoint(), library_name="spinet", library_version=versions().get("spinet"))
    log, quiet = utils.logging, utils.are_progress_bars_disabled()
    level = log.get_verbosity()
    log.set_verbosity_error()
    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    try:
        yield api
    except SpinetError:
        raise
    except Exception as error:  # of the client, of its HTTP library, or of the system
        cause = _cause_of_thread(error)
        if _is_unreached(cause, errors):
            raise NotReached(
                f"could not reach {api.endpoint} for {repository} ({_cause(cause)}); check the network and try again"
            ) from None
        reason = _sentence(cause, repository, api.endpoint, errors)
        if reason is None:
            raise
        raise SpinetError(reason) from None
    finally:
        log.set_verbosity(level)
        if not quiet:
            utils.enable_progress_bars()


def token() -> str | None:
    """Return the user's token: `HF_TOKEN`, or what `hf auth login` has stored."""
    found: str | None = import_extra("huggingface_hub", "hub", "the Hugging Face Hub").get_token()
    return found


def _cause_of_thread(error: Exception) -> Exception:
    """Return what happened in a thread that uploads, where an error comes from one."""
    is_wrapped = isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception)
    return error.__cause__ if is_wrapped else error  # type: ignore[return-value]


def _is_unreached(error: Exception, errors: Any) -> bool:
    if isinstance(error, errors.HfHubHTTPError):
        return False
    known = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)
    return isinstance(error, known) or type(error).__module__.partition(".")[0].startswith("httpx")


def _sentence(error: Exception, repository: Repository, address: str, errors: Any) -> str | None:
    """Return what a user can do about an error; None for one that is a bug."""
    if isinstance(error, errors.GatedRepoError):
        return f"{repository} is gated: ask for access on its page, and set HF_TOKEN to a token that has it"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{SCHEME}{repository.name} has no revision {quoted(repository.revision or 'main')}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"there is no repository {SCHEME}{repository.name}, or it is private and no token that may read it is in "
            "HF_TOKEN"
        )
    if isinstance(error, errors.HFValidationError):
        return f"{quoted(repository.name)} is not a valid name: {first_line(error)}"
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error, repository, address)
    if isinstance(error, OSError):
        return f"a file of {repository} could not be read or written: {error.strerror or first_line(error)}"
    return f"the Hub refused {repository}: {first_line(error)}" if isinstance(error, ValueError) else None


def _refused(error: Any, repository: Repository, address: str) -> str:
    status = error.response.status_code
    said = str(error.server_message or "").strip().partition("\n")[0][:120]
    more = f" ({said})" if said else ""
    if status == 401:
        return f"{address} does not accept the token in HF_TOKEN{more}; make a new one with write access"
    if status == 403:
        return f"the token in HF_TOKEN may not do this with {SCHEME}{repository.name}{more}; write access is needed"
    if status == 413 or status == 507:
        return f"there is no space for {SCHEME}{repository.name} at {address}{more}"
    if status == 429:
        return f"{address} has had too many requests{more}; wait some minutes and try again"
    if status >= 500:
        return f"{address} failed with status {status}{more}; nothing is wrong here, try again later"
    return f"{address} refused {repository} with status {status}{more}"


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost error: the outer ones only say that something failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
