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


def draw_catalogue(architectures: Sequence[Architecture], title: str = "Architectures") -> str:
    """Return an HTML page: a table of scalings and costs, then every drawing with its source."""
    return render_page(
        "spinet.draw",
        "catalogue.html.j2",
        title=title,
        classes=_CLASSES,
        rows=[_row(architecture) for architecture in architectures],
        drawings=[(draw(architecture), architecture.source) for architecture in architectures],
    )


def _row(architecture: Architecture) -> dict[tuple[str, str], str]:
    """The cells of one row of the table by their headings, in one line or two."""
    graph, scaling, size = architecture.genotype, architecture.scaling, usual_size(architecture.name)
    cost = model_cost(architecture, size, "retinanet", _CLASSES)
    levels = f"P{min(graph.endpoints)}\N{EN DASH}P{max(graph.endpoints)}"
    return {
        ("name", ""): architecture.name,
        ("image", "side"): str(size),
        ("parameters", "M"): f"{cost.parameters / 1e6:,.2f}",
        ("multiply-adds", "G"): f"{cost.multiply_adds / 1e9:,.2f}",
        ("blocks", ""): str(len(graph.all_blocks)),
        ("endpoints", ""): f"{levels} \N{MULTIPLICATION SIGN} {scaling.endpoint_channels}",
        ("width", ""): f"{scaling.width:g}",
        ("repeats", ""): str(scaling.repeats),
        ("alpha", ""): f"{scaling.alpha:g}" if scaling.family == "spinenet" else "\N{EN DASH}",
        ("stem", "channels"): str(scaling.stem_channels),
        ("head", ""): f"{scaling.head_channels} \N{MULTIPLICATION SIGN} {scaling.head_convs}",
        ("connections", ""): _connections(scaling),
    }


def _connections(scaling: Scaling) -> str:
    """How the connections differ from the usual ones."""
    words = ["separable"] if scaling.family == "mobile" else []
    if scaling.alpha_rule == "v1":
        words.append("alpha as in v1")
    if not scaling.same_level_conv:
        words.append("plain within a level")
    return ", ".join(words)
