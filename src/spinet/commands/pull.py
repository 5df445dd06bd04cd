"""`spinet pull`: a shared model into a folder."""

from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import say
from spinet.text import count_of


def pull_command(args: list[str]) -> None:
    """Pull a shared model, from the Hugging Face Hub or a .zip."""

    def command(
        source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="hf://OWNER/NAME")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    ) -> None:
        """Get weights and card into a new folder, which all commands take like a run.

        Only safetensors are taken: they run no code. Checksums are verified.

        Args:
            source: Repository, also with /FILE.safetensors or @REVISION; or a .zip of `spinet pack`.
            out: Folder to write; it must not exist yet, or be empty.
        """
        from spinet.share.pull import pull

        pulled = pull(source, out)
        info = pulled.info
        classes = f", {count_of(len(info.class_names), 'class', 'classes')}" if info.class_names else ""
        say(f"{info.kind}: {info.model.head} on {info.architecture.name}{classes}, {info.image_size} px")
        say(str(pulled.folder))

    tyro.cli(command, args=args, prog="spinet pull")
