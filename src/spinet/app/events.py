"""What happens when a visitor does something: the parts of the page, connected with the functions behind them."""

import shutil
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from spinet.app.batch import predict_all
from spinet.app.choices import Choices
from spinet.app.figure import ZOOM_SCRIPT
from spinet.app.html import alert
from spinet.app.layout import BATCH_INVITATION, SIDES, Parts, auto_label, describe
from spinet.app.models import Models
from spinet.app.operating import operating_view
from spinet.app.report import report_view
from spinet.app.session import INVITATION, PageView, chosen, distinct, look, view
from spinet.errors import SpinetError
from spinet.predict.writers import FORMATS

# Models run one image at a time, which bounds memory; drawing is cheap.
_RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "running"}
_DRAWING: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "drawing", "show_progress": "hidden"}
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def connect(gr: Any, models: Models, parts: Parts, examples: Sequence[Path]) -> None:
    """Connect all parts; `examples` are the images of the shelf."""
    _connect_images(gr, models, parts, examples)
    _connect_descriptions(gr, models, parts)
    _connect_batch(gr, models, parts)
    parts.zoom.change(None, parts.zoom, None, js=ZOOM_SCRIPT, **_PRIVATE)

    def report(one: str) -> str:
        return report_view(models.paths[one], one)

    running: dict[str, Any] = {**_RUNNING, **_PRIVATE}
    parts.report.tab.select(report, parts.names[0], parts.report.page, **running)
    # Another model's report is made when the tab is opened again.
    parts.names[0].change(lambda: "", None, parts.report.page, **_DRAWING, **_PRIVATE)


def _connect_images(gr: Any, models: Models, parts: Parts, examples: Sequence[Path]) -> None:
    def show(path: str | None, one: str, other: str, *rest: Any) -> list[Any]:
        *picked, session = rest
        outcome = look(models, (one, other), Path(path) if path else None, session)
        if isinstance(outcome, str):
            return [*_shown(gr, PageView(outcome)), path, None]
        return [*_shown(gr, view(models, (one, other), outcome, _choices(*picked))), path, outcome]

    def show_example(index: int, *rest: Any) -> list[Any]:
        return [None, *show(str(examples[index]), *rest)]

    def redraw(one: str, other: str, *rest: Any) -> list[Any]:
        *picked, session = rest
        if session is None or any(name not in session.answers for name in distinct((one, other))):
            return [gr.skip() for _ in parts.shown]  # a model is running, and a redraw follows it
        return _shown(gr, view(models, (one, other), session, _choices(*picked)))

    # One progress indicator above, and one on each image, instead of one on everything that will change.
    running: dict[str, Any] = {**_RUNNING, "show_progress_on": [parts.line, *parts.figures]}
    settings = [*parts.names, *parts.choices, parts.session]
    results = [*parts.shown, parts.path, parts.session]
    answered = [parts.file.upload(show, [parts.file, *settings], results, api_name="look", **running)]
    parts.file.clear(lambda: [None, None], None, [parts.path, parts.session], **_PRIVATE).then(
        lambda: _shown(gr, PageView(INVITATION)), None, parts.shown, **_PRIVATE
    )
    inputs, outputs = [parts.examples, *settings], [parts.file, *results]
    answered.append(parts.examples.click(show_example, inputs, outputs, **_PRIVATE, **running))
    answered.append(parts.camera.input(show, [parts.camera, *settings], results, **_PRIVATE, **running))
    for choice in parts.names:
        answered.append(choice.change(show, [parts.path, *settings], results, **_PRIVATE, **running))
    drawing: dict[str, Any] = {"inputs": settings, "outputs": parts.shown, **_DRAWING}
    threshold, *others = parts.choices
    threshold.change(redraw, trigger_mode="always_last", api_name="redraw", **drawing)
    for choice in others:
        choice.change(redraw, trigger_mode="always_last", **_PRIVATE, **drawing)
    for event in answered:
        # The threshold may have moved while the model ran.
        event.then(redraw, **_PRIVATE, **drawing)


def _connect_descriptions(gr: Any, models: Models, parts: Parts) -> None:
    def about(one: str, other: str, classes: list[str]) -> list[Any]:
        said = describe(models, (one, other))
        kept = [name for name in classes if name in said.classes]
        pick = gr.update(choices=list(said.classes), value=kept, visible=said.detectors)
        return [
            said.lines,
            said.graph,
            said.costs,
            gr.update(visible=said.detectors),
            pick,
            gr.update(visible=said.masks),
        ]

    def operating(one: str, other: str, *picked: Any) -> list[Any]:
        try:
            text, auto = operating_view(models, chosen(models, (one, other)), _choices(*picked))
        except SpinetError:  # the description says it
            text, auto = "", None
        return [gr.update(value=text, visible=bool(text)), gr.update(value=auto_label(auto), visible=auto is not None)]

    def best(one: str, other: str, *picked: Any) -> Any:
        try:
            auto = operating_view(models, chosen(models, (one, other)), _choices(*picked))[1]
        except SpinetError:  # the description says it
            auto = None
        return gr.skip() if auto is None else auto

    threshold, classes, _ = parts.choices
    said, button = parts.operating
    settings = [*parts.names, *parts.choices]
    for choice in parts.names:
        choice.change(about, [*parts.names, classes], parts.described, **_DRAWING, **_PRIVATE)
    for choice in (*parts.names, threshold, classes):
        choice.change(operating, settings, [said, button], trigger_mode="always_last", **_DRAWING, **_PRIVATE)
    button.click(best, settings, threshold, **_DRAWING, **_PRIVATE)


def _connect_batch(gr: Any, models: Models, parts: Parts) -> None:
    batch, temporary = parts.batch, gr.State(None)

    def predict(files: list[str] | None, one: str, *rest: Any, progress: Any = gr.Progress()) -> list[Any]:  # noqa: B008
        folder = Path(tempfile.mkdtemp(prefix="spinet-"))
        paths = [Path(file) for file in files or []]
        try:
            said = predict_all(models[one], paths, _choices(*rest), folder, lambda *done: progress(done))
        except SpinetError as error:
            return [alert(str(error)), *(gr.update(visible=False) for _ in FORMATS), str(folder)]
        shown = [
            gr.update(value=None if file is None else str(file), visible=file is not None)
            for file in (said.files[format] for format in FORMATS)
        ]
        return [said.html, *shown, str(folder)]

    def forget(folder: str | None) -> None:
        # The page has copies of its own by now.
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    outputs = [batch.found, *batch.downloads, temporary]
    start = batch.start.click(
        predict,
        [batch.files, parts.names[0], *parts.choices],
        outputs,
        show_progress_on=batch.found,
        **_RUNNING,
        **_PRIVATE,
    )
    start.then(forget, temporary, None, **_PRIVATE)
    batch.files.clear(
        lambda: [BATCH_INVITATION, *(gr.update(visible=False) for _ in FORMATS)],
        None,
        [batch.found, *batch.downloads],
        **_PRIVATE,
    )


def _choices(threshold: float, classes: Sequence[str] | None, opacity: float) -> Choices:
    return Choices(threshold, tuple(classes or ()), opacity)


def _shown(gr: Any, new: PageView) -> list[Any]:
    """Return the new values of the parts that change."""
    shown = [[gr.update(visible=True), *side] for side in new.sides]
    hidden = [[gr.update(visible=False), "", "", ""] for _ in range(len(new.sides), SIDES)]
    truth = [gr.update(visible=new.truth is not None), *(new.truth or ("", ""))]
    return [new.line, *chain(*shown, *hidden), *truth]
