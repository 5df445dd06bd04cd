"""`spinet pack`: a trained model as one file."""

from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import say, say_files, warn


def pack_command(args: list[str]) -> None:
    """Pack a trained model with its card as one .zip."""

    def command(
        run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        license: str = "",
        dataset: str = "",
        samples: bool = True,
        root: Annotated[str, tyro.conf.arg(name="data.root")] = "",
    ) -> None:
        """Pack the best weights of a training, a model card, its metrics, a drawing and samples as one file.

        `spinet predict`, `evaluate`, `export`, `compare` and --model.weights take the file like a run; it also unpacks
        with any program. Neither paths of this machine nor the checkpoint are inside.

        Args:
            run: Run folder.
            out: The .zip file to write.
            license: Licence of the model, such as apache-2.0; the card says if it is not stated.
            dataset: Name of the dataset, for the card; its folder is not named.
            samples: Put six val images with predictions in. They are images of the dataset: its licence must allow it.
            root: Dataset folder, if it has moved since.
        """
        from spinet.share.pack import pack

        packed = pack(run, out, license=license, dataset=dataset, samples=samples, root=root or None)
        say_files(packed.files)
        for note in packed.notes:
            warn(note)
        say(str(packed.path))

    tyro.cli(command, args=args, prog="spinet pack")
