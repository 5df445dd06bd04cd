"""The page: a photo, what models find in it, their graphs and costs. Gradio draws it; it asks for nothing outside."""

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.transforms.v2 import functional

from spinet.data.images import read_image
from spinet.errors import SpinetError
from spinet.tools.app_html import cost_table, drawing, model_line, note
from spinet.tools.app_models import LOWEST_SCORE, Models
from spinet.tools.app_session import NOTHING, Session, View, chosen, look, view
from spinet.tools.app_style import STYLE

_SIDES = 2  # models beside each other
_THUMBNAIL = 160
_HOUR = 3600
# Large photos are read and asked about one after the other, which bounds memory; drawing is cheap.
_ASKING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "asking"}
_DRAWING: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "drawing"}


def import_gradio() -> Any:
    """Return Gradio, which is told to report nothing to anybody.

    Raises:
        SpinetError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        return importlib.import_module("gradio")
    except ImportError:
        raise SpinetError("the page needs gradio, which is not installed: pip install 'spinet[app]'") from None


@dataclass(frozen=True)
class _Parts:
    """The parts of the page that change."""

    file: Any
    examples: Any
    first: Any
    second: Any
    threshold: Any
    line: Any
    columns: tuple[Any, ...]
    headings: tuple[Any, ...]
    pictures: tuple[Any, ...]
    tables: tuple[Any, ...]
    about: Any
    drawing: Any
    costs: tuple[Any, ...]
    path: Any
    session: Any

    @property
    def names(self) -> list[Any]:
        return [self.first, self.second]

    @property
    def shown(self) -> list[Any]:
        return [self.line, *self.columns, *self.headings, *self.pictures, *self.tables]

    @property
    def described(self) -> list[Any]:
        return [self.about, self.drawing, *self.costs, self.threshold]


def build_page(models: Models, examples: Sequence[Path] = ()) -> Any:
    """Build the page, without serving it.

    Args:
        models: what can be asked; the first one is picked at the start.
        examples: photos to try it on.

    Raises:
        SpinetError: Gradio is not installed.
    """
    gr = import_gradio()
    small = [(path, picture) for path in examples if (picture := _thumbnail(path))]
    with gr.Blocks(title="Spinet", analytics_enabled=False, delete_cache=(_HOUR, _HOUR)) as page:
        parts = _lay_out(gr, models, [picture for _, picture in small])
        _connect(gr, models, parts, [path for path, _ in small])
    return page


def serve(page: Any, host: str = "127.0.0.1", port: int = 7860) -> str:
    """Serve the page in threads of this process until `page.close()`; return its address.

    Raises:
        SpinetError: the port is taken, or there is no such address on this machine.
    """
    gr = import_gradio()
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
        raise SpinetError(f"{host}:{port} cannot be listened on: {error}; another --port may be free") from None
    return str(address)


def _lay_out(gr: Any, models: Models, thumbnails: Sequence[Image.Image]) -> _Parts:
    first, several = models.names[0], len(models.names) > 1
    described = _describe(models, [first, None])
    gr.Markdown("# Spinet")
    about = gr.HTML(described.about)
    with gr.Row(visible=several):
        one = gr.Dropdown(models.names, value=first, label="Model", filterable=False)
        other = gr.Dropdown([NOTHING, *models.names], value=NOTHING, label="Compare with", filterable=False)
    with gr.Tab("Photo"), gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="Photo", file_types=["image"], height=150)
            threshold = gr.Slider(
                LOWEST_SCORE, 0.95, value=0.3, step=0.01, label="Lowest score", visible=described.detectors
            )
            shelf = gr.Dataset(
                components=[gr.Image(visible=False, type="pil", format="jpeg")],
                samples=[[picture] for picture in thumbnails],
                type="index",
                label="Examples",
                visible=bool(thumbnails),
            )
        with gr.Column(scale=3, min_width=280):
            line = gr.HTML(note("Drop a photo, or pick an example."))
            with gr.Row():
                sides = [_lay_out_side(gr, side) for side in range(_SIDES)]
    with gr.Tab("Architecture"):
        graph = gr.HTML(described.drawing)
    with gr.Tab("Cost"), gr.Row():
        costs = tuple(gr.HTML(text, visible=bool(text), min_width=280) for text in described.costs)
    return _Parts(
        file,
        shelf,
        one,
        other,
        threshold,
        line,
        *zip(*sides, strict=True),
        about,
        graph,
        costs,
        gr.State(None),
        gr.State(None, time_to_live=_HOUR),
    )


def _lay_out_side(gr: Any, side: int) -> tuple[Any, Any, Any, Any]:
    """The room for the answer of one model: column, heading, picture, table."""
    with gr.Column(min_width=280, visible=False) as column:
        heading = gr.HTML()
        picture = gr.Image(
            show_label=False,
            type="pil",
            format="jpeg",
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id=f"picture-{side}",
        )
        table = gr.HTML(elem_id=f"table-{side}")
    return column, heading, picture, table


def _connect(gr: Any, models: Models, parts: _Parts, examples: Sequence[Path]) -> None:
    def show(path: str | None, one: str, other: str, threshold: float, session: Session | None) -> list[Any]:
        found = look(models, (one, other), Path(path) if path else None, session)
        if isinstance(found, str):
            return [*_shown(gr, View(found)), path, None]
        return [*_shown(gr, view(models, (one, other), found, threshold)), path, found]

    def show_example(index: int, one: str, other: str, threshold: float, session: Session | None) -> list[Any]:
        return [None, *show(str(examples[index]), one, other, threshold, session)]

    def redraw(one: str, other: str, threshold: float, session: Session | None) -> list[Any]:
        if session is None or any(model.name not in session.answers for model in chosen(models, (one, other))):
            return [gr.skip() for _ in parts.shown]  # it is being asked, and will be shown then
        return _shown(gr, view(models, (one, other), session, threshold))

    def describe(one: str, other: str) -> list[Any]:
        found = _describe(models, (one, other))
        costs = [gr.update(value=text, visible=bool(text)) for text in found.costs]
        return [found.about, found.drawing, *costs, gr.update(visible=found.detectors)]

    settings = [*parts.names, parts.threshold, parts.session]
    results = [*parts.shown, parts.path, parts.session]
    parts.file.upload(show, [parts.file, *settings], results, api_name="look", **_ASKING)
    parts.file.clear(lambda: [None, None], None, [parts.path, parts.session], api_visibility="private").then(
        lambda: _shown(gr, View(note("Drop a photo, or pick an example."))),
        None,
        parts.shown,
        api_visibility="private",
    )
    parts.examples.click(
        show_example,
        [parts.examples, *settings],
        [parts.file, *results],
        api_visibility="private",
        **_ASKING,
    )
    parts.threshold.change(
        redraw,
        settings,
        parts.shown,
        trigger_mode="always_last",
        show_progress="hidden",
        api_name="redraw",
        **_DRAWING,
    )
    for choice in parts.names:
        choice.change(
            describe, parts.names, parts.described, show_progress="hidden", api_visibility="private", **_DRAWING
        )
        choice.change(show, [parts.path, *settings], results, api_visibility="private", **_ASKING)


def _shown(gr: Any, found: View) -> list[Any]:
    """What the changing parts of the page become."""
    missing = _SIDES - len(found.pictures)
    columns = [gr.update(visible=side < len(found.pictures)) for side in range(_SIDES)]
    return [
        found.line,
        *columns,
        *[*found.headings, *[""] * missing],
        *[*found.pictures, *[None] * missing],
        *[*found.tables, *[""] * missing],
    ]


@dataclass(frozen=True)
class _Described:
    about: str
    drawing: str
    costs: tuple[str, ...]
    detectors: bool


def _describe(models: Models, names: Sequence[str | None]) -> _Described:
    """What the models are, their graphs and costs, whatever the photo."""
    found = chosen(models, names)
    costs = [cost_table(model) for model in found]
    return _Described(
        "".join(map(model_line, found)),
        drawing(found),
        tuple([*costs, ""][:_SIDES]),
        any(not model.is_classifier for model in found),
    )


def _thumbnail(path: Path) -> Image.Image | None:
    """A small picture of an example; None where it cannot be read."""
    to_picture: Callable[[Any], Image.Image] = functional.to_pil_image
    try:
        picture = to_picture(read_image(path))
    except SpinetError:
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture
