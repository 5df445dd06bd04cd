"""The Hugging Face Hub: addresses of repositories, its client, and its errors as sentences."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spinet.engine.machine import versions
from spinet.errors import SpinetError, first_line, quoted
from spinet.extras import import_extra
from spinet.hub.fetch import is_offline

SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<name>[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95})(?:/(?P<file>[^@\s]+))?(?:@(?P<revision>[\w./-]{1,200}))?"
)


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
        found = _ADDRESS.fullmatch(address)
        if not found or ".." in address:
            raise SpinetError(f"{quoted(address)} is not the address of a repository; expected hf://owner/name")
        return cls(found["name"], found["file"] or "", found["revision"] or "")

    def __str__(self) -> str:
        return SCHEME + self.name + (f"@{self.revision}" if self.revision else "")


@contextmanager
def connected(repository: Repository, purpose: str) -> Iterator[Any]:
    """Give the Hub's client (`HfApi`), whose errors become sentences; it prints only to a terminal.

    Raises:
        SpinetError: the client is not installed, or whatever it raised.
    """
    if is_offline():
        raise SpinetError(f"{purpose} needs a network, and SPINET_OFFLINE forbids all transfers")
    hub, utils, errors = (import_extra(f"huggingface_hub{part}", "hub", purpose) for part in ("", ".utils", ".errors"))
    endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
    api = hub.HfApi(endpoint=endpoint, library_name="spinet", library_version=versions().get("spinet"))
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
        reason = _sentence(error, repository, api.endpoint, errors)
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


def _sentence(error: Exception, repository: Repository, endpoint: str, errors: Any) -> str | None:
    """Return what a user can do about an error; None for one that is a bug."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of a thread that uploads
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
        return _refused(error, repository, endpoint)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{repository} was not reached: the client is offline (HF_HUB_OFFLINE)"
    if isinstance(error, errors.LocalEntryNotFoundError) or type(error).__module__.partition(".")[0].startswith(
        "httpx"
    ):
        return f"could not reach {endpoint} for {repository} ({_cause(error)}); check the network and try again"
    if isinstance(error, OSError):
        return f"a file of {repository} could not be read or written: {error.strerror or first_line(error)}"
    return f"the Hub refused {repository}: {first_line(error)}" if isinstance(error, ValueError) else None


def _refused(error: Any, repository: Repository, endpoint: str) -> str:
    status = error.response.status_code
    said = str(error.server_message or "").strip().partition("\n")[0][:120]
    more = f" ({said})" if said else ""
    if status == 401:
        return f"{endpoint} does not accept the token in HF_TOKEN{more}; make a new one with write access"
    if status == 403:
        return f"the token in HF_TOKEN may not do this with {SCHEME}{repository.name}{more}; write access is needed"
    if status == 413 or status == 507:
        return f"there is no space for {SCHEME}{repository.name} at {endpoint}{more}"
    if status == 429:
        return f"{endpoint} has had too many requests{more}; wait some minutes and try again"
    if status >= 500:
        return f"{endpoint} failed with status {status}{more}; nothing is wrong here, try again later"
    return f"{endpoint} refused {repository} with status {status}{more}"


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost error: the outer ones only say that something failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
