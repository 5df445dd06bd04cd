"""What happens on the page: a new image, another model, another threshold; plain values in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spinet.app.answers import Answer, PageImage, ask, draw_answer, draw_truth, open_image
from spinet.app.choices import Choices
from spinet.app.figure import figure
from spinet.app.html import alert, answer_heading, answer_table, image_line, note, truth_heading
from spinet.app.models import AppModel, Models
from spinet.errors import SpinetError

INVITATION = note("Drop an image, or pick an example.")
NOTHING = "nothing"  # the choice of no second model


@dataclass(frozen=True)
class Visit:
    """What the page remembers of one visitor: the image, and the predictions of each model."""

    image: PageImage
    answers: dict[str, Answer]


@dataclass(frozen=True)
class PageView:
    """What the page shows: a line about the image, and for each model a heading, a figure and a table.

    After the models come the annotations of the image, if they are known.
    """

    line: str
    sides: tuple[tuple[str, str, str], ...] = ()
    truth: tuple[str, str] | None = None


def distinct(names: Sequence[str | None]) -> list[str]:
    """Return the names of models among the choices, each once.

    >>> distinct(["a", NOTHING]), distinct(["a", "a"]), distinct([None, "b"])
    (['a'], ['a'], ['b'])
    """
    return [name for name in dict.fromkeys(names) if name and name != NOTHING]


def chosen(models: Models, names: Sequence[str | None]) -> list[AppModel]:
    """Return the picked models; raise a SpinetError if one cannot be opened."""
    return [models[name] for name in distinct(names)]


def look(models: Models, names: Sequence[str | None], path: Path | None, session: Visit | None) -> Visit | str:
    """Run the picked models that have not seen the image yet; return the new session, or an error as HTML.

    The image is read only if a model has to run.
    """
    if path is None:
        return INVITATION
    try:
        known = session.answers if session and session.image.path == path else {}
        missing = [model for model in chosen(models, names) if model.name not in known]
        if session and known and not missing:
            return session
        page_image, image = open_image(path)
        return Visit(page_image, known | {model.name: ask(model, page_image, image) for model in missing})
    except SpinetError as error:
        return alert(str(error))


def view(models: Models, names: Sequence[str | None], session: Visit, choices: Choices) -> PageView:
    """Draw the predictions; no model is run."""
    sides, image = [], session.image
    picked = chosen(models, names)
    stem, size = image.path.stem, (image.width, image.height)
    for model in picked:
        answer = session.answers[model.name]
        text = f"{image.path.name} with the predictions of {model.name}"
        drawn = figure(draw_answer(image, answer, choices), text, f"{stem}-predicted.jpg", size)
        sides.append((answer_heading(model, answer, choices), drawn, answer_table(answer, choices)))
    truth = models.truth([model.name for model in picked], image.path)
    if truth is None or truth.image_size != (image.height, image.width):
        return PageView(image_line(image), tuple(sides))
    drawn = figure(
        draw_truth(image, truth, choices), f"{image.path.name} with its annotations", f"{stem}-truth.jpg", size
    )
    return PageView(image_line(image), tuple(sides), (truth_heading(truth, choices), drawn))
