"""One HTML page with the drawings and numbers of many architectures; it needs no other file."""

from collections.abc import Iterable, Sequence

from spinet.arch.catalog import Architecture
from spinet.arch.draw import draw
from spinet.arch.draw_text import FONT, clean

_STYLE = f"""
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 1080px; font: 15px/1.55 {FONT};
  color: light-dark(#1b2430, #e4e9f0); background: light-dark(#eef1f5, #12171e); }}
h1 {{ margin: 0 0 .25rem; font-size: 1.9rem; letter-spacing: -.01em; }}
p {{ margin: 0 0 1.5rem; color: light-dark(#5a6675, #9aa7b8); }}
a {{ color: inherit; text-decoration-color: #2f6fb7; text-underline-offset: 3px; }}
.wide {{ overflow-x: auto; margin-bottom: 2.5rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .4rem .7rem; text-align: right; border-bottom: 1px solid light-dark(#d6dce4, #2a3340); }}
th {{ font-weight: 600; vertical-align: bottom; color: light-dark(#5a6675, #9aa7b8); }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap; font-weight: 600; }}
figure {{ margin: 0 0 2.5rem; scroll-margin-top: 1rem; }}
figure svg {{ display: block; width: 100%; height: auto; }}
figcaption {{ margin-top: .5rem; font-size: 13px; color: light-dark(#5a6675, #9aa7b8); }}
"""


def draw_catalogue(architectures: Sequence[Architecture], title: str = "Architectures") -> str:
    """Return an HTML page: a table of all numbers, then every drawing with its source."""
    figures = "\n".join(_figure(place, found) for place, found in enumerate(architectures))
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
<p>{count} scale-permuted {"network" if count == 1 else "networks"}. Blocks stand in building order from left to
right, each at the height of its level; the size of a block tells its channels. Rest the pointer on a block to read
about it.</p>
<div class="wide"><table>
{_table(architectures)}
</table></div>
{figures}
</body>
</html>
"""


def _table(architectures: Sequence[Architecture]) -> str:
    # Architectures may come with different numbers; each column is one that any of them has.
    columns = list(dict.fromkeys(key for found in architectures for key in found.scaling.to_dict()))
    rows = [_row("th", ["name", "blocks", "endpoints", *(key.replace("_", " ") for key in columns)])]
    for place, found in enumerate(architectures):
        graph, numbers = found.genotype, found.scaling.to_dict()
        link = f'<a href="#drawing-{place}">{clean(found.name)}</a>'
        ends = f"P{min(graph.endpoints)}\N{EN DASH}P{max(graph.endpoints)}"
        values = (clean(str(numbers.get(key, ""))) for key in columns)
        rows.append(_row("td", [link, str(len(graph.all_blocks)), ends, *values]))
    return "\n".join(rows)


def _row(cell: str, values: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{value}</{cell}>" for value in values) + "</tr>"


def _figure(place: int, found: Architecture) -> str:
    source = f"<figcaption>{clean(found.source)}</figcaption>" if found.source else ""
    return f'<figure id="drawing-{place}">\n{draw(found)}{source}</figure>'
