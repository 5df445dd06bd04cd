"""A self-contained HTML page with drawings, scaling and costs of many architectures."""

from collections.abc import Iterable, Sequence

from spinet.arch.catalog import Architecture
from spinet.arch.head_cost import model_cost
from spinet.arch.published import usual_size
from spinet.arch.scaling import Scaling
from spinet.draw.architecture import draw
from spinet.draw.text import FONT, clean

_STYLE = f"""
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 1080px; font: 15px/1.55 {FONT};
  color: light-dark(#1b2430, #e4e9f0); background: light-dark(#eef1f5, #12171e); }}
h1 {{ margin: 0 0 .25rem; font-size: 1.9rem; letter-spacing: -.01em; }}
p {{ margin: 0 0 1.5rem; color: light-dark(#5a6675, #9aa7b8); }}
a {{ color: inherit; text-decoration-color: #2f6fb7; text-underline-offset: 3px; }}
.wide {{ overflow-x: auto; margin-bottom: 2.5rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px; line-height: 1.35; white-space: nowrap;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: .42rem .6rem; text-align: right; border-bottom: 1px solid light-dark(#d6dce4, #2a3340); }}
th {{ font-weight: 600; vertical-align: bottom; color: light-dark(#5a6675, #9aa7b8); }}
th:first-child, td:first-child {{ position: sticky; left: 0; padding-left: 0; text-align: left; font-weight: 600;
  background: light-dark(#eef1f5, #12171e); }}
th:last-child, td:last-child {{ padding-right: 0; text-align: left; }}
tbody tr:hover td {{ background: light-dark(#e2e8ef, #1c2430); }}
figure {{ margin: 0 0 2.5rem; scroll-margin-top: 1rem; }}
figure div {{ overflow-x: auto; border-radius: 14px; }}
figure svg {{ display: block; width: 100%; min-width: 620px; height: auto; }}
figcaption {{ margin-top: .5rem; font-size: 13px; color: light-dark(#5a6675, #9aa7b8); }}
"""


# Of the published detectors.
_CLASSES = 91


def draw_catalogue(architectures: Sequence[Architecture], title: str = "Architectures") -> str:
    """Return an HTML page: a table of scalings and costs, then every drawing with its source."""
    figures = "\n".join(_figure(index, architecture) for index, architecture in enumerate(architectures))
    count = len(architectures)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{clean(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{clean(title)}</h1>
<p>{count} scale-permuted {"network" if count == 1 else "networks"}. Blocks are drawn in building order from left to
right, each at the height of its level; larger blocks have more channels. Hover over a block for details. Parameters and
multiply-adds are those of RetinaNet with {_CLASSES} classes.</p>
<div class="wide"><table>
{_table(architectures)}
</table></div>
{figures}
</body>
</html>
"""


_COLUMNS = (
    *("name", "image<br>side", "parameters<br>M", "multiply-adds<br>B", "blocks", "endpoints", "width", "repeats"),
    *("alpha", "stem<br>channels", "head", "connections"),
)


def _table(architectures: Sequence[Architecture]) -> str:
    rows = [_numbers(index, architecture) for index, architecture in enumerate(architectures)]
    body = "\n".join(_row("td", cells) for cells in rows)
    return f"<thead>{_row('th', _COLUMNS)}</thead>\n<tbody>\n{body}\n</tbody>"


def _numbers(index: int, architecture: Architecture) -> list[str]:
    """The cells of one row, in the order of `_COLUMNS`."""
    graph, scaling, size = architecture.genotype, architecture.scaling, usual_size(architecture.name)
    cost = model_cost(architecture, size, "retinanet", _CLASSES)
    levels = f"P{min(graph.endpoints)}\N{EN DASH}P{max(graph.endpoints)}"
    return [
        f'<a href="#drawing-{index}">{clean(architecture.name)}</a>',
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


def _row(cell: str, values: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{value}</{cell}>" for value in values) + "</tr>"


def _figure(index: int, architecture: Architecture) -> str:
    source = f"<figcaption>{clean(architecture.source)}</figcaption>" if architecture.source else ""
    return f'<figure id="drawing-{index}">\n<div>{draw(architecture)}</div>{source}</figure>'
