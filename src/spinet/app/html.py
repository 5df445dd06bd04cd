"""The texts and tables of the page as HTML; every name from outside is escaped."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from spinet.app.answers import Answer, PageImage
from spinet.app.choices import Choices
from spinet.app.models import LOWEST_SCORE, AppModel
from spinet.arch.baseline import Baseline
from spinet.arch.catalog import Architecture
from spinet.arch.cost import Cost, Part, total
from spinet.arch.head_cost import PROPOSALS, model_parts
from spinet.draw.architecture import draw, draw_pair
from spinet.draw.colours import class_colour
from spinet.engine.build import ModelInfo
from spinet.predict.results import ClassResult, DetectionResult


def note(text: str) -> str:
    """Return a quiet line."""
    return f'<p class="note">{escape(text)}</p>'


def alert(text: str) -> str:
    """Return a line that says what went wrong."""
    return f'<p class="alert" role="alert">{escape(text)}</p>'


def image_line(page_image: PageImage) -> str:
    """Name the image and its size."""
    return note(f"{page_image.path.name}, {page_image.width} x {page_image.height} pixels")


def answer_heading(model: AppModel, answer: Answer, choices: Choices) -> str:
    """Return the model's name, its time, and a summary of its predictions."""
    heading = f"<h3>{escape(model.name)} <small>{answer.seconds:.2f} s</small></h3>"
    if isinstance(answer.result, ClassResult):
        return heading + note(f"{answer.result.class_names[0]}, {answer.result.scores[0]:.0%}")
    return heading + note(_counted(answer.shown(choices)) or _nothing(answer, choices))


def truth_heading(truth: DetectionResult, choices: Choices) -> str:
    """Return the heading of the annotations of a val image, and how many there are."""
    counts = _counted(truth[choices.of_classes(truth.class_names)])
    return "<h3>Ground truth <small>val</small></h3>" + note(counts or "no object")


def _counted(found: DetectionResult) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(found.class_names).most_common())


def _nothing(answer: Answer, choices: Choices) -> str:
    """Say that nothing is shown, and what would be at a lower threshold."""
    of_classes = " of these classes" if choices.classes else ""
    best = answer.best_hidden(choices)
    if not len(best):
        return f"nothing found{of_classes}, not even with a score of {LOWEST_SCORE}"
    name, score = best.class_names[0], float(best.scores[0])
    return f"nothing found{of_classes} from score {choices.threshold:.2f}: the best score was {score:.2f} ({name})"


def answer_table(answer: Answer, choices: Choices) -> str:
    """Return the objects, in pixels of the whole image, or the classes with bars."""
    result = answer.result
    rows: list[tuple[str, ...]]
    if isinstance(result, ClassResult):
        classes = zip(result.labels.tolist(), result.class_names, result.scores.tolist(), strict=True)
        rows = [(_class_cell(label, name), f"{score:.1%}", _bar(score)) for label, name, score in classes]
        return table(("class", "score", ""), rows)
    assert answer.boxes is not None
    boxes = answer.boxes[choices.rows(result)].tolist()
    result = answer.shown(choices)
    objects = zip(result.labels.tolist(), result.class_names, result.scores.tolist(), boxes, strict=True)
    rows = [
        (_class_cell(label, name), f"{score:.2f}", *(f"{value:,.0f}" for value in (x, y, right - x, bottom - y)))
        for label, name, score, (x, y, right, bottom) in objects
    ]
    return table(("class", "score", "x", "y", "width", "height"), rows) if rows else ""


def _class_cell(label: int, name: str) -> str:
    red, green, blue = class_colour(label)
    return f'<span class="dot" style="background: rgb({red},{green},{blue})"></span>{escape(name)}'


