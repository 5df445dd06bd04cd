"""What happens on the page: a new image, another model, another threshold; plain values in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from spinet.app.answers import Answer, PageImage, ask, draw_answer, open_image
from spinet.app.html import alert, answer_heading, answer_table, image_line, note
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
    """What the page shows: a line about the image, and for each model a heading, a visualization and a table."""

    line: str
    sides: tuple[tuple[str, Image.Image, str], ...] = ()


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


def view(models: Models, names: Sequence[str | None], session: Visit, threshold: float) -> PageView:
    """Draw the predictions; no model is run."""
    sides = []
    for model in chosen(models, names):
        answer = session.answers[model.name]
        image = draw_answer(session.image, answer, threshold)
        sides.append((answer_heading(model, answer, threshold), image, answer_table(answer, threshold)))
    return PageView(image_line(session.image), tuple(sides))
