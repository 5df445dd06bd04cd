"""`spinet app`: a web page to try models."""

import threading
from typing import Annotated

import tyro

from spinet.commands.console import say, say_threads
from spinet.errors import SpinetError, Stopped
from spinet.extras import import_extra


def app_command(args: list[str]) -> None:
    """Open a web page to try models: predictions, graphs, costs."""

    def command(
        models: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")],
        port: int = 7860,
        host: str = "127.0.0.1",
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        """Serve a web page to try models: drop an image, move the score threshold, compare two models. Ctrl-C stops it.

        Also: precision and recall at the threshold, a batch of images to download, the report of a run, a camera.

        Args:
            models: Run folders, weights files or their addresses (published/NAME, https://, hf://), or exported files;
                the first one is picked at the start.
            port: Port of the page.
            host: Address to bind to; 127.0.0.1 is for this machine only, 0.0.0.0 for others too.
            device: `auto`, `cpu`, `cuda` ...
            threads: CPU threads; 0 leaves the number to PyTorch or the file's runtime, within the cores it may use.
        """
        if not 1 <= port <= 65535:
            raise SpinetError(f"--port is {port}; it must be from 1 to 65535")
        from spinet.hub.fetch import local_path

        paths = [local_path(model) for model in models]
        from spinet.app.models import Models, example_images
        from spinet.app.serve import build_page, serve

        import_extra("gradio", "app", "the page")
        opened = Models(paths, device, threads)
        say_threads(paths[0], threads)
        page = build_page(opened, example_images(paths))
        say(f"{', '.join(opened.names)}: {serve(page, host, port)}  (Ctrl-C stops it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt as stop:
            page.close(verbose=False)
            if isinstance(stop, Stopped):  # by SIGTERM
                raise

    tyro.cli(command, args=args, prog="spinet app")
