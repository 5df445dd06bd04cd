"""The layout of the page, and what it shows before there is an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
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
    """The parts of the page that change.

    Attributes:
        names: the two choices of a model.
        shown: what a prediction or a new threshold changes: `line`, and column, heading, image and table of each side.
        described: what another choice of models changes, whatever the image.
    """

    file: Any
    examples: Any
    threshold: Any
    line: Any
    pictures: list[Any]
    names: list[Any]
    shown: list[Any]
    described: list[Any]
    path: Any
    session: Any


def describe(models: Models, names: Sequence[str | None]) -> tuple[str, str, str, bool]:
    """Describe models, draw them, list their costs, and say whether one of them has a threshold.

    A model that cannot be opened becomes an error message.
    """
    try:
        picked = chosen(models, names)
    except SpinetError as error:
        return alert(str(error)), "", "", True
    detectors = any(not model.predictor.is_classifier for model in picked)
    return "".join(map(model_line, picked)), drawing(picked), cost_tables(picked), detectors


def create_parts(gr: Any, models: Models, thumbnails: Sequence[Image.Image]) -> Parts:
    """Create all parts of the page in the open `Blocks`."""
    first, several = models.names[0], len(models.names) > 1
    description, graph, costs, detectors = describe(models, [first, None])
    gr.Markdown("# Spinet")
    about = gr.HTML(description)
    with gr.Row(visible=several):
        one = gr.Dropdown(models.names, value=first, label="Model", filterable=False)
        other = gr.Dropdown([NOTHING, *models.names], value=NOTHING, label="Compare with", filterable=False)
    with gr.Tab("Image"), gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="Image", file_types=["image"], height=150)
            threshold = gr.Slider(LOWEST_SCORE, 0.95, 0.3, step=0.01, label="Score threshold", visible=detectors)
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
                sides = [_side(gr, side) for side in range(SIDES)]
    with gr.Tab("Architecture"):
        drawn = gr.HTML(graph)
    with gr.Tab("Cost"):
        cost = gr.HTML(costs)
    return Parts(
        file=file,
        examples=shelf,
        threshold=threshold,
        line=line,
        pictures=[picture for _, _, picture, _ in sides],
        names=[one, other],
        shown=[line, *chain.from_iterable(sides)],
        described=[about, drawn, cost, threshold],
        path=gr.State(None),
        session=gr.State(None, time_to_live=HOUR),
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
