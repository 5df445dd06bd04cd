"""`spinet app`: a page in the browser to try models on."""

import threading
from pathlib import Path
from typing import Annotated

import tyro

from spinet.commands.console import say
from spinet.errors import SpinetError
from spinet.extras import import_extra


def app_command(args: list[str]) -> None:
    """A page in the browser: photos, what models find in them, their graphs and costs."""

    def command(
        models: Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")],
        port: int = 7860,
        host: str = "127.0.0.1",
        device: str = "auto",
    ) -> None:
        """Serve a page to try models on: drop a photo, move the lowest score, compare two models. Ctrl-C ends it.

        Args:
            models: Run folders, weights files or exported files; the first one is picked at the start.
            port: Where the page is served.
            host: Address to listen on; only this machine reaches 127.0.0.1, others reach 0.0.0.0.
            device: `auto`, `cpu`, `cuda` ...
        """
        if not 1 <= port <= 65535:
            raise SpinetError(f"--port is {port}; allowed are 1 to 65535")
        from spinet.app.models import Models, example_photos
        from spinet.app.serve import build_page, serve
        from spinet.engine.distributed import pick_device

        import_extra("gradio", "app", "the page")
        opened = Models(models, pick_device(device))
        page = build_page(opened, example_photos(models))
        say(f"{', '.join(opened.names)}: {serve(page, host, port)}  (Ctrl-C ends it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            page.close(verbose=False)

    tyro.cli(command, args=args, prog="spinet app")
