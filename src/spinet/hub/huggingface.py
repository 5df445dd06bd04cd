"""Weights from the Hugging Face hub, through its own client and cache (`HF_HOME`); safetensors only."""

import os
from pathlib import Path
from typing import Any

from spinet.engine.packed import MODEL
from spinet.errors import SpinetError, first_line
from spinet.extras import import_extra

WEIGHTS = ".safetensors"


def download(repository: str, file: str = "", revision: str = "", *, offline: bool = False) -> Path:
    """Return a weights file of a repository, from the hub or from the client's cache.

    Args:
        repository: `owner/name`.
        file: path in the repository; empty for its only .safetensors file.
        revision: branch, tag or commit; empty for the default branch.
        offline: do not ask the hub.

    Raises:
        SpinetError: the client is not installed (extra `hub`), the hub cannot be reached or refuses, or the repository
            has no such file, no .safetensors file, or several.
    """
    hub = import_extra("huggingface_hub", "hub", "an address hf://")
    errors = import_extra("huggingface_hub.errors", "hub", "an address hf://")
    if file and not file.endswith(WEIGHTS):
        raise SpinetError(f"hf://{repository}/{file} is not a {WEIGHTS} file; other formats of the hub may hold code")
    name = f"{repository}/{file}".rstrip("/") + (f"@{revision}" if revision else "")
    try:
        if not file:
            names, offline = _files(hub, errors, repository, revision, offline)
            file = _only(names, name, offline)
        found = hub.hf_hub_download(
            repository, file, revision=revision or None, local_files_only=offline, endpoint=_endpoint()
        )
    except (OSError, ValueError, errors.HTTPError, errors.EntryNotFoundError) as error:
        if isinstance(error, SpinetError):
            raise
        raise _explained(errors, error, name, offline) from None
    return Path(found)


def _endpoint() -> str | None:
    """Return the address of the hub; the client reads it only once."""
    return os.environ.get("HF_ENDPOINT") or None


def _files(hub: Any, errors: Any, repository: str, revision: str, offline: bool) -> tuple[list[str], bool]:
    """Return the names of the files in a repository, and whether they are those in the cache."""
    if not offline:
        try:
            siblings = hub.HfApi(_endpoint()).model_info(repository, revision=revision or None).siblings
            return [file.rfilename for file in siblings or []], False
        except errors.HfHubHTTPError:
            raise
        except (OSError, errors.HTTPError):  # no network
            cached = _cached_files(hub, errors, repository, revision)
            if cached:
                return cached, True
            raise
    return _cached_files(hub, errors, repository, revision), True


def _cached_files(hub: Any, errors: Any, repository: str, revision: str) -> list[str]:
    try:
        repositories = hub.scan_cache_dir().repos
    except errors.CacheNotFound:
        return []
    wanted = revision or "main"
    return [
        file.file_path.relative_to(found.snapshot_path).as_posix()
        for repo in repositories
        if repo.repo_id == repository and repo.repo_type == "model"
        for found in repo.revisions
        if wanted in found.refs or found.commit_hash == wanted
        for file in found.files
    ]


def _only(names: list[str], where: str, offline: bool) -> str:
    weights = sorted(name for name in names if name.endswith(WEIGHTS))
    if len(weights) == 1 or MODEL in weights:
        return MODEL if MODEL in weights else weights[0]
    if not names:
        missing = "is not in the cache of the hub's client, and offline nothing is fetched" if offline else "is empty"
        raise SpinetError(f"hf://{where} {missing}")
    if not weights:
        there = ", ".join(sorted(names)[:5])
        raise SpinetError(f"hf://{where} has no {WEIGHTS} file, and other formats are not read; there are {there:.100}")
    more = f" and {len(weights) - 8} more" if len(weights) > 8 else ""
    raise SpinetError(
        f"hf://{where} has {len(weights)} {WEIGHTS} files; name one, as in hf://{where.partition('@')[0]}/FILE: "
        f"{', '.join(weights[:8])}{more}"
    )


def _explained(errors: Any, error: Exception, name: str, offline: bool) -> SpinetError:
    if isinstance(error, errors.GatedRepoError):
        return SpinetError(f"hf://{name} asks for consent on its page, and for a login of the hub's client (HF_TOKEN)")
    if isinstance(error, errors.RevisionNotFoundError):
        return SpinetError(f"hf://{name} has no such revision")
    if isinstance(error, errors.RepositoryNotFoundError):
        return SpinetError(f"there is no repository hf://{name}, or it is private and needs a login (HF_TOKEN)")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return SpinetError(f"hf://{name} has no such file")
    if isinstance(error, errors.HFValidationError):
        return SpinetError(f"hf://{name} is not a name of the hub: {first_line(error)}")
    if offline or isinstance(error, errors.OfflineModeIsEnabled):
        return SpinetError(f"hf://{name} is not in the cache of the hub's client, and offline nothing is fetched")
    if isinstance(error, errors.HfHubHTTPError):
        code = getattr(getattr(error, "response", None), "status_code", "an error")
        return SpinetError(f"hf://{name} could not be fetched: the hub answers {code}")
    return SpinetError(f"the hub could not be reached for hf://{name}: {first_line(error)}")