def _bar(fraction: float) -> str:
    return f'<div class="bar"><div style="width: {100 * fraction:.1f}%"></div></div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "found") -> str:
    """Return a table; its cells are HTML already."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide {kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def drawing(models: Sequence[AppModel]) -> str:
    """Return the graph of a model as SVG; two graphs one above the other, with their differences marked."""
    graphs = [model.info.architecture for model in models]
    drawn = [graph for graph in graphs if isinstance(graph, Architecture)]
    words = "".join(
        note(f"{graph.name} is a baseline without a graph to draw")
        for graph in dict.fromkeys(graph for graph in graphs if isinstance(graph, Baseline))
    )
    if len(drawn) == 2 and drawn[0] == drawn[1]:
        words += note(f"both models have the same graph and scaling: {drawn[0].name}")
        drawn = drawn[:1]
    if drawn:
        words += f'<div class="drawing">{draw_pair(*drawn) if len(drawn) == 2 else draw(*drawn)}</div>'
    return words


def model_line(model: AppModel) -> str:
    """Describe a model in one line."""
    info = model.info
    count = len(info.class_names)
    classes = f"{count} {'class' if count == 1 else 'classes'}: {', '.join(info.class_names[:12])}"
    if count > 12:
        classes += " ..."
    network = f"{info.model.head} on {info.architecture.name} at {model.predictor.input_size} pixels"
    return note(f"{model.name}: {network}, {model.runs_as}; {classes}")


def cost_table(model: AppModel) -> str:
    """Return parameters and MACs of each block with its connections, and of the other parts, with bars."""
    heading, info = f"<h3>{escape(model.name)}</h3>", model.info
    if isinstance(info.architecture, Baseline):
        return heading + note(f"{info.architecture.name} is a baseline, whose costs are not counted part by part")
    rows = cost_rows(info)
    all_parts = total(cost for _, cost in rows)
    most = max(cost.multiply_adds for _, cost in rows) or 1
    cells = [
        (escape(name), f"{cost.parameters:,}", f"{cost.multiply_adds / 1e6:,.2f}", _bar(cost.multiply_adds / most))
        for name, cost in rows
    ]
    cells.append(("all", f"{all_parts.parameters:,}", f"{all_parts.multiply_adds / 1e6:,.2f}", ""))
    line = f"one image of {info.image_size} x {info.image_size} pixels; MACs: multiply-adds, FLOPs in the paper"
    if model.predictor.input_shape != (info.image_size, info.image_size):
        line += f"; this file takes {model.predictor.input_size} pixels, which costs less"
    return heading + note(line) + table(("part", "parameters", "MACs, M", ""), cells, "costs")


def cost_tables(models: Sequence[AppModel]) -> str:
    """Return the costs of models side by side, or stacked on a narrow screen."""
    return f'<div class="beside">{"".join(f"<div>{cost_table(model)}</div>" for model in models)}</div>'


def cost_rows(info: ModelInfo) -> list[tuple[str, Cost]]:
    """Return name and cost of each part: blocks with their incoming connections, endpoints, parts of the head.

    Blocks are named as in the drawing: number, kind and level, P for endpoints.
    """
    architecture = info.architecture
    assert isinstance(architecture, Architecture)
    # Box heads of R-CNNs have one more class, the background.
    classes = len(info.class_names) + info.model.head.endswith("rcnn")
    anchors = info.model.octaves * len(info.model.aspect_ratios)
    parts = model_parts(architecture, info.image_size, info.model.head, classes, anchors)
    rows = [("first convolution", total(part.cost for part in parts if part.kind == "stem"))]
    for index, block in enumerate(architecture.genotype.all_blocks):
        costs = [part.cost for part in parts if part.index == index and part.kind in ("block", "connection")]
        if costs:
            level = f"P{block.level}" if block.endpoint else f"L{block.level}"
            rows.append((f"{index} {block.kind} {level}", total(costs)))
    rows.append(("endpoints", total(part.cost for part in parts if part.kind == "endpoint")))
    return rows + [(part.name, _for_own_proposals(part, info)) for part in parts if part.kind == "head"]


def _for_own_proposals(part: Part, info: ModelInfo) -> Cost:
    """Return the cost of a part of the head; box heads are counted for the published number of proposals."""
    if not part.name.startswith("box head"):
        return part.cost
    return Cost(part.cost.parameters, part.cost.multiply_adds * info.model.proposals // PROPOSALS)
