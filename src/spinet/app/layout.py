"""The layout of the page, and what it shows before there is an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from spinet.app.html import alert, cost_tables, drawing, model_line
from spinet.app.models import LOWEST_SCORE, Models
from spinet.app.session import INVITATION, NOTHING, chosen
from spinet.errors import SpinetError

HOUR = 3600
SIDES = 2  # models side by side


@dataclass(frozen=True)
class Parts:
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
    costs: Any
    path: Any
    session: Any

    @property
    def names(self) -> list[Any]:
        """The two choices of a model."""
        return [self.first, self.second]

    @property
    def shown(self) -> list[Any]:
        """What a prediction or a new threshold changes."""
        return [self.line, *self.columns, *self.headings, *self.pictures, *self.tables]

    @property
    def described(self) -> list[Any]:
        """What another choice of models changes, whatever the image."""
        return [self.about, self.drawing, self.costs, self.threshold]


@dataclass(frozen=True)
class Described:
    """What the page says about models; `detectors`: whether one of them has a threshold."""

    about: str
    drawing: str
    costs: str
    detectors: bool


def describe(models: Models, names: Sequence[str | None]) -> Described:
    """Describe models, their graphs and costs; a model that cannot be opened becomes an error message."""
    try:
        picked = chosen(models, names)
    except SpinetError as error:
        return Described(alert(str(error)), "", "", True)
    return Described(
        "".join(map(model_line, picked)),
        drawing(picked),
        cost_tables(picked),
        any(not model.predictor.is_classifier for model in picked),
    )


def create_parts(gr: Any, models: Models, thumbnails: Sequence[Image.Image]) -> Parts:
    """Create all parts of the page in the open `Blocks`."""
    first, several = models.names[0], len(models.names) > 1
    described = describe(models, [first, None])
    gr.Markdown("# Spinet")
    about = gr.HTML(described.about)
    with gr.Row(visible=several):
        one = gr.Dropdown(models.names, value=first, label="Model", filterable=False)
        other = gr.Dropdown([NOTHING, *models.names], value=NOTHING, label="Compare with", filterable=False)
    with gr.Tab("Image"), gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="Image", file_types=["image"], height=150)
            threshold = gr.Slider(
                LOWEST_SCORE, 0.95, value=0.3, step=0.01, label="Score threshold", visible=described.detectors
            )
            shelf = gr.Dataset(
                components=[gr.Image(visible=False, type="pil", format="jpeg")],
                samples=[[picture] for picture in thumbnails],
                type="index",
                label="Examples",
                visible=bool(thumbnails),
            )
        with gr.Column(scale=3, min_width=280):
            line = gr.HTML(INVITATION)
            with gr.Row():
                columns, headings, pictures, tables = zip(*(_side(gr, side) for side in range(SIDES)), strict=True)
    with gr.Tab("Architecture"):
        graph = gr.HTML(described.drawing)
    with gr.Tab("Cost"):
        costs = gr.HTML(described.costs)
    return Parts(
        file,
        shelf,
        one,
        other,
        threshold,
        line,
        columns,
        headings,
        pictures,
        tables,
        about,
        graph,
        costs,
        gr.State(None),
        gr.State(None, time_to_live=HOUR),
    )


def _side(gr: Any, side: int) -> tuple[Any, Any, Any, Any]:
    """Create the parts for the predictions of one model: column, heading, image, table."""
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
