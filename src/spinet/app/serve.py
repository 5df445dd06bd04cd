"""The page: an image, the predictions of models, their graphs and costs, by Gradio and without external requests."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.transforms.v2 import functional

from spinet.app.layout import HOUR, SIDES, Parts, create_parts, describe
from spinet.app.models import Models
from spinet.app.session import INVITATION, PageView, Visit, distinct, look, view
from spinet.app.style import STYLE
from spinet.errors import SpinetError
from spinet.extras import import_extra
from spinet.formats.images import read_image

_THUMBNAIL = 160
# Models run one image at a time, which bounds memory; drawing is cheap.
_RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "running"}
_DRAWING: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "drawing"}


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
        _connect(gr, models, parts, [path for path, _ in small])
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


def _connect(gr: Any, models: Models, parts: Parts, examples: Sequence[Path]) -> None:
    def show(path: str | None, one: str, other: str, threshold: float, session: Visit | None) -> list[Any]:
        outcome = look(models, (one, other), Path(path) if path else None, session)
        if isinstance(outcome, str):
            return [*_shown(gr, PageView(outcome)), path, None]
        return [*_shown(gr, view(models, (one, other), outcome, threshold)), path, outcome]

    def show_example(index: int, one: str, other: str, threshold: float, session: Visit | None) -> list[Any]:
        return [None, *show(str(examples[index]), one, other, threshold, session)]

    def redraw(one: str, other: str, threshold: float, session: Visit | None) -> list[Any]:
        if session is None or any(name not in session.answers for name in distinct((one, other))):
            return [gr.skip() for _ in parts.shown]  # a model is running, and a redraw follows it
        return _shown(gr, view(models, (one, other), session, threshold))

    def about(one: str, other: str) -> list[Any]:
        *texts, detectors = describe(models, (one, other))
        return [*texts, gr.update(visible=detectors)]

    # One progress indicator above, and one on each image, instead of one on everything that will change.
    running: dict[str, Any] = {**_RUNNING, "show_progress_on": [parts.line, *parts.pictures]}
    settings = [*parts.names, parts.threshold, parts.session]
    results = [*parts.shown, parts.path, parts.session]
    answered = [parts.file.upload(show, [parts.file, *settings], results, api_name="look", **running)]
    parts.file.clear(lambda: [None, None], None, [parts.path, parts.session], api_visibility="private").then(
        lambda: _shown(gr, PageView(INVITATION)),
        None,
        parts.shown,
        api_visibility="private",
    )
    answered.append(
        parts.examples.click(
            show_example, [parts.examples, *settings], [parts.file, *results], api_visibility="private", **running
        )
    )
    for choice in parts.names:
        choice.change(about, parts.names, parts.described, show_progress="hidden", api_visibility="private", **_DRAWING)
        answered.append(choice.change(show, [parts.path, *settings], results, api_visibility="private", **running))
    drawing: dict[str, Any] = {"inputs": settings, "outputs": parts.shown, "show_progress": "hidden", **_DRAWING}
    parts.threshold.change(redraw, trigger_mode="always_last", api_name="redraw", **drawing)
    for event in answered:
        # The threshold may have moved while the model ran.
        event.then(redraw, api_visibility="private", **drawing)


def _shown(gr: Any, new: PageView) -> list[Any]:
    """Return the new values of the parts that change."""
    shown = [[gr.update(visible=True), *side] for side in new.sides]
    hidden = [[gr.update(visible=False), "", None, ""] for _ in range(len(new.sides), SIDES)]
    return [new.line, *chain(*shown, *hidden)]


def _thumbnail(path: Path) -> Image.Image | None:
    """Return a small copy of an example; None if it cannot be read."""
    try:
        picture: Image.Image = functional.to_pil_image(read_image(path))
    except SpinetError:
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture
