"""A trained model as a repository of the Hugging Face Hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinet.errors import SpinetError
from spinet.hub.client import Repository, connected, token
from spinet.share.bundle import Bundle, bundle
from spinet.share.folder import check_free, write_folder

_PURPOSE = "pushing a model"


@dataclass(frozen=True)
class Pushed:
    """What a push has done.

    Attributes:
        where: the page of the commit, or the folder of a dry run.
        changed: whether there is a new commit; an unchanged model makes none.
        files: size in bytes of each file.
        notes: sentences about them.
    """

    where: str
    changed: bool
    files: dict[str, int]
    notes: tuple[str, ...]


def push(
    run: str | Path,
    address: str,
    *,
    license: str,
    dataset: str = "",
    private: bool = False,
    samples: bool = False,
    dry_run: str | Path | None = None,
    root: str | Path | None = None,
) -> Pushed:
    """Push a trained model to the Hugging Face Hub, in one commit: `spinet.push("runs/mine", "hf://me/cells", ...)`.

    Weights (safetensors), card, settings without paths, metrics and drawing are pushed; checkpoint, dataset and logs
    never are. The token is that of `HF_TOKEN`, or of `hf auth login`.

    Args:
        run: the run folder.
        address: `hf://owner/name`; the repository is created if there is none.
        license: the model's licence by its identifier, such as "apache-2.0": there is no default, because the images
            may forbid it.
        dataset: name of the dataset, as its makers call it, or its name on the Hub.
        private: create a private repository; one that is public already is refused.
        samples: push some val images with predictions too; they are images of the dataset.
        dry_run: write the files into this new folder instead, without a network.
        root: the dataset folder, if it has moved.

    Raises:
        SpinetError: there is no run, it was never evaluated, an argument is not valid, the extra `hub` is not
            installed, or the Hub cannot be reached or refuses.
    """
    repository = Repository.parse(address)
    if repository.file or repository.revision:
        raise SpinetError(f"a model is pushed to the main branch of a repository, as hf://owner/name, not {address}")
    if not license:
        raise SpinetError(
            "name the licence of the model, such as apache-2.0 or cc-by-4.0; it must be one that the images it was "
            "trained on allow"
        )
    if dry_run is not None:
        check_free(Path(dry_run))
    elif not token():
        raise SpinetError(f"{_PURPOSE} needs a token with write access: set HF_TOKEN, or log in with `hf auth login`")
    made = bundle(
        run,
        name=repository.name.partition("/")[2],
        where=str(repository),
        licence=license,
        dataset=dataset,
        samples=samples,
        root=root,
    )
    if dry_run is not None:
        write_folder(Path(dry_run), made.files)
        return Pushed(str(dry_run), False, _sizes(made), made.notes)
    with connected(repository, _PURPOSE) as api:
        where, changed = _commit(api, repository, made, private)
    return Pushed(where, changed, _sizes(made), made.notes)


def _commit(api: Any, repository: Repository, made: Bundle, private: bool) -> tuple[str, bool]:
    """Commit all files at once; return the page of the newest commit, and whether it is a new one."""
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repository.name)
        if private and not info.private:
            raise SpinetError(
                f"{repository} exists and is public; make it private on its page first, or push to another name"
            )
        before = info.sha
    except RepositoryNotFoundError:
        api.create_repo(repository.name, private=private or None)
        before = api.model_info(repository.name).sha
    operations = [CommitOperationAdd(name, content) for name, content in made.files.items()]
    commit = api.create_commit(repository.name, operations, commit_message="Upload the model with Spinet")
    return commit.commit_url, commit.oid != before


def _sizes(made: Bundle) -> dict[str, int]:
    return {name: len(content) for name, content in made.files.items()}
