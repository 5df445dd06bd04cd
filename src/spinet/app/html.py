"""What the page says in words and tables, as HTML; every name from outside is escaped."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from spinet.app.answers import Answer, Photo, above
from spinet.app.models import AppModel
from spinet.arch.baseline import Baseline
from spinet.arch.catalog import Architecture
from spinet.arch.cost import Cost, Part, total
from spinet.arch.head_cost import PROPOSALS, model_parts
from spinet.draw.architecture import draw, draw_pair
from spinet.engine.build import ModelInfo
from spinet.predict.pictures import class_colour

# Box heads of R-CNNs have a class more, for what is no object.
_BACKGROUND = ("faster-rcnn", "mask-rcnn", "cascade-rcnn", "cascade-mask-rcnn")


def note(text: str) -> str:
    """A quiet line."""
    return f'<p class="note">{escape(text)}</p>'


def alert(text: str) -> str:
    """A line that says what went wrong."""
    return f'<p class="alert" role="alert">{escape(text)}</p>'


def photo_line(photo: Photo) -> str:
    """What was looked at."""
    return note(f"{photo.path.name}, {photo.width} x {photo.height} pixels")


def answer_heading(model: AppModel, answer: Answer, threshold: float) -> str:
    """Who answered, in which time, and a summary."""
    heading = f"<h3>{escape(model.name)} <small>{answer.seconds:.2f} s</small></h3>"
    if answer.guesses is not None:
        label, score = answer.guesses["labels"].tolist()[0], answer.guesses["scores"].tolist()[0]
        return heading + note(f"{answer.class_names[label]}, {score:.0%}")
    assert answer.shown is not None
    counts = Counter(answer.shown["labels"][above(answer, threshold)].tolist()).most_common()
    words = ", ".join(f"{count} {answer.class_names[label]}" for label, count in counts)
    return heading + note(words or f"nothing found with a score of {threshold:.2f} or more")


def answer_table(answer: Answer, threshold: float) -> str:
    """What was found, in pixels of the photo; of a classifier its guesses, with bars."""
    return _guesses(answer) if answer.guesses is not None else _objects(answer, threshold)


def _guesses(answer: Answer) -> str:
    assert answer.guesses is not None
    rows = (
        (_class_cell(answer.class_names, label), f"{score:.1%}", _bar(score))
        for score, label in zip(answer.guesses["scores"].tolist(), answer.guesses["labels"].tolist(), strict=True)
    )
    return _table(("class", "score", ""), rows)


def _objects(answer: Answer, threshold: float) -> str:
    assert answer.shown is not None
    assert answer.boxes is not None
    keep = above(answer, threshold)
    labels = answer.shown["labels"][keep].tolist()
    if not labels:
        return ""
    rows = [
        (_class_cell(answer.class_names, label), f"{score:.2f}", *(f"{value:,.0f}" for value in _xywh(box)))
        for box, score, label in zip(
            answer.boxes[keep].tolist(), answer.shown["scores"][keep].tolist(), labels, strict=True
        )
    ]
    return _table(("class", "score", "x", "y", "width", "height"), rows)


def _xywh(box: Sequence[float]) -> tuple[float, float, float, float]:
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


def _class_cell(names: Sequence[str], label: int) -> str:
    red, green, blue = class_colour(label)
    return f'<span class="dot" style="background: rgb({red},{green},{blue})"></span>{escape(names[label])}'


def _bar(share: float) -> str:
    return f'<div class="bar"><div style="width: {100 * share:.1f}%"></div></div>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "found") -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide {kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def drawing(models: Sequence[AppModel]) -> str:
    """The graph of a model as SVG; of two models one above the other, with what differs marked."""
    graphs = [model.info.architecture for model in models]
    drawn = [graph for graph in graphs if isinstance(graph, Architecture)]
    words = "".join(
        note(f"{graph.name} is a baseline; it has no graph to draw")
        for graph in dict.fromkeys(graph for graph in graphs if isinstance(graph, Baseline))
    )
    if len(drawn) == 2 and drawn[0] == drawn[1]:
        words += note(f"both models have the graph and scaling of {drawn[0].name}")
        drawn = drawn[:1]
    if drawn:
        words += f'<div class="drawing">{draw_pair(*drawn) if len(drawn) == 2 else draw(*drawn)}</div>'
    return words


def model_line(model: AppModel) -> str:
    """What a model is, in one line."""
    info = model.info
    count = len(info.class_names)
    classes = f"{count} {'class' if count == 1 else 'classes'}: {', '.join(info.class_names[:12])}"
    if count > 12:
        classes += " ..."
    network = f"{info.model.head} on {info.architecture.name} at {model.size} pixels"
    return note(f"{model.name}: {network}, {model.runs_as}; {classes}")


def cost_table(model: AppModel) -> str:
    """Parameters and multiply-adds of every block, with what leads to it, and of the other parts, with bars."""
    heading, info = f"<h3>{escape(model.name)}</h3>", model.info
    if isinstance(info.architecture, Baseline):
        return heading + note(f"the costs of {info.architecture.name} are not counted part by part: it is a baseline")
    rows = cost_rows(info)
    all_parts = total(cost for _, cost in rows)
    most = max(cost.multiply_adds for _, cost in rows) or 1
    cells = [
        (escape(name), f"{cost.parameters:,}", _millions(cost.multiply_adds), _bar(cost.multiply_adds / most))
        for name, cost in rows
    ]
    cells.append(("all", f"{all_parts.parameters:,}", _millions(all_parts.multiply_adds), ""))
    line = f"one image of {info.image_size} x {info.image_size} pixels; MACs are multiply-adds, the paper's FLOPs"
    if model.size != str(info.image_size):
        line += f"; this file takes {model.size} and does with less"
    return heading + note(line) + _table(("part", "parameters", "MACs, M", ""), cells, "costs")


def cost_tables(models: Sequence[AppModel]) -> str:
    """The costs of models beside each other, or below each other where there is no room."""
    return f'<div class="beside">{"".join(f"<div>{cost_table(model)}</div>" for model in models)}</div>'


def cost_rows(info: ModelInfo) -> list[tuple[str, Cost]]:
    """Name and cost of each part: blocks with the connections that lead to them, endpoints, parts of the head.

    Blocks are named as they are in the drawing: number, kind and level, P for endpoints.

    Raises:
        SpinetError: the head is unknown.
    """
    architecture = info.architecture
    assert isinstance(architecture, Architecture)
    parts = model_parts(architecture, info.image_size, info.model.head, _counted_classes(info), _anchors(info))
    rows = [("first convolution", _sum(parts, "stem"))]
    for index, block in enumerate(architecture.genotype.all_blocks):
        own = [part.cost for part in parts if part.index == index and part.kind in ("block", "connection")]
        if own:
            level = f"P{block.level}" if block.endpoint else f"L{block.level}"
            rows.append((f"{index} {block.kind} {level}", total(own)))
    rows.append(("endpoints", _sum(parts, "endpoint")))
    return rows + [(part.name, _of_own_regions(part, info)) for part in parts if part.kind == "head"]


def _of_own_regions(part: Part, info: ModelInfo) -> Cost:
    """Cost of a part of the head; box heads are counted for the published number of regions."""
    if not part.name.startswith("box head"):
        return part.cost
    return Cost(part.cost.parameters, part.cost.multiply_adds * info.model.proposals // PROPOSALS)


def _sum(parts: Iterable[Part], kind: str) -> Cost:
    return total(part.cost for part in parts if part.kind == kind)


def _counted_classes(info: ModelInfo) -> int:
    return len(info.class_names) + (info.model.head in _BACKGROUND)


def _anchors(info: ModelInfo) -> int | None:
    return None if info.model.head == "classifier" else info.model.octaves * len(info.model.aspect_ratios)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f}"
