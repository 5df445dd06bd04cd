"""A self-contained HTML page with drawings, scaling and costs of many architectures."""

from collections.abc import Sequence

from spinet.arch.catalog import Architecture
from spinet.arch.head_cost import model_cost
from spinet.arch.published import usual_size
from spinet.arch.scaling import Scaling
from spinet.draw.architecture import draw
from spinet.draw.page import render_page

# Of the published detectors.
_CLASSES = 91

# Headings of the table, in one line or two.
_COLUMNS = (
    *(("name", ""), ("image", "side"), ("parameters", "M"), ("multiply-adds", "G"), ("blocks", ""), ("endpoints", "")),
    *(("width", ""), ("repeats", ""), ("alpha", ""), ("stem", "channels"), ("head", ""), ("connections", "")),
)


def draw_catalogue(architectures: Sequence[Architecture], title: str = "Architectures") -> str:
    """Return an HTML page: a table of scalings and costs, then every drawing with its source."""
    return render_page(
        "spinet.draw",
        "catalogue.html.j2",
        title=title,
        classes=_CLASSES,
        columns=_COLUMNS,
        rows=[_row(architecture) for architecture in architectures],
        drawings=[(draw(architecture), architecture.source) for architecture in architectures],
    )


def _row(architecture: Architecture) -> list[str]:
    """The cells of one row, in the order of `_COLUMNS`."""
    graph, scaling, size = architecture.genotype, architecture.scaling, usual_size(architecture.name)
    cost = model_cost(architecture, size, "retinanet", _CLASSES)
    levels = f"P{min(graph.endpoints)}\N{EN DASH}P{max(graph.endpoints)}"
    return [
        architecture.name,
        str(size),
        f"{cost.parameters / 1e6:,.2f}",
        f"{cost.multiply_adds / 1e9:,.2f}",
        str(len(graph.all_blocks)),
        f"{levels} \N{MULTIPLICATION SIGN} {scaling.endpoint_channels}",
        f"{scaling.width:g}",
        str(scaling.repeats),
        f"{scaling.alpha:g}" if scaling.family == "spinenet" else "\N{EN DASH}",
        str(scaling.stem_channels),
        f"{scaling.head_channels} \N{MULTIPLICATION SIGN} {scaling.head_convs}",
        _connections(scaling),
    ]


def _connections(scaling: Scaling) -> str:
    """How the connections differ from the usual ones."""
    words = ["separable"] if scaling.family == "mobile" else []
    if scaling.alpha_rule == "v1":
        words.append("alpha as in v1")
    if not scaling.same_level_conv:
        words.append("plain within a level")
    return ", ".join(words)
