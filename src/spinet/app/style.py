"""How the page looks: its colours are those of Gradio's theme, light and dark, and its letters those of the system."""

from spinet.draw.page import PALETTE


def _alert(theme: int) -> str:
    ink, page, line = (PALETTE[f"alert-{part}"][theme] for part in ("ink", "page", "line"))
    return f"{{ color: {ink}; background: {page}; border-color: {line}; }}"


def _colours(theme: int) -> str:
    """Return the colours of text and charts; each text has a contrast of at least 4.5 with the page."""
    names = ("grey", "blue", "orange", "green", "ink", "line", "alert-ink")
    values = " ".join(f"--{name}: {PALETTE[name][theme]};" for name in names)
    return f"{{ {values} --body-text-color-subdued: var(--grey); --block-info-text-color: var(--grey); }}"


STYLE = (
    f"""
.gradio-container {_colours(0)}
.dark .gradio-container, .gradio-container.dark {_colours(1)}
.gradio-container .alert {_alert(0)}
.dark .gradio-container .alert, .gradio-container.dark .alert {_alert(1)}
"""
    + """
.gradio-container { box-sizing: border-box; width: 100% !important; max-width: 1240px !important; min-width: 0;
  margin: 0 auto !important; padding: .5rem .5rem 3rem !important; }
.gradio-container > .main { box-sizing: border-box; width: 100%; max-width: 100%; min-width: 0; padding: .5rem; }
.gradio-container h1 { margin: 0; font-size: 1.6rem; letter-spacing: -.01em; }
.gradio-container h3 { margin: .25rem 0 .1rem; font-size: 1rem; overflow-wrap: anywhere; }
.gradio-container .note { margin: 0 0 .4rem; color: var(--body-text-color-subdued); font-size: .875rem;
  overflow-wrap: anywhere; }
.gradio-container .alert { margin: 0; padding: .6rem .8rem; border-radius: 8px; font-size: .9rem;
  overflow-wrap: anywhere; border-width: 1px; border-style: solid; }
.gradio-container h3 small { margin-left: .4rem; font-weight: 400; color: var(--body-text-color-subdued); }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container .wide { overflow: auto; }
.gradio-container .wide.found { max-height: 30rem; }
.gradio-container .wide.costs :is(th, td):last-child { width: 35%; }
.gradio-container .wide.costs td:first-child { white-space: nowrap; }
.gradio-container .wide :is(table, thead, tbody, tr) { border: 0 !important; margin: 0; }
.gradio-container .wide table { width: 100%; border-collapse: collapse; font-size: .875rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
.gradio-container .wide :is(th, td) { padding: .35rem .5rem; text-align: right; white-space: nowrap; border: 0;
  border-bottom: 1px solid var(--border-color-primary); }
.gradio-container .wide th { position: sticky; top: 0; background: var(--body-background-fill);
  color: var(--body-text-color-subdued); font-weight: 600; }
.gradio-container .wide :is(th, td):first-child { padding-left: 0; text-align: left; white-space: normal; }
.gradio-container .wide :is(th, td):last-child { padding-right: .25rem; }
.gradio-container .dot { display: inline-block; width: .7em; height: .7em; margin-right: .45em; border-radius: 50%; }
.gradio-container .bar { width: 100%; min-width: 36px; height: .6rem; border-radius: 3px;
  background: var(--border-color-primary); }
.gradio-container .bar div { height: 100%; min-width: 1px; border-radius: 3px; background: var(--color-accent); }
.gradio-container .beside { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.gradio-container .beside > div { flex: 1 1 300px; min-width: 0; }
.gradio-container .drawing { overflow-x: auto; border-radius: 12px; }
.gradio-container .drawing svg { display: block; width: 100%; min-width: 760px; height: auto; }
.gradio-container h4 { margin: .25rem 0 0; font-size: .875rem; overflow-wrap: anywhere; }
.gradio-container .picture { margin: 0 0 .5rem; background: var(--body-background-fill); }
.gradio-container .picture .frame { overflow: auto; border: 1px solid var(--border-color-primary); border-radius: 8px;
  max-height: 85vh; }
.gradio-container .picture img { display: block; margin: 0 auto; max-width: none; height: auto;
  width: min(100%, calc(84vh * var(--w) / var(--h))); }
body[data-zoom="1"] .picture img { width: calc(1px * var(--w)); }
body[data-zoom="2"] .picture img { width: calc(2px * var(--w)); }
body[data-zoom="4"] .picture img { width: calc(4px * var(--w)); }
.gradio-container .picture:fullscreen { display: flex; flex-direction: column; }
.gradio-container .picture:fullscreen .frame { flex: 1; max-height: none; border: 0; }
.gradio-container .picture:fullscreen img { width: min(100%, calc(94vh * var(--w) / var(--h))); }
.gradio-container figcaption { display: flex; gap: .75rem; padding: .35rem .1rem; }
.gradio-container figcaption :is(button, a) { padding: .1rem .15rem !important; border: 0 !important;
  background: none !important; color: var(--grey) !important; font-size: .8125rem !important;
  font-weight: 400 !important; line-height: 1.4; cursor: pointer; text-decoration: underline; margin: 0 !important; }
.gradio-container svg.curve { display: block; width: 100%; height: auto; }
.gradio-container svg.curve polyline { fill: none; stroke-width: 2; }
.gradio-container svg.curve text { font-size: 11px; fill: var(--grey); }
.gradio-container svg.curve text.auto { fill: var(--green); font-weight: 600; }
.gradio-container .precision { stroke: var(--blue); background: var(--blue); }
.gradio-container .recall { stroke: var(--orange); background: var(--orange); }
.gradio-container line.axis { stroke: var(--line); }
.gradio-container line.now { stroke: var(--ink); stroke-width: 1.5; }
.gradio-container line.auto { stroke: var(--green); stroke-width: 1.5; stroke-dasharray: 4 3; }
.gradio-container .key { display: inline-block; width: .9em; height: 3px; margin-right: .35em; vertical-align: middle; }
.gradio-container .key.now { background: var(--ink); width: 2px; height: .9em; }
.gradio-container .key.auto { background: var(--green); width: 2px; height: .9em; }
.gradio-container .keys { margin: 0 0 .3rem; font-size: .8125rem; color: var(--grey); }
.gradio-container .keys .key:not(:first-child) { margin-left: .5em; }
.gradio-container .wide.batch { max-height: 30rem; }
.gradio-container .wide.batch td { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.gradio-container .wide.batch th { text-align: left; }
.gradio-container .wide.batch td:first-child { min-width: 6.5rem; }
.gradio-container .wrong { color: var(--alert-ink); }
.gradio-container iframe.report { display: block; width: 100%; height: 85vh; border: 1px solid
  var(--border-color-primary); border-radius: 8px; }
.gradio-container :is(a, button, input, select, textarea, summary, [tabindex="0"]):focus-visible,
.gradio-container label:has(input:focus-visible) { outline: 2px solid var(--blue) !important; outline-offset: 2px; }
@media (max-width: 480px) {
  .gradio-container .wide :is(th, td) { padding: .35rem .3rem; }
  .gradio-container .wide.costs :is(th, td):last-child { width: 20%; }
}
"""
)
