"""The layout of the page, and what it shows before there is an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from PIL import Image

from spinet.app.choices import Choices
from spinet.app.figure import ZOOMS
from spinet.app.html import alert, cost_tables, drawing, model_line, note
from spinet.app.models import LOWEST_SCORE, AppModel, Models
from spinet.app.operating import HIGHEST_SCORE, operating_view
from spinet.app.session import INVITATION, NOTHING, chosen
from spinet.draw.colours import FILL
from spinet.engine.build import WITHOUT_MASKS
from spinet.errors import SpinetError

HOUR = 3600
SIDES = 2  # models side by side
BATCH_INVITATION = note("Choose several images, then predict them all with the model, threshold and classes above.")


@dataclass(frozen=True)
class Parts:
    """The parts of the page that change.

    Attributes:
        names: the two choices of a model.
        choices: threshold, classes and opacity of masks.
        shown: what a prediction or a new choice changes: `line`; column, heading, figure and table of each side;
            column, heading and figure of the annotations.
        described: what another choice of models changes, whatever the image.
        operating: precision and recall at the threshold, and the button that sets that of best F1.
    """

    file: Any
    camera: Any
    examples: Any
    line: Any
    figures: list[Any]
    names: list[Any]
    choices: list[Any]
    zoom: Any
    shown: list[Any]
    described: list[Any]
    operating: list[Any]
    report: "ReportParts"
    batch: "BatchParts"
    path: Any
    session: Any


@dataclass(frozen=True)
class ReportParts:
    """The tab of the report."""

    tab: Any
    page: Any


@dataclass(frozen=True)
class BatchParts:
    """The tab of many images; `downloads` are those of COCO JSON, YOLO labels and CSV."""

    files: Any
    start: Any
    found: Any
    downloads: list[Any]


@dataclass(frozen=True)
class Description:
    """What the page says of the picked models, whatever the image; `classes` are those of the detectors."""

    lines: str
    graph: str = ""
    costs: str = ""
    detectors: bool = True
    masks: bool = False
    classes: tuple[str, ...] = ()


def describe(models: Models, names: Sequence[str | None]) -> Description:
    """Describe models; one that cannot be opened becomes an error message."""
    try:
        picked = chosen(models, names)
    except SpinetError as error:
        return Description(alert(str(error)))
    detectors = [model for model in picked if not model.predictor.is_classifier]
    return Description(
        "".join(map(model_line, picked)),
        drawing(picked),
        cost_tables(picked),
        bool(detectors),
        any(_has_masks(model) for model in detectors),
        tuple(dict.fromkeys(chain.from_iterable(model.info.class_names for model in detectors))),
    )


def _has_masks(model: AppModel) -> bool:
    return model.info.model.head in WITHOUT_MASKS


def create_parts(gr: Any, models: Models, thumbnails: Sequence[Image.Image]) -> Parts:
    """Create all parts of the page in the open `Blocks`."""
    first, several = models.names[0], len(models.names) > 1
    about = describe(models, [first, None])
    gr.HTML("<h1>Spinet</h1>")
    lines = gr.HTML(about.lines)
    with gr.Row(visible=several):
        one = gr.Dropdown(models.names, value=first, label="Model", filterable=False)
        other = gr.Dropdown([NOTHING, *models.names], value=NOTHING, label="Compare with", filterable=False)
    path, session = gr.State(None), gr.State(None, time_to_live=HOUR)
    with gr.Tab("Image"), gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="Image", file_types=["image"], height=150)
            shelf = gr.Dataset(
                components=[gr.Image(visible=False, type="pil", format="jpeg")],
                samples=[[picture] for picture in thumbnails],
                type="index",
                label="Examples",
                visible=bool(thumbnails),
                elem_id="examples",
            )
            camera = _camera(gr)
            choices, operating = _choices(gr, models, about)
            zoom = gr.Radio(list(ZOOMS), value=next(iter(ZOOMS)), label="Zoom")
        with gr.Column(scale=3, min_width=280):
            line = gr.HTML(INVITATION)
            with gr.Row():
                sides = [_side(gr, side) for side in range(SIDES)]
                truth = _truth(gr)
    batch = _batch(gr)
    with gr.Tab("Report") as tab:
        report = ReportParts(tab, gr.HTML(elem_id="report"))
    with gr.Tab("Architecture"):
        drawn = gr.HTML(about.graph)
    with gr.Tab("Cost"):
        cost = gr.HTML(about.costs)
    return Parts(
        file=file,
        camera=camera,
        examples=shelf,
        line=line,
        figures=[side[2] for side in sides],
        names=[one, other],
        choices=choices,
        zoom=zoom,
        shown=[line, *chain.from_iterable(sides), *truth],
        described=[lines, drawn, cost, *choices],
        operating=operating,
        report=report,
        batch=batch,
        path=path,
        session=session,
    )


def _camera(gr: Any) -> Any:
    with gr.Accordion("Camera", open=False):
        # What is left on the image stays left.
        options = gr.WebcamOptions(mirror=False)
        return gr.Image(
            label="Camera",
            sources=["webcam"],
            type="filepath",
            format="jpeg",
            webcam_options=options,
            elem_id="camera",
        )


def _choices(gr: Any, models: Models, about: Description) -> tuple[list[Any], list[Any]]:
    """Create threshold, classes and opacity, and what stands below the threshold."""
    threshold = gr.Slider(
        LOWEST_SCORE, HIGHEST_SCORE, 0.3, step=0.01, label="Score threshold", visible=about.detectors, elem_id="score"
    )
    text, auto = operating_view(models, [models[models.names[0]]], Choices())
    said = gr.HTML(text, elem_id="operating", visible=about.detectors)
    button = gr.Button(auto_label(auto), size="sm", visible=auto is not None, elem_id="auto")
    classes = gr.Dropdown(
        list(about.classes),
        value=[],
        multiselect=True,
        label="Classes",
        info="none chosen: all are shown",
        visible=about.detectors,
        elem_id="classes",
    )
    opacity = gr.Slider(0, 1, FILL, step=0.05, label="Mask opacity", visible=about.masks, elem_id="opacity")
    return [threshold, classes, opacity], [said, button]


def auto_label(auto: float | None) -> str:
    """Return what the button says that sets the threshold of best F1."""
    return "Best F1" if auto is None else f"Set to best F1 (auto): {auto:.2f}"


def _side(gr: Any, side: int) -> tuple[Any, Any, Any, Any]:
    """Create the parts for the predictions of one model: column, heading, figure, table."""
    with gr.Column(min_width=280, visible=False) as column:
        heading = gr.HTML()
        picture = gr.HTML(elem_id=f"picture-{side}")
        table = gr.HTML(elem_id=f"table-{side}")
    return column, heading, picture, table


def _truth(gr: Any) -> tuple[Any, Any, Any]:
    with gr.Column(min_width=280, visible=False) as column:
        heading = gr.HTML()
        picture = gr.HTML(elem_id="truth")
    return column, heading, picture


def _batch(gr: Any) -> BatchParts:
    with gr.Tab("Batch"):
        files = gr.File(label="Images", file_types=["image"], file_count="multiple", height=150, elem_id="batch")
        start = gr.Button("Predict all", variant="primary", elem_id="batch-start")
        found = gr.HTML(BATCH_INVITATION, elem_id="batch-found")
        with gr.Row():
            names = {"coco": "COCO JSON", "yolo": "YOLO labels", "csv": "CSV"}
            downloads = [
                gr.DownloadButton(f"Download {name}", visible=False, elem_id=f"download-{format}")
                for format, name in names.items()
            ]
    return BatchParts(files, start, found, downloads)
