"""The page: an image, the predictions of models, their graphs and costs, by Gradio and without external requests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.transforms.v2 import functional

from spinet.app.events import connect
from spinet.app.figure import label_script
from spinet.app.layout import HOUR, create_parts
from spinet.app.models import Models
from spinet.app.style import STYLE
from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.formats.images import read_image

_THUMBNAIL = 160


def build_page(models: Models, examples: Sequence[Path] = ()) -> Any:
    """Build the page, without serving it.

    Args:
        models: the models to pick from; the first one is picked at the start.
        examples: example images.

    Raises:
        SpinetError: Gradio is not installed.
    """
    gr = import_extra("gradio", "app", "the page")
    small = [(path, picture) for path in examples if (picture := _thumbnail(path))]
    with gr.Blocks(title="Spinet", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        parts = create_parts(gr, models, [picture for _, picture in small])
        connect(gr, models, parts, [path for path, _ in small])
        page.load(None, js=label_script([path.name for path, _ in small]))
    return page


def serve(page: Any, host: str = "127.0.0.1", port: int = 7860) -> str:
    """Serve the page in threads of this process until `page.close()`; return its address.

    Raises:
        SpinetError: the port is taken, or this machine has no such address.
    """
    gr = import_extra("gradio", "app", "the page")
    letters = [gr.themes.Font(name) for name in ("system-ui", "Helvetica", "Arial", "sans-serif")]
    figures = [gr.themes.Font(name) for name in ("ui-monospace", "Menlo", "Consolas", "monospace")]
    page.queue(max_size=200)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            theme=gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=letters, font_mono=figures),
            css=STYLE,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            max_file_size="1gb",
            state_session_capacity=200,
        )
    except OSError as error:
        raise SpinetError(f"cannot bind to {host}:{port}: {error}; another port may be free") from None
    return str(address)


def _thumbnail(path: Path) -> Image.Image | None:
    """Return a small copy of an example; None if it cannot be read."""
    try:
        picture: Image.Image = functional.to_pil_image(read_image(path))
    except SpinetError:
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture
