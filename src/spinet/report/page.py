"""The HTML of a report: one file that needs no other, for dark and light screens of any width."""

import json
from collections.abc import Sequence

from spinet.draw.text import FONT, clean
from spinet.extras import import_extra
from spinet.report.figures import Figure

_STYLE = f"""
:root {{ color-scheme: light dark; --ink: light-dark(#1b2430, #e4e9f0); --grey: light-dark(#566273, #9aa7b8);
  --line: light-dark(#d9dfe7, #29333f); --page: light-dark(#eef1f5, #11161d); --card: light-dark(#ffffff, #19212b);
  --accent: light-dark(#2f6fb7, #6aa9ee); }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 2.25rem 1.25rem 4rem; max-width: 1120px; font: 15px/1.55 {FONT}; color: var(--ink);
  background: var(--page); overflow-wrap: break-word; }}
h1 {{ margin: 0 0 .2rem; font-size: 1.85rem; line-height: 1.2; letter-spacing: -.015em; }}
h2 {{ margin: 0 0 .6rem; font-size: 1.08rem; letter-spacing: -.005em; }}
p {{ margin: 0 0 .9rem; }}
.lead {{ color: var(--grey); margin-bottom: 1.5rem; max-width: 46rem; }}
.card {{ background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem 1.25rem;
  margin: 0 0 1.1rem; min-width: 0; }}
.facts, .pair {{ display: grid; gap: .8rem; margin-bottom: 1.1rem; }}
.facts {{ grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); }}
.pair {{ grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1.1rem; }}
.facts .card, .pair .card {{ margin: 0; }}
.fact span, dt {{ color: var(--grey); font-size: 12.5px; }}
.fact b {{ display: block; font-size: 1.55rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.3;
  font-variant-numeric: tabular-nums; }}
.note {{ border-left: 4px solid var(--accent); }}
.plot {{ min-height: 120px; margin: 0 -.4rem; }}
figure {{ margin: 0; }}
figcaption {{ font-size: 13px; color: var(--grey); margin-top: .5rem; }}
figcaption p {{ margin: 0 0 .35rem; }}
figcaption b {{ color: var(--ink); font-weight: 600; }}
figure svg {{ display: block; width: 100%; height: auto; }}
.wide {{ overflow-x: auto; margin: 0 0 .4rem; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .38rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }}
th {{ font-weight: 600; color: var(--grey); white-space: nowrap; }}
td {{ white-space: nowrap; }}
td:last-child {{ white-space: normal; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
.words th, .words td {{ text-align: left; }}
.words td:nth-child(3) {{ white-space: normal; min-width: 12rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.1rem; margin: 0; font-size: 13.5px; }}
dd {{ margin: 0; overflow-wrap: anywhere; min-width: 0; }}
@media (max-width: 560px) {{ body {{ padding: 1.25rem .8rem 3rem; }} .card {{ padding: .9rem .85rem; }}
  .facts {{ grid-template-columns: 1fr 1fr; }} dl {{ grid-template-columns: 1fr; gap: .1rem; }}
  .wide svg {{ min-width: 34rem; }} dd {{ margin-bottom: .5rem; }} .fact b {{ font-size: 1.3rem; }} }}
@media print {{ .card {{ break-inside: avoid; }} }}
"""

# Colours of the figures in a light and in a dark theme; readable for the colour-blind, too (blue, orange first).
_THEMES = {
    "light": {
        "$ink": "#1b2430",
        "$grey": "#566273",
        "$faint": "#8a95a4",
        "$grid": "#e3e8ee",
        "$paper": "#ffffff",
        "$band": "rgba(110,122,138,0.20)",
        "$blue": "#2f6fb7",
        "$orange": "#d0741c",
        "$green": "#2c8a68",
        "$purple": "#8456b8",
        "$red": "#c8413b",
    },
    "dark": {
        "$ink": "#e4e9f0",
        "$grey": "#9aa7b8",
        "$faint": "#8390a1",
        "$grid": "#2a3440",
        "$paper": "#19212b",
        "$band": "rgba(150,164,182,0.22)",
        "$blue": "#6aa9ee",
        "$orange": "#f0a04f",
        "$green": "#57c49a",
        "$purple": "#b48be4",
        "$red": "#f0726b",
    },
}

_SCRIPT = """
(() => {
  const figures = JSON.parse(document.getElementById('figures').textContent);
  const themes = JSON.parse(document.getElementById('themes').textContent);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const touch = matchMedia('(pointer: coarse)').matches;
  const paint = (value, colours) => {
    if (typeof value === 'string') return value[0] === '$' && colours[value] || value;
    if (Array.isArray(value)) return value.map(each => paint(each, colours));
    if (value && typeof value === 'object')
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, paint(each, colours)]));
    return value;
  };
  const axis = { gridcolor: '$grid', zeroline: false, linecolor: '$grid', automargin: true, title: { standoff: 10 } };
  const merged = (one, other) => {
    const both = { ...one, ...other };
    if (one?.title || other?.title) both.title = { ...one?.title, ...other?.title };
    return both;
  };
  const show = () => {
    const colours = dark.matches ? themes.dark : themes.light;
    for (const { name, traces, layout } of figures) {
      const place = document.getElementById(name);
      const whole = {
        height: 400, margin: { l: 8, r: 10, t: 8, b: 8 }, paper_bgcolor: 'rgba(0,0,0,0)', hovermode: 'closest',
        plot_bgcolor: 'rgba(0,0,0,0)', font: { family: getComputedStyle(document.body).fontFamily, size: 12.5,
        color: '$grey' }, legend: { orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom', traceorder: 'normal' },
        dragmode: touch ? false : 'zoom',
        hoverlabel: { bgcolor: '$paper', bordercolor: '$faint', font: { color: '$ink' }, align: 'left' }, ...layout,
        xaxis: merged(axis, layout.xaxis), yaxis: merged(axis, layout.yaxis),
      };
      Plotly.react(place, paint(traces, colours), paint(whole, colours), { responsive: true, displayModeBar: false });
    }
  };
  show();
  dark.addEventListener('change', show);
})();
"""


def page(title: str, lead: str, parts: Sequence[str], figures: Sequence[Figure]) -> str:
    """Return the whole page.

    Args:
        title: heading and name of the page.
        lead: a sentence below it.
        parts: HTML, one part a card or row of cards.
        figures: all that the parts have places for.
    """
    library = import_extra("plotly.offline", "search", "the report of a search").get_plotlyjs() if figures else ""
    specs = [{"name": each.name, "traces": each.traces, "layout": each.layout} for each in figures]
    scripts = (
        f'<script type="application/json" id="figures">{_json(specs)}</script>\n'
        f'<script type="application/json" id="themes">{_json(_THEMES)}</script>\n'
        f"<script>{library}</script>\n<script>{_SCRIPT}</script>\n"
    )
    body = "\n".join(parts)
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
<p class="lead">{clean(lead)}</p>
{body}
{scripts if figures else ""}</body>
</html>
"""


def card(title: str, body: str, *, kind: str = "") -> str:
    """Return a card; `body` is HTML."""
    heading = f"<h2>{clean(title)}</h2>\n" if title else ""
    return f'<section class="card{" " + kind if kind else ""}">\n{heading}{body}\n</section>'


def figure_card(figure: Figure) -> str:
    """Return a figure's place, with its two sentences."""
    return card(figure.title, f'<figure><div class="plot" id="{clean(figure.name)}"></div>{_caption(figure)}</figure>')


def pair(cards: Sequence[str]) -> str:
    """Return cards side by side where there is room."""
    return '<div class="pair">\n' + "\n".join(cards) + "\n</div>"


def fact_cards(facts: Sequence[tuple[str, str, str]]) -> str:
    """Return key facts: what, value, addition."""
    cells = (
        f'<div class="card fact"><span>{clean(what)}</span><b>{clean(value)}</b><span>{clean(more)}</span></div>'
        for what, value, more in facts
    )
    return '<div class="facts">\n' + "\n".join(cells) + "\n</div>"


def definitions(items: Sequence[tuple[str, str]]) -> str:
    """Return terms and their texts."""
    return "<dl>" + "".join(f"<dt>{clean(term)}</dt><dd>{clean(text)}</dd>" for term, text in items) + "</dl>"


def sentences(read: str, beware: str) -> str:
    """Return the two sentences that explain a table or figure."""
    return f"<p>{clean(read)}</p><p><b>Do not conclude:</b> {clean(beware)}</p>"


def _caption(figure: Figure) -> str:
    return f"<figcaption>{sentences(figure.read, figure.beware)}</figcaption>"


def _json(value: object) -> str:
    """Return JSON that can stand in a script element whatever texts are in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
