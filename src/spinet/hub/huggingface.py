"""Weights from the Hugging Face Hub, through its own client and cache (`HF_HOME`); safetensors only."""

from pathlib import Path
from typing import Any

from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.hub.client import SUFFIX, NotReached, Repository, choose_weights, connected, endpoint

_PURPOSE = "an address hf://"


def download(repository: Repository, *, offline: bool = False) -> Path:
    """Return a weights file of a repository, from the Hub or, where it cannot be reached, from the client's cache.

    Args:
        repository: with the file in it, if it is not `model.safetensors` or its only .safetensors file.
        offline: do not ask the Hub.

    Raises:
        SpinetError: the client is not installed (extra `hub`), the Hub cannot be reached or refuses, or the repository
            has no such file, no .safetensors file, or several.
    """
    if repository.file and not repository.file.endswith(SUFFIX):
        raise SpinetError(f"{repository} is not a {SUFFIX} file; other formats of the Hub may hold code")
    if offline:
        found = _cached(repository)
        if found is None:
            raise SpinetError(f"{repository} is not in the cache of the Hub's client, and offline nothing is fetched")
        return found
    try:
        with connected(repository, _PURPOSE) as api:
            revision = repository.revision or None
            siblings = api.model_info(repository.name, revision=revision).siblings
            name = choose_weights(repository, [each.rfilename for each in siblings or ()])
            return Path(api.hf_hub_download(repository.name, name, revision=revision))
    except NotReached:
        found = _cached(repository)
        if found is None:
            raise
        return found


def _cached(repository: Repository) -> Path | None:
    """Return the file in the client's cache, None if it is not there."""
    hub, errors = (import_extra(name, "hub", _PURPOSE) for name in ("huggingface_hub", "huggingface_hub.errors"))
    names = _cached_names(hub, errors, repository)
    if not names or (repository.file and repository.file not in names):
        return None
    return Path(
        hub.hf_hub_download(
            repository.name,
            choose_weights(repository, names),
            revision=repository.revision or None,
            local_files_only=True,
            endpoint=endpoint(),
        )
    )


def _cached_names(hub: Any, errors: Any, repository: Repository) -> list[str]:
    try:
        repositories = hub.scan_cache_dir().repos
    except errors.CacheNotFound:
        return []
    wanted = repository.revision or "main"
    return [
        file.file_path.relative_to(found.snapshot_path).as_posix()
        for repo in repositories
        if repo.repo_id == repository.name and repo.repo_type == "model"
        for found in repo.revisions
        if wanted in found.refs or found.commit_hash == wanted
        for file in found.files
    ]
