"""`spinet push`: a trained model to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import say, say_files, warn
from spinet.errors import SpinetError


def push_command(args: list[str]) -> None:
    """Push a trained model with its card to the Hugging Face Hub."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        address: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="hf://OWNER/NAME")],
        license: str = "",
        dataset: str = "",
        private: bool = False,
        samples: bool = False,
        dry_run: Path | None = None,
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
    ) -> None:
        """Push the best weights of a training, a model card, its settings, metrics and a drawing, in one commit.

        The token is read from HF_TOKEN, or from `hf auth login`. Checkpoint, dataset, logs and paths of this machine
        are never pushed. Pushing an unchanged model again makes no commit.

        Args:
            run: Run folder.
            address: Repository, which is created if there is none.
            license: Licence of the model, such as apache-2.0; it must be one that the images allow.
            dataset: Name of the dataset, for the card, or its name on the Hub; its folder is not named.
            private: Create a private repository.
            samples: Push six val images with predictions too. They are images of the dataset.
            dry_run: Write the files into this new folder instead, without a network.
            root: Dataset folder, if it has moved since.
        """
        from spinet.share.push import push

        if not license:
            raise SpinetError("--license is missing: name one that the images allow, such as apache-2.0 or cc-by-4.0")
        pushed = push(
            run,
            address,
            license=license,
            dataset=dataset,
            private=private,
            samples=samples,
            dry_run=dry_run,
            root=root or None,
        )
        say_files(pushed.files)
        for note in pushed.notes:
            warn(note)
        say(pushed.where if pushed.changed or dry_run else f"unchanged, no new commit: {pushed.where}")

    tyro.cli(command, args=args, prog="spinet push")
