"""`spinet draw`: drawings of architectures."""

from pathlib import Path
from typing import Annotated

import tyro

from spinet.arch.catalog import load_architecture, names
from spinet.commands.console import say
from spinet.errors import SpinetError
from spinet.files import write_atomically


def draw_command(args: list[str]) -> None:
    """Draw an architecture, compare two, or draw the whole catalogue."""

    def command(
        archs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME [OTHER]")] = (),
        *,
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
        all: bool = False,
    ) -> None:
        """Draw one architecture, or two with their differences highlighted.

        Args:
            archs: Catalogue names or architecture files.
            out: Output file: .svg, .png or .html.
            all: Draw the whole catalogue as one .html page.
        """
        from spinet.draw.architecture import draw, draw_pair
        from spinet.draw.catalogue_page import draw_catalogue
        from spinet.draw.raster import svg_to_png

        if all == bool(archs) or len(archs) > 2:
            raise SpinetError(f"expected one or two names, or --all without names, not {len(archs)} names")
        allowed = (".html",) if all else (".svg", ".png") if len(archs) == 2 else (".svg", ".png", ".html")
        if out.suffix.lower() not in allowed:
            raise SpinetError(f"--out must end in {' or '.join(allowed)}, not {out.name}")
        architectures = [load_architecture(name) for name in (names() if all else archs)]
        if out.suffix.lower() == ".html":
            write_atomically(out, draw_catalogue(architectures))
        else:
            svg = draw_pair(*architectures) if len(architectures) == 2 else draw(*architectures)
            write_atomically(out, svg_to_png(svg) if out.suffix.lower() == ".png" else svg)
        say(str(out))

    tyro.cli(command, args=args, prog="spinet draw")
